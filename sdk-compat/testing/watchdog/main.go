// The part of of-watchdog's contract that the templates rely on, for machines where of-watchdog itself cannot be had:
// its http mode, its variables, and how it ends. Written from its README
// (https://github.com/openfaas/of-watchdog); it shares no code with it.
//
// At SIGTERM it signals the function at once, forwards for healthcheck_interval, then takes no new connections and waits
// for the calls in hand, write_timeout at most. Then the function is killed, as the end of a container's first process
// kills the others.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// duration reads a variable such as `10s`; a bare number is of seconds.
func duration(name string, otherwise time.Duration) time.Duration {
	text := os.Getenv(name)
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if value, err := time.ParseDuration(text); err == nil {
		return value
	}
	return otherwise
}

// first answers the first of these variables that is set.
func first(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// start starts the function, whose end before ours is ours too.
func start(ending *atomic.Bool) *exec.Cmd {
	words := strings.Fields(first("function_process", "fprocess"))
	if len(words) == 0 || os.Getenv("mode") != "http" {
		log.Fatal("set mode=http and fprocess to the function's command line")
	}
	command := exec.Command(words[0], words[1:]...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		log.Fatalf("the function does not start: %s", err)
	}
	go func() {
		if err := command.Wait(); err != nil && !ending.Load() {
			log.Fatalf("the function has ended: %s", err)
		}
	}()
	return command
}

// forward answers with what the function does, or with why it does not.
func forward(upstream *url.URL, most time.Duration) http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(request *httputil.ProxyRequest) { request.SetURL(upstream); request.Out.Host = request.In.Host },
		ErrorHandler: func(w http.ResponseWriter, request *http.Request, err error) {
			log.Printf("%s %s: %s", request.Method, request.URL.Path, err)
			status := http.StatusInternalServerError
			if errors.Is(err, context.DeadlineExceeded) {
				status = http.StatusGatewayTimeout
			}
			w.WriteHeader(status)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if most > 0 {
			ctx, cancel := context.WithTimeout(request.Context(), most)
			defer cancel()
			request = request.WithContext(ctx)
		}
		proxy.ServeHTTP(w, request)
	})
}

func main() {
	runtime.LockOSThread() // The function dies with the thread that started it.
	upstream, err := url.Parse(first("http_upstream_url", "upstream_url"))
	if err != nil || upstream.Host == "" {
		log.Fatal("set upstream_url to the function's address, such as http://127.0.0.1:3000")
	}
	write := duration("write_timeout", 10*time.Second)
	var ending atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("/", forward(upstream, duration("exec_timeout", 10*time.Second)))
	mux.HandleFunc("/_/health", func(w http.ResponseWriter, _ *http.Request) {
		if ending.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "OK")
	})
	port := os.Getenv("port")
	if port == "" {
		port = "8080"
	}
	server := &http.Server{Addr: ":" + port, Handler: mux, ReadTimeout: duration("read_timeout", 10*time.Second), WriteTimeout: write}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	function := start(&ending)
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	<-signals
	ending.Store(true)
	// It may have ended by itself.
	_ = function.Process.Signal(syscall.SIGTERM)
	time.Sleep(duration("healthcheck_interval", write))
	ctx, cancel := context.WithTimeout(context.Background(), write)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.Printf("calls are cut off: %s", err)
	}
	_ = function.Process.Kill()
}
