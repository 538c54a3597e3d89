// Package miso gives functions stateful objects: replicated counters, sets, registers, flags and maps that live on the
// node beside the function and behave like plain data. It is a thin layer over go-redis.
package miso

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options of an object; the zero value takes everything from the environment.
type Options struct {
	// URL is redis://FUNCTION:-@HOST:6379. Default: MISO_URL, else MISO_HOST_IP, MISO_HOST_PORT and MISO_FUNCTION_NAME.
	URL string
	// ID is the object's id. Default: the function's own object, the same on every node.
	ID string
	// Function, if the URL's user is not its name. Default: MISO_FUNCTION_NAME.
	Function string
	// Replica is this replica of the function. Default: MISO_REPLICA_ID, else the host's name.
	Replica string
	// ConnectTimeout is how long a connection may take. Default 2 s.
	ConnectTimeout time.Duration
	// ReplyTimeout is how long one attempt of a call waits for its reply. Default 3 s.
	ReplyTimeout time.Duration
	// Deadline is how long a call takes at most, with all its attempts. Default 10 s.
	Deadline time.Duration
}

// getters has the proxies of the seven types; it does no I/O.
type getters struct {
	run runner
	id  string
}

func (g getters) name(prefix, name string, raw bool) Name {
	return Name{run: g.run, object: g.id, name: name, prefix: prefix, raw: raw}
}

// ID is the object's id.
func (g getters) ID() string { return g.id }

func (g getters) GCounter(name string) GCounter { return GCounter{g.name("GCOUNTER", name, false)} }
func (g getters) PNCounter(name string) PNCounter {
	return PNCounter{GCounter{g.name("PNCOUNTER", name, false)}}
}
func (g getters) GSet(name string) GSet             { return GSet{g.name("GSET", name, false)} }
func (g getters) ORSet(name string) ORSet           { return ORSet{GSet{g.name("ORSET", name, false)}} }
func (g getters) MVRegister(name string) MVRegister { return MVRegister{g.name("MVREG", name, false)} }
func (g getters) EWFlag(name string) EWFlag         { return EWFlag{g.name("EWFLAG", name, false)} }
func (g getters) ORMap(name string) ORMap           { return ORMap{g.name("ORMAP", name, false)} }

// RawORSet, RawGSet, RawMVRegister and RawORMap store bytes ([]byte or string) and answer []byte.
func (g getters) RawORSet(name string) ORSet { return ORSet{GSet{g.name("ORSET", name, true)}} }
func (g getters) RawGSet(name string) GSet   { return GSet{g.name("GSET", name, true)} }
func (g getters) RawMVRegister(name string) MVRegister {
	return MVRegister{g.name("MVREG", name, true)}
}
func (g getters) RawORMap(name string) ORMap { return ORMap{g.name("ORMAP", name, true)} }

// Object is a stateful object: some named CRDTs. Goroutines may share it.
type Object struct {
	getters
	link   *link
	callID string
	number *atomic.Int64
	closed *sync.Once
}

var (
	mutex sync.Mutex
	links = map[string]*shared{}
)

// shared is a link that all objects of the process with the same settings use.
type shared struct {
	link  *link
	users int
}

// New makes an object. It does no I/O; it fails with a *SettingError if nothing says where the node is.
func New(options Options) (*Object, error) {
	where, err := resolve(options, os.Getenv)
	if err != nil {
		return nil, err
	}
	id := first(options.ID, DefaultID(where.function))
	options.ConnectTimeout = orElse(options.ConnectTimeout, 2*time.Second)
	options.ReplyTimeout = orElse(options.ReplyTimeout, 3*time.Second)
	options.Deadline = orElse(options.Deadline, 10*time.Second)
	options.ID = ""
	key := fmt.Sprintf("%#v %#v", where, options)
	mutex.Lock()
	defer mutex.Unlock()
	use := links[key]
	if use == nil {
		use = &shared{link: newLink(where, options)}
		use.link.key = key
		links[key] = use
	}
	use.users++
	return object(use.link, id, ""), nil
}

func orElse(value, otherwise time.Duration) time.Duration {
	if value > 0 {
		return value
	}
	return otherwise
}

func object(on *link, id, callID string) *Object {
	made := &Object{link: on, callID: callID, number: new(atomic.Int64), closed: new(sync.Once)}
	made.getters = getters{made.send, id}
	return made
}

func (o *Object) retained(id, callID string) *Object {
	mutex.Lock()
	defer mutex.Unlock()
	if use := links[o.link.key]; use != nil {
		use.users++
	}
	return object(o.link, id, callID)
}

// Object is another object of the same function, over the same connections. Close it too.
func (o *Object) Object(id string) *Object { return o.retained(id, "") }

// ForCall is the same object for one call of the platform, with the platform's own id of it (an AWS request id,
// X-Call-Id): a repeat of the whole call that makes the same writes in the same order changes nothing. Close it too.
func (o *Object) ForCall(callID string) (*Object, error) {
	if err := checkID(callID + ":0"); err != nil {
		return nil, err
	}
	return o.retained(o.id, callID), nil
}

// Close ends the connections, if no other object of the process uses them.
func (o *Object) Close() error {
	var err error
	o.closed.Do(func() {
		mutex.Lock()
		defer mutex.Unlock()
		use := links[o.link.key]
		if use == nil {
			return
		}
		if use.users--; use.users == 0 {
			delete(links, o.link.key)
			err = o.link.close()
		}
	})
	return err
}

func (o *Object) nextID() string {
	if o.callID == "" {
		return newID()
	}
	return fmt.Sprintf("%s:%d", o.callID, o.number.Add(1)-1)
}

