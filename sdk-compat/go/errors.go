package miso

import (
	"errors"
	"fmt"
	"strings"
)

// What can go wrong, one error per thing that a program may do about it; ask by errors.Is.
var (
	// ErrSetting: a setting is missing or unusable. A *SettingError names its variable.
	ErrSetting = errors.New("a setting is missing or unusable")
	// ErrArgument: no call can take this argument.
	ErrArgument = errors.New("unusable argument")
	// ErrUnreachable: the node does not answer. A read may simply be tried again.
	ErrUnreachable = errors.New("the node does not answer")
	// ErrNotSent: the command did not reach the node; it has not run and may be tried again. It is also ErrUnreachable.
	ErrNotSent = fmt.Errorf("not sent: %w", ErrUnreachable)
	// ErrUnknownOutcome: a write was sent and its reply was lost; it may or may not have run. Read before you repeat it.
	ErrUnknownOutcome = errors.New("a write was sent and its reply was lost: it may or may not have run; read first")
	// ErrFunctionMismatch: the connection speaks for another function; the user name was dropped on the way.
	ErrFunctionMismatch = errors.New("the connection speaks for another function")
	// ErrAccess: the server refuses the login, or the user may not do this.
	ErrAccess = errors.New("check the user and password in MISO_URL")
	// ErrWrongType: the name holds another type.
	ErrWrongType = errors.New("take another name, or the getter of its type")
	// ErrOnce: MISO.ONCE refuses; its window is full, or the command cannot run once.
	ErrOnce = errors.New("see once-window and once-max in the server's settings")
	// ErrReply: any other error that the server answered.
	ErrReply = errors.New("the server answers an error")
	// ErrUnencodable: the codec cannot hold the value.
	ErrUnencodable = errors.New("the value has no JSON form")
	// ErrUndecodable: what is stored was not written by the codec; read it by a raw proxy.
	ErrUndecodable = errors.New("what is stored was not written by an SDK")
)

// SettingError is a missing or unusable setting. It is ErrSetting.
type SettingError struct {
	// Variable is the environment variable that gives the setting.
	Variable string
	message  string
}

func (e *SettingError) Error() string { return e.message }

// Unwrap makes it ErrSetting.
func (e *SettingError) Unwrap() error { return ErrSetting }

// ofReply is the typed error for an error reply with this text.
func ofReply(text string) error {
	prefix, _, _ := strings.Cut(text, " ")
	kind := ErrReply
	switch {
	case prefix == "WRONGTYPE":
		kind = ErrWrongType
	case prefix == "NOAUTH" || prefix == "WRONGPASS" || prefix == "NOPERM":
		kind = ErrAccess
	case strings.HasPrefix(strings.ToLower(text), "err once"):
		kind = ErrOnce
	}
	return fmt.Errorf("%s: %w", text, kind)
}
