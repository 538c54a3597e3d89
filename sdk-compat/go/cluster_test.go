package miso

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cluster is some nodes with proxies in front of them, led by the lines of ../testing/cluster.py.
type cluster struct {
	t     *testing.T
	in    io.Writer
	out   *bufio.Reader
	ports []string
}

func startCluster(t *testing.T, count int, flags ...string) *cluster {
	t.Helper()
	command := exec.Command("python3", append([]string{"../testing/cluster.py", strconv.Itoa(count)}, flags...)...)
	in, _ := command.StdinPipe()
	out, _ := command.StdoutPipe()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = command.Wait()
	})
	made := &cluster{t: t, in: in, out: bufio.NewReader(out)}
	made.ports = strings.Fields(made.answer("ready"))[1:]
	return made
}

func (c *cluster) answer(word string) string {
	c.t.Helper()
	line, _ := c.out.ReadString('\n')
	if !strings.HasPrefix(line, word) {
		c.t.Fatalf("the cluster says: %q", line)
	}
	return line
}

func (c *cluster) do(line string) {
	c.t.Helper()
	fmt.Fprintln(c.in, line)
	c.answer("ok")
}

func (c *cluster) url(node int) string { return "redis://car:-@127.0.0.1:" + c.ports[node] }

func (c *cluster) open(node int, options Options) *Object {
	c.t.Helper()
	options.URL, options.ID = c.url(node), "TripData-12345"
	so, err := New(options)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = so.Close() })
	return so
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not come true", what)
		}
	}
}
