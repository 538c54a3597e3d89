package miso

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	pause             = 50 * time.Millisecond
	longIDBytes       = 64
	keepAlive         = 500 * time.Millisecond
	unregisterTimeout = 30 * time.Second
	awaitMargin       = 2 * time.Second
	once              = "MISO.ONCE"
	// How many calls MISO.ONCE takes in a transaction: what they answer has to fit into what is kept of it.
	atomicMost = 20
)

// call is a command, how its reply is read, and for a write the id under which it runs once.
type call struct {
	words  []any
	decode func(reply any) (any, error)
	write  bool
	id     string
}

func newID() string {
	var bytes [16]byte
	_, _ = rand.Read(bytes[:]) // It never fails.
	return hex.EncodeToString(bytes[:])
}

func checkID(id string) error {
	if len(id) >= 1 && len(id) <= longIDBytes {
		return nil
	}
	return fmt.Errorf("the id '%s' has %d bytes, expected 1 to %d; give a shorter call id: %w", id, len(id), longIDBytes, ErrArgument)
}

// link is the pool of connections to the node, filled by the first call.
type link struct {
	where    settings
	options  Options
	client   *redis.Client
	knows    atomic.Bool  // Whether the server knows MISO.ONCE.
	function atomic.Value // The function that the connections speak for.
	mutex    sync.Mutex
	keeper   *keeper
	key      string // Under which the process shares it.
}

func newLink(where settings, options Options) *link {
	made := &link{where: where, options: options}
	made.client = redis.NewClient(made.redisOptions(made.greet))
	return made
}

func (l *link) redisOptions(greet func(context.Context, *redis.Conn) error) *redis.Options {
	options := &redis.Options{
		Addr: l.where.address(), Username: l.where.user, Password: l.where.password, Protocol: 2,
		MaxRetries:    -1, // By default it sends again what had no reply: every lost reply would count twice.
		DialerRetries: 1, DialTimeout: l.options.ConnectTimeout,
		ReadTimeout: l.options.ReplyTimeout, WriteTimeout: l.options.ReplyTimeout, ContextTimeoutEnabled: true,
		OnConnect:                greet,
		Dialer:                   l.dial,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	return options
}

// notSent marks an error that came before anything was sent.
type notSent struct{ cause error }

func (e *notSent) Error() string { return e.cause.Error() }
func (e *notSent) Unwrap() error { return e.cause }

func (l *link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: l.options.ConnectTimeout}
	var connection net.Conn
	var err error
	if l.where.tls {
		connection, err = (&tls.Dialer{NetDialer: dialer}).DialContext(ctx, network, address)
	} else {
		connection, err = dialer.DialContext(ctx, network, address)
	}
	if err != nil {
		return nil, &notSent{err}
	}
	return connection, nil
}

// greet is asked of every new connection.
func (l *link) greet(ctx context.Context, connection *redis.Conn) error {
	ask := func(words ...any) (any, error) { return connection.Do(ctx, words...).Result() }
	name, err := ask("MISO.FUNCTION")
	if err != nil {
		return &notSent{err}
	}
	function := fmt.Sprint(name)
	if wanted := l.where.function; wanted != "" && wanted != strings.Split(function, "#")[0] {
		login, _ := ask("ACL", "WHOAMI")
		if login != l.where.user || wanted != l.where.user {
			return &notSent{fmt.Errorf("it is '%s', not '%s': the user name did not arrive, or is bound to another function; "+
				"write redis://%s:-@HOST in MISO_URL: %w", function, wanted, wanted, ErrFunctionMismatch)}
		}
	}
	info, err := ask("COMMAND", "INFO", once)
	rows, _ := info.([]any)
	l.knows.Store(err == nil && len(rows) > 0 && rows[0] != nil)
	l.function.Store(function)
	return nil
}

