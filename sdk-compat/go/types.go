package miso

import (
	"context"
	"fmt"
	"iter"
	"math/big"
	"strconv"
)

const page = 1000

// runner runs a call now, or queues it in a batch and answers queued.
type runner func(context.Context, call) (any, error)

type queued struct{}

// Name is one name of an object. The proxies hold no state of the value: each method asks the server.
type Name struct {
	run    runner
	object string
	name   string
	prefix string
	raw    bool
}

func ask[T any](ctx context.Context, n Name, verb string, write bool, words []any, decode func(any) (T, error)) (T, error) {
	var zero T
	if n.name == "" {
		return zero, fmt.Errorf("a name is a string that is not empty: %w", ErrArgument)
	}
	command := append([]any{n.prefix + "." + verb, n.object, n.name}, words...)
	read := func(reply any) (any, error) { return decode(reply) }
	value, err := n.run(ctx, call{words: command, decode: read, write: write})
	if err != nil {
		return zero, err
	}
	if _, waits := value.(queued); waits {
		return zero, nil
	}
	return value.(T), nil
}

func integer(reply any) (int64, error) {
	switch reply := reply.(type) {
	case int64:
		return reply, nil
	case string:
		return strconv.ParseInt(reply, 10, 64)
	}
	return 0, fmt.Errorf("%v is no integer: %w", reply, ErrUndecodable)
}

func truth(reply any) (bool, error) {
	number, err := integer(reply)
	return number == 1, err
}

func nothing(any) (struct{}, error) { return struct{}{}, nil }

func (n Name) encoded(values []any) ([]any, error) {
	words := make([]any, len(values))
	for i, value := range values {
		word, err := n.encode(value)
		if err != nil {
			return nil, err
		}
		words[i] = word
	}
	return words, nil
}

func (n Name) encode(value any) ([]byte, error) {
	if !n.raw {
		return Encode(value)
	}
	switch value := value.(type) {
	case []byte:
		return value, nil
	case string:
		return []byte(value), nil
	}
	return nil, fmt.Errorf("a raw value is []byte or a string: %w", ErrUnencodable)
}

func (n Name) decode(reply any) (any, error) {
	text, _ := reply.(string)
	if n.raw {
		return []byte(text), nil
	}
	return Decode([]byte(text))
}

func (n Name) all(reply any) ([]any, error) {
	items, _ := reply.([]any)
	values := make([]any, len(items))
	for i, item := range items {
		value, err := n.decode(item)
		if err != nil {
			return nil, err
		}
		values[i] = value
	}
	return values, nil
}

// pages answers the flat items of all pages of a SCAN.
func (n Name) pages(ctx context.Context) iter.Seq2[[]any, error] {
	type scanned struct {
		cursor string
		items  []any
	}
	read := func(reply any) (scanned, error) {
		parts := reply.([]any)
		return scanned{parts[0].(string), parts[1].([]any)}, nil
	}
	return func(yield func([]any, error) bool) {
		for cursor := "0"; ; {
			found, err := ask(ctx, n, "SCAN", false, []any{cursor, "COUNT", page}, read)
			if !yield(found.items, err) || err != nil || found.cursor == "0" || found.cursor == "" {
				return
			}
			cursor = found.cursor
		}
	}
}

// GCounter is a counter that only grows.
type GCounter struct{ Name }

// Add adds and answers the new value on this node.
func (c GCounter) Add(ctx context.Context, by int64) (int64, error) {
	return ask(ctx, c.Name, "ADD", true, []any{by}, integer)
}

// Value is the value on this node.
func (c GCounter) Value(ctx context.Context) (int64, error) {
	return ask(ctx, c.Name, "GET", false, nil, integer)
}

// PNCounter is a counter that grows and shrinks.
type PNCounter struct{ GCounter }

// Sub subtracts and answers the new value on this node.
func (c PNCounter) Sub(ctx context.Context, by int64) (int64, error) {
	return ask(ctx, c.Name, "SUB", true, []any{by}, integer)
}

// GSet is a set that only grows.
type GSet struct{ Name }

func (s GSet) change(ctx context.Context, verb string, values []any) (int64, error) {
	if len(values) == 0 {
		return 0, nil
	}
	words, err := s.encoded(values)
	if err != nil {
		return 0, err
	}
	return ask(ctx, s.Name, verb, true, words, integer)
}

// Add adds values and answers how many were new here.
func (s GSet) Add(ctx context.Context, values ...any) (int64, error) {
	return s.change(ctx, "ADD", values)
}

// Has tells whether a value is in the set, without fetching the set.
func (s GSet) Has(ctx context.Context, value any) (bool, error) {
	words, err := s.encoded([]any{value})
	if err != nil {
		return false, err
	}
	return ask(ctx, s.Name, "ISMEMBER", false, words, truth)
}

// Size is how many values it has.
func (s GSet) Size(ctx context.Context) (int64, error) {
	return ask(ctx, s.Name, "CARD", false, nil, integer)
}

// Value is all values.
func (s GSet) Value(ctx context.Context) ([]any, error) {
	return ask(ctx, s.Name, "MEMBERS", false, nil, s.all)
}

// All is all values, page by page; each once.
func (s GSet) All(ctx context.Context) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		seen := map[string]bool{}
		for items, err := range s.pages(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range items {
				key := item.(string)
				if seen[key] {
					continue
				}
				seen[key] = true
				value, err := s.decode(item)
				if !yield(value, err) || err != nil {
					return
				}
			}
		}
	}
}