func (o *Object) send(ctx context.Context, one call) (any, error) {
	if one.write {
		one.id = o.nextID()
	}
	values, err := o.link.run(ctx, []call{one}, "")
	if err != nil {
		return nil, err
	}
	if failed, is := values[0].(error); is {
		return nil, failed
	}
	return values[0], nil
}

// Delete deletes these names, or the whole object, and answers how many names there were.
func (o *Object) Delete(ctx context.Context, names ...string) (int64, error) {
	words := []any{"MISO.DEL", o.id}
	for _, name := range names {
		words = append(words, name)
	}
	return objectCall(ctx, o, words, true, integer)
}

// Exists tells whether the object, or all these names of it, exist.
func (o *Object) Exists(ctx context.Context, names ...string) (bool, error) {
	words := []any{"MISO.EXISTS", o.id}
	for _, name := range names {
		words = append(words, name)
	}
	found, err := objectCall(ctx, o, words, false, integer)
	return found >= int64(max(1, len(names))), err
}

func objectCall[T any](ctx context.Context, o *Object, words []any, write bool, decode func(any) (T, error)) (T, error) {
	var zero T
	read := func(reply any) (any, error) { return decode(reply) }
	value, err := o.send(ctx, call{words: words, decode: read, write: write})
	if err != nil {
		return zero, err
	}
	return value.(T), nil
}

// Register tells the node that a replica of the function runs here, again after each reconnect, for ttl past its
// connection.
func (o *Object) Register(ctx context.Context, ttl time.Duration) error {
	return o.link.register(ctx, o.link.where.replica, ttl)
}

// Unregister takes it back and answers whether there was one. The node may wait until another has all that it knows.
func (o *Object) Unregister(ctx context.Context) (bool, error) { return o.link.unregister(ctx) }

// Token is a causal token: everything that may have been seen here.
func (o *Object) Token(ctx context.Context) (string, error) {
	read := func(reply any) (string, error) { return fmt.Sprint(reply), nil }
	return objectCall(ctx, o, []any{"MISO.TOKEN"}, false, read)
}

// Await waits until this node has everything that the token covers; false if it has not within the time-out.
func (o *Object) Await(ctx context.Context, token string, timeout time.Duration) (bool, error) {
	if timeout < time.Millisecond {
		return false, fmt.Errorf("a time-out is at least a millisecond: %w", ErrArgument)
	}
	patient := o.link.client.WithTimeout(timeout + awaitMargin)
	reply, err := patient.Do(ctx, "MISO.AWAIT", token, timeout.Milliseconds()).Int()
	if err != nil {
		_, typed := o.link.lost(err)
		return false, typed
	}
	return reply == 1, nil
}

// FunctionName is the function that the connections speak for.
func (o *Object) FunctionName(ctx context.Context) (string, error) {
	if err := o.link.client.Ping(ctx).Err(); err != nil {
		_, typed := o.link.lost(err)
		return "", typed
	}
	return o.link.function.Load().(string), nil
}

// Batch is calls that are sent together by Send. The methods of its proxies answer zero values.
type Batch struct {
	getters
	object *Object
	calls  []call
	atomic string
}

func (o *Object) batch(atomic string) *Batch {
	made := &Batch{object: o, atomic: atomic}
	made.getters = getters{func(_ context.Context, one call) (any, error) {
		if one.write && atomic == "" {
			one.id = o.nextID()
		} else {
			one.id = newID()
		}
		made.calls = append(made.calls, one)
		return queued{}, nil
	}, o.id}
	return made
}

// Batch begins calls that are sent together, in order; others may come between them.
func (o *Object) Batch() *Batch { return o.batch("") }

// Atomic begins calls that run together (MULTI): all or, if one cannot be queued, none; replicated in one piece.
func (o *Object) Atomic() *Batch { return o.batch(o.nextID()) }

// Send sends all calls at once and answers what each answered, or the first error.
func (b *Batch) Send(ctx context.Context) ([]any, error) {
	calls := b.calls
	b.calls = nil
	if len(calls) == 0 {
		return nil, nil
	}
	values, err := b.object.link.run(ctx, calls, b.atomic)
	if err != nil {
		return nil, err
	}
	for _, value := range values {
		if failed, is := value.(error); is {
			return values, failed
		}
	}
	return values, nil
}

// Event is a change of a name of the object, here or on another node, or a gap: then changes may have been missed, and
// what was read before has to be read again.
type Event struct {
	Gap        bool
	Name, Type string
}

// Watch tells changes until ctx ends; it listens when it answers.
func (o *Object) Watch(ctx context.Context) (<-chan Event, error) {
	function, err := o.FunctionName(ctx)
	if err != nil {
		return nil, err
	}
	listener := o.link.client.Subscribe(ctx, "__miso__:"+function+":"+o.id)
	if _, err := listener.Receive(ctx); err != nil {
		_ = listener.Close()
		_, typed := o.link.lost(err)
		return nil, typed
	}
	events := make(chan Event)
	go func() {
		defer close(events)
		defer listener.Close()
		for ctx.Err() == nil {
			message, err := listener.Receive(ctx)
			var event Event
			switch message := message.(type) {
			case *redis.Subscription:
				event.Gap = true
			case *redis.Message:
				space := strings.LastIndex(message.Payload, " ")
				event.Name, event.Type = message.Payload[:space], message.Payload[space+1:]
			default:
				if err != nil {
					time.Sleep(pause)
				}
				continue
			}
			select {
			case events <- event:
			case <-ctx.Done():
			}
		}
	}()
	return events, nil
}