// lost sorts an error that is no reply: it came before anything was sent, or it leaves open what has run.
func (l *link) lost(err error) (before bool, typed error) {
	for _, kind := range []error{ErrFunctionMismatch, ErrAccess} {
		if errors.Is(err, kind) {
			return true, err
		}
	}
	var unsent *notSent
	var reply redis.Error
	switch {
	case errors.As(err, &reply) && !notYet(err):
		return true, fmt.Errorf("connecting to %s: %w", l.where.address(), ofReply(reply.Error()))
	case errors.As(err, &unsent), errors.Is(err, redis.ErrClosed), errors.Is(err, redis.ErrPoolTimeout), notYet(err):
		return true, fmt.Errorf("no node at %s: %v; is it running, and is MISO_URL right? %w", l.where.address(), err, ErrNotSent)
	}
	return false, fmt.Errorf("%v: %w", err, ErrUnreachable)
}

// notYet tells whether the server has run nothing and will soon.
func notYet(err error) bool {
	return err != nil && (strings.HasPrefix(err.Error(), "LOADING") || strings.HasPrefix(err.Error(), "TRYAGAIN"))
}

// run runs calls on one connection: in a pipeline, or in MULTI and EXEC under the one id atomic, if they are few and
// all of them write. It answers a value or an error for each; it fails if the node was not reached or the outcome is unknown. A read is sent again while there
// is time, a write only if its id makes the second time harmless.
func (l *link) run(ctx context.Context, calls []call, atomic string) ([]any, error) {
	writes := false
	for _, each := range calls {
		writes = writes || each.write
		if each.write {
			if err := checkID(each.id); err != nil {
				return nil, err
			}
		}
	}
	end := time.Now().Add(l.options.Deadline)
	sent := false // Whether it may have run.
	for {
		before, replies, err := l.attempt(ctx, calls, atomic, sent && writes)
		if err == nil {
			return results(calls, replies, atomic), nil
		}
		if before && !errors.Is(err, ErrNotSent) && !(sent && writes) {
			return nil, err
		}
		sent = sent || !before
		over := time.Now().Add(pause).After(end) || ctx.Err() != nil
		if sent && writes && (over || !l.names(calls, atomic) || before && !errors.Is(err, ErrNotSent)) {
			return nil, fmt.Errorf("%v: %w", err, ErrUnknownOutcome)
		}
		if over {
			return nil, err
		}
		time.Sleep(pause)
	}
}

// attempt sends everything in one go. With again, only a server that knows ids may be asked.
func (l *link) attempt(ctx context.Context, calls []call, atomic string, again bool) (bool, []any, error) {
	if l.function.Load() == nil || again {
		// The first connection, or a new one after an end, says what the server knows.
		if err := l.client.Ping(ctx).Err(); err != nil {
			_, typed := l.lost(err)
			if !errors.Is(typed, ErrNotSent) && errors.Is(typed, ErrUnreachable) {
				typed = fmt.Errorf("%v: %w", err, ErrNotSent)
			}
			return true, nil, typed
		}
		if again && !l.names(calls, atomic) {
			return true, nil, errors.New("the server that is back knows no ids")
		}
	}
	pipe := l.client.Pipeline()
	for _, words := range l.lines(calls, atomic) {
		pipe.Do(ctx, words...)
	}
	commands, err := pipe.Exec(ctx)
	var failed redis.Error
	if err != nil && !errors.As(err, &failed) || len(commands) == 0 {
		before, typed := l.lost(err)
		return before, nil, typed
	}
	replies := make([]any, len(commands))
	for i, command := range commands {
		reply, single := command.(*redis.Cmd).Result()
		var answer redis.Error
		switch {
		case single == nil || errors.Is(single, redis.Nil):
			replies[i] = reply
		case errors.As(single, &answer) && !notYet(single) && (i > 0 || !isConnecting(single)):
			replies[i] = ofReply(answer.Error())
		default:
			before, typed := l.lost(single)
			return before, nil, typed
		}
	}
	return false, replies, nil
}

// isConnecting tells whether an error reply came while the connection was made.
func isConnecting(err error) bool {
	var unsent *notSent
	return errors.As(err, &unsent) || strings.HasPrefix(err.Error(), "WRONGPASS") || strings.HasPrefix(err.Error(), "NOAUTH")
}