// ORSet is a set. An add wins over a remove on another node that has not seen it.
type ORSet struct{ GSet }

// Remove removes values and answers how many were there.
func (s ORSet) Remove(ctx context.Context, values ...any) (int64, error) {
	return s.change(ctx, "REM", values)
}

// Clear removes all values that this node has seen and answers how many.
func (s ORSet) Clear(ctx context.Context) (int64, error) {
	return ask(ctx, s.Name, "CLEAR", true, nil, integer)
}

// MVRegister is a value, or all those that were assigned concurrently.
type MVRegister struct{ Name }

// Assign replaces every value that this node has seen.
func (r MVRegister) Assign(ctx context.Context, value any) error {
	words, err := r.encoded([]any{value})
	if err != nil {
		return err
	}
	_, err = ask(ctx, r.Name, "SET", true, words, nothing)
	return err
}

// found is a value that may be absent.
type found struct {
	value any
	there bool
}

func (n Name) optional(reply any) (found, error) {
	if reply == nil {
		return found{}, nil
	}
	value, err := n.decode(reply)
	return found{value, true}, err
}

// Value is the value, of concurrent ones the same on every node; false if none was assigned.
func (r MVRegister) Value(ctx context.Context) (any, bool, error) {
	got, err := ask(ctx, r.Name, "VALUE", false, nil, r.optional)
	return got.value, got.there, err
}

// Values is all concurrent values: more than one until somebody assigns again.
func (r MVRegister) Values(ctx context.Context) ([]any, error) {
	return ask(ctx, r.Name, "GET", false, nil, r.all)
}

// EWFlag is a flag. An enable wins over a disable on another node that has not seen it.
type EWFlag struct{ Name }

// Enable answers whether it changed here, as do Disable and Assign.
func (f EWFlag) Enable(ctx context.Context) (bool, error) {
	return ask(ctx, f.Name, "ENABLE", true, nil, truth)
}

// Disable takes the flag back.
func (f EWFlag) Disable(ctx context.Context) (bool, error) {
	return ask(ctx, f.Name, "DISABLE", true, nil, truth)
}

// Assign enables or disables.
func (f EWFlag) Assign(ctx context.Context, value bool) (bool, error) {
	bit := 0
	if value {
		bit = 1
	}
	return ask(ctx, f.Name, "SET", true, []any{bit}, truth)
}

// Value is whether the flag is enabled.
func (f EWFlag) Value(ctx context.Context) (bool, error) {
	return ask(ctx, f.Name, "GET", false, nil, truth)
}

// ORMap is a map of fields to values or counters.
type ORMap struct{ Name }

// Set sets a field.
func (m ORMap) Set(ctx context.Context, field string, value any) error {
	word, err := m.encode(value)
	if err != nil {
		return err
	}
	_, err = ask(ctx, m.Name, "SET", true, []any{field, word}, nothing)
	return err
}

// Get is a field's value; false if there is none.
func (m ORMap) Get(ctx context.Context, field string) (any, bool, error) {
	got, err := ask(ctx, m.Name, "GET", false, []any{field}, m.optional)
	return got.value, got.there, err
}

// GetValues is all concurrent values of a field.
func (m ORMap) GetValues(ctx context.Context, field string) ([]any, error) {
	return ask(ctx, m.Name, "GETMV", false, []any{field}, m.all)
}

// GetInt is a field that is a counter, always exact; 0 if there is none.
func (m ORMap) GetInt(ctx context.Context, field string) (*big.Int, error) {
	read := func(reply any) (*big.Int, error) {
		if reply == nil {
			return new(big.Int), nil
		}
		if number, plain := new(big.Int).SetString(reply.(string), 10); plain {
			return number, nil
		}
		value, err := m.decode(reply)
		switch value := value.(type) {
		case int64:
			return big.NewInt(value), nil
		case *big.Int:
			return value, nil
		}
		if err == nil {
			err = fmt.Errorf("field '%s' holds no integer; read it by Get: %w", field, ErrUndecodable)
		}
		return nil, err
	}
	return ask(ctx, m.Name, "GET", false, []any{field}, read)
}

// Increment adds to a field that is a counter and answers the new value.
func (m ORMap) Increment(ctx context.Context, field string, by int64) (int64, error) {
	return ask(ctx, m.Name, "INCRBY", true, []any{field, by}, integer)
}

// Has tells whether a field is there.
func (m ORMap) Has(ctx context.Context, field string) (bool, error) {
	return ask(ctx, m.Name, "EXISTS", false, []any{field}, truth)
}

// Delete removes fields and answers how many were there.
func (m ORMap) Delete(ctx context.Context, fields ...string) (int64, error) {
	if len(fields) == 0 {
		return 0, nil
	}
	words := make([]any, len(fields))
	for i, field := range fields {
		words[i] = field
	}
	return ask(ctx, m.Name, "DEL", true, words, integer)
}

// Size is how many fields it has.
func (m ORMap) Size(ctx context.Context) (int64, error) {
	return ask(ctx, m.Name, "LEN", false, nil, integer)
}

// Value is all fields.
func (m ORMap) Value(ctx context.Context) (map[string]any, error) {
	values := map[string]any{}
	for items, err := range m.pages(ctx) {
		if err != nil {
			return nil, err
		}
		for i := 0; i+1 < len(items); i += 2 {
			value, err := m.decode(items[i+1])
			if err != nil {
				return nil, err
			}
			values[items[i].(string)] = value
		}
	}
	return values, nil
}
