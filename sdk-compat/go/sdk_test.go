package miso

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

var ctx = context.Background()

// must checks what a call answers.
func must[T comparable](t *testing.T, expected T) func(T, error) {
	return func(value T, err error) {
		t.Helper()
		if err != nil || value != expected {
			t.Fatalf("%v, %v; expected %v", value, err, expected)
		}
	}
}

func fails(t *testing.T, kind error) func(any, error) {
	return func(value any, err error) {
		t.Helper()
		if !errors.Is(err, kind) {
			t.Fatalf("%v, %v; expected %v", value, err, kind)
		}
	}
}

func TestTypes(t *testing.T) {
	so := startCluster(t, 1).open(0, Options{})
	counter := so.PNCounter("n")
	must[int64](t, 1<<53+1)(counter.Add(ctx, 1<<53+1))
	must[int64](t, 1<<53)(counter.Sub(ctx, 1))
	must[int64](t, 1<<53)(counter.Value(ctx))
	_, err := so.GCounter("g").Add(ctx, -1)
	fails(t, ErrReply)(nil, err)
	_, err = so.ORSet("n").Add(ctx, "a")
	fails(t, ErrWrongType)(nil, err)

	set := so.ORSet("s")
	must[int64](t, 3)(set.Add(ctx, "a", 1, map[string]any{"b": []any{nil}}))
	must[bool](t, true)(set.Has(ctx, map[string]any{"b": []any{nil}}))
	must[int64](t, 1)(set.Remove(ctx, "a", "x"))
	must[int64](t, 2)(set.Size(ctx))
	must[int64](t, 2)(set.Clear(ctx))
	large := so.GSet("large")
	values := make([]any, 2500)
	for i := range values {
		values[i] = i
	}
	must[int64](t, 2500)(large.Add(ctx, values...))
	seen := 0
	for _, err := range large.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
	}
	if all, err := large.Value(ctx); seen != 2500 || len(all) != 2500 {
		t.Fatal(seen, len(all), err)
	}
	if err := so.RawMVRegister("r").Assign(ctx, []byte{255}); err != nil {
		t.Fatal(err)
	}
	_, _, err = so.MVRegister("r").Value(ctx)
	fails(t, ErrUndecodable)(nil, err)
	must[bool](t, true)(so.EWFlag("f").Enable(ctx))
	must[bool](t, true)(so.EWFlag("f").Value(ctx))
	fields := so.ORMap("m")
	if err := fields.Set(ctx, "name", "car"); err != nil {
		t.Fatal(err)
	}
	must[int64](t, 5)(fields.Increment(ctx, "km", 5))
	if all, err := fields.Value(ctx); err != nil || all["name"] != "car" || all["km"] != int64(5) {
		t.Fatal(all, err)
	}
	must[int64](t, 1)(fields.Delete(ctx, "km", "none"))
	must[bool](t, false)(fields.Has(ctx, "km"))

	atomic := so.Atomic()
	_, _ = atomic.PNCounter("n").Sub(ctx, 1<<53)
	_, _ = atomic.EWFlag("f").Disable(ctx)
	if values, err := atomic.Send(ctx); err != nil || fmt.Sprint(values) != "[0 true]" {
		t.Fatal(values, err)
	}
	wrong := so.Batch()
	_, _ = wrong.GCounter("large").Add(ctx, 1)
	_, _ = wrong.PNCounter("n").Add(ctx, 4)
	_, err = wrong.Send(ctx)
	fails(t, ErrWrongType)(nil, err)
	must[int64](t, 4)(counter.Value(ctx))
	token, err := so.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	must[bool](t, true)(so.Await(ctx, token, time.Second))
	must[bool](t, true)(so.Exists(ctx, "n", "large"))
	must[string](t, "car")(so.FunctionName(ctx))
	must[int64](t, 4)(so.Delete(ctx)) // n, large, r and m: a cleared set and a disabled flag are not there.
	must[bool](t, false)(so.Exists(ctx))
}