// names tells whether these calls run under ids: where the server knows ids, writes do, and of those in MULTI and EXEC
// no read is among them.
func (l *link) names(calls []call, atomic string) bool {
	under := atomic == "" || len(calls) <= atomicMost
	for _, each := range calls {
		under = under && (atomic == "" || each.write)
	}
	return under && l.knows.Load()
}

func (l *link) lines(calls []call, atomic string) [][]any {
	knows := l.names(calls, atomic)
	var lines [][]any
	if atomic != "" {
		if knows {
			lines = append(lines, []any{once, atomic, "MULTI"})
		} else {
			lines = append(lines, []any{"MULTI"})
		}
	}
	for _, each := range calls {
		if each.write && knows && atomic == "" {
			lines = append(lines, append([]any{once, each.id}, each.words...))
		} else {
			lines = append(lines, each.words)
		}
	}
	if atomic != "" {
		lines = append(lines, []any{"EXEC"})
	}
	return lines
}

func results(calls []call, replies []any, atomic string) []any {
	if atomic != "" {
		last := replies[len(replies)-1]
		found, ran := last.([]any)
		if !ran {
			for _, queued := range replies[1 : len(replies)-1] {
				if err, refused := queued.(error); refused {
					last = err
					break
				}
			}
			found = make([]any, len(calls))
			for i := range found {
				found[i] = last
			}
		}
		replies = found
	}
	values := make([]any, len(calls))
	for i, each := range calls {
		values[i] = replies[i]
		if err, failed := replies[i].(error); failed {
			var answer redis.Error
			if errors.As(err, &answer) {
				values[i] = ofReply(answer.Error())
			}
			continue
		}
		value, err := each.decode(replies[i])
		if err != nil {
			value = err
		}
		values[i] = value
	}
	return values
}

// keeper holds the connection that a registration lives on, and registers again after each reconnect.
type keeper struct {
	client  *redis.Client
	replica string
	stop    context.CancelFunc
	done    chan struct{}
}

func (l *link) register(ctx context.Context, replica string, ttl time.Duration) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.endKeeper()
	options := l.redisOptions(func(ctx context.Context, connection *redis.Conn) error {
		if err := l.greet(ctx, connection); err != nil {
			return err
		}
		words := []any{"MISO.REGISTER", l.function.Load(), "REPLICA", replica}
		if ttl > 0 {
			words = append(words, "TTL", int(ttl.Seconds()))
		}
		return connection.Do(ctx, words...).Err()
	})
	options.PoolSize = 1
	client := redis.NewClient(options)
	if err := client.Ping(ctx).Err(); err != nil {
		_ = client.Close()
		_, typed := l.lost(err)
		return typed
	}
	background, stop := context.WithCancel(context.Background())
	l.keeper = &keeper{client, replica, stop, make(chan struct{})}
	go func(done chan struct{}) {
		defer close(done)
		ticks := time.NewTicker(keepAlive)
		defer ticks.Stop()
		for {
			select {
			case <-background.Done():
				return
			case <-ticks.C:
				client.Ping(background)
			}
		}
	}(l.keeper.done)
	return nil
}

func (l *link) endKeeper() {
	if l.keeper != nil {
		l.keeper.stop()
		<-l.keeper.done
		_ = l.keeper.client.Close()
		l.keeper = nil
	}
}

func (l *link) unregister(ctx context.Context) (bool, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.keeper == nil {
		return false, nil
	}
	l.keeper.stop()
	<-l.keeper.done
	defer l.endKeeper()
	// The node may wait until another one has everything.
	patient := l.keeper.client.WithTimeout(unregisterTimeout)
	reply, err := patient.Do(ctx, "MISO.UNREGISTER", l.function.Load(), "REPLICA", l.keeper.replica).Int()
	if err != nil {
		_, typed := l.lost(err)
		return false, typed
	}
	return reply == 1, nil
}

func (l *link) close() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.endKeeper()
	return l.client.Close()
}