func TestWhatALoginAndAURLMayLack(t *testing.T) {
	node := startCluster(t, 1, "--requirepass", "pw")
	for login, kind := range map[string]error{"car:no": ErrAccess, ":pw": ErrFunctionMismatch} {
		so, err := New(Options{URL: "redis://" + login + "@127.0.0.1:" + node.ports[0], Function: "car"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = so.GCounter("n").Add(ctx, 1)
		fails(t, kind)(login, err)
		_ = so.Close()
	}
	so, _ := New(Options{URL: "redis://car:-@127.0.0.1:1", Deadline: 200 * time.Millisecond})
	_, err := so.GCounter("n").Add(ctx, 1)
	fails(t, ErrNotSent)(nil, err)
	_ = so.Close()
	_, err = so.GCounter("n").Add(ctx, 1)
	fails(t, ErrNotSent)(nil, err)
}

func TestRegistrationAndChangesAfterAReconnect(t *testing.T) {
	node := startCluster(t, 1)
	so := node.open(0, Options{Replica: "pod-1"})
	registered := func() bool {
		functions, _ := so.link.client.Do(ctx, "MISO.FUNCTIONS").Result()
		return strings.Contains(fmt.Sprint(functions), "pod-1")
	}
	if err := so.Register(ctx, 0); err != nil || !registered() {
		t.Fatal(err)
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	events, err := so.Watch(watching)
	if err != nil {
		t.Fatal(err)
	}
	must[int64](t, 1)(so.GCounter("a name").Add(ctx, 1))
	if event := <-events; event != (Event{Name: "a name", Type: "gcounter"}) {
		t.Fatal(event)
	}
	node.do("drop 0")
	if event := <-events; !event.Gap {
		t.Fatal(event)
	}
	until(t, "the registration", registered)
	must[bool](t, true)(so.Unregister(ctx))
	must[bool](t, false)(so.Unregister(ctx))
	if registered() {
		t.Fatal("still registered")
	}
}

func TestACutAndAKilledNode(t *testing.T) {
	nodes := startCluster(t, 3, "--appendfsync", "always")
	cars := []*Object{nodes.open(0, Options{}), nodes.open(1, Options{}), nodes.open(2, Options{})}
	all := func(expected int64) func() bool {
		return func() bool {
			for _, so := range cars {
				if value, err := so.PNCounter("distanceDriven").Value(ctx); err != nil || value != expected {
					return false
				}
			}
			return true
		}
	}
	must[int64](t, 1)(cars[0].PNCounter("distanceDriven").Add(ctx, 1))
	until(t, "agreement", all(1))
	nodes.do("cut")
	for i, so := range cars {
		must[int64](t, int64(1+10*(i+1)))(so.PNCounter("distanceDriven").Add(ctx, int64(10*(i+1))))
	}
	nodes.do("heal")
	until(t, "agreement after the cut", all(61))
	token, _ := cars[1].Token(ctx)
	must[bool](t, true)(cars[2].Await(ctx, token, 10*time.Second))
	nodes.do("kill 0")
	nodes.do("start 0")
	must[int64](t, 61)(cars[0].PNCounter("distanceDriven").Value(ctx))
	must[int64](t, 66)(cars[0].PNCounter("distanceDriven").Add(ctx, 5))
	until(t, "agreement after the restart", all(66))
}

func TestALostReply(t *testing.T) {
	node := startCluster(t, 1)
	node.do("once on")
	so := node.open(0, Options{})
	distance := so.PNCounter("distanceDriven")
	must[int64](t, 1)(distance.Add(ctx, 1))
	node.do("lose 0 PNCOUNTER.ADD")
	must[int64](t, 11)(distance.Add(ctx, 10))
	node.do("lose 0 EXEC")
	trip := so.Atomic()
	_, _ = trip.PNCounter("distanceDriven").Add(ctx, 100)
	if values, err := trip.Send(ctx); err != nil || fmt.Sprint(values) != "[111]" {
		t.Fatal(values, err)
	}
	// With a read in it, or too many calls for what the server keeps, it has no id.
	looks := so.Atomic()
	_, _ = looks.EWFlag("light").Enable(ctx)
	_, _ = looks.PNCounter("distanceDriven").Value(ctx)
	if values, err := looks.Send(ctx); err != nil || fmt.Sprint(values) != "[true 111]" {
		t.Fatal(values, err)
	}
	long := so.Atomic()
	for i := range 25 {
		_, _ = long.EWFlag(fmt.Sprint("flag-", i)).Enable(ctx)
	}
	if values, err := long.Send(ctx); err != nil || len(values) != 25 {
		t.Fatal(values, err)
	}
	node.do("lose 0 EXEC")
	unnamed := so.Atomic()
	_, _ = unnamed.EWFlag("light").Enable(ctx)
	_, _ = unnamed.PNCounter("distanceDriven").Value(ctx)
	if _, err := unnamed.Send(ctx); !errors.Is(err, ErrUnknownOutcome) {
		t.Fatal(err)
	}
	for range 2 { // The platform repeats the whole call under its own id.
		call, err := so.ForCall("call-7")
		if err != nil {
			t.Fatal(err)
		}
		must[int64](t, 1111)(call.PNCounter("distanceDriven").Add(ctx, 1000))
		_ = call.Close()
	}
	_, err := so.ForCall(strings.Repeat("x", 64))
	fails(t, ErrArgument)(nil, err)

	node.do("once off")
	old := node.open(0, Options{Deadline: 5 * time.Second}).PNCounter("distanceDriven")
	must[int64](t, 1112)(old.Add(ctx, 1))
	node.do("lose 0 PNCOUNTER.ADD")
	_, err = old.Add(ctx, 10)
	fails(t, ErrUnknownOutcome)(nil, err)
	node.do("lose 0 PNCOUNTER.GET")
	must[int64](t, 1122)(old.Value(ctx))
}

func TestAFrozenNode(t *testing.T) {
	node := startCluster(t, 1)
	node.do("once off")
	short := 300 * time.Millisecond
	distance := node.open(0, Options{ConnectTimeout: short, ReplyTimeout: short, Deadline: time.Second}).PNCounter("distanceDriven")
	must[int64](t, 1)(distance.Add(ctx, 1))
	node.do("freeze 0")
	_, err := distance.Add(ctx, 10)
	fails(t, ErrUnknownOutcome)(nil, err)
	_, err = distance.Value(ctx)
	fails(t, ErrUnreachable)(nil, err)
	node.do("thaw 0")
	until(t, "the write that was on its way", func() bool {
		value, _ := distance.Value(ctx)
		return value == 11
	})
}

// TestMain is also the process that is frozen: it adds each line's number.
func TestMain(m *testing.M) {
	if os.Getenv("MISO_TEST_COUNTING") == "" {
		os.Exit(m.Run())
	}
	so, err := New(Options{ID: "TripData-12345"})
	if err != nil {
		panic(err)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(so.PNCounter("distanceDriven").Add(ctx, 1))
	}
}

func TestAFrozenProcess(t *testing.T) {
	node := startCluster(t, 1)
	node.do("once off")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "MISO_TEST_COUNTING=1", "MISO_URL="+node.url(0))
	in, _ := child.StdinPipe()
	out, _ := child.StdoutPipe()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	answers := bufio.NewReader(out)
	expect := func(line string) {
		t.Helper()
		if got, _ := answers.ReadString('\n'); got != line {
			t.Fatalf("%q, expected %q", got, line)
		}
	}
	fmt.Fprintln(in)
	expect("1 <nil>\n")
	_ = child.Process.Signal(syscall.SIGSTOP)
	node.do("drop 0")
	fmt.Fprintln(in)
	_ = child.Process.Signal(syscall.SIGCONT)
	expect("2 <nil>\n")
}

func TestTheQuickStart(t *testing.T) {
	node := startCluster(t, 1)
	program := exec.Command("go", "run", "./examples/quickstart")
	program.Env = append(os.Environ(), "MISO_URL="+node.url(0))
	if out, err := program.CombinedOutput(); err != nil || string(out) != "driven: 120 m\n" {
		t.Fatalf("%s, %v", out, err)
	}
}
