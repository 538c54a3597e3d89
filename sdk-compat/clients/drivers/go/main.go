// go-redis and redigo, by URL: the argument says which.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
)

var ctx = context.Background()

// The settings of TLS, if the table says that there is some.
func encrypted() *tls.Config {
	ca := os.Getenv("TLS_CA")
	if ca == "" {
		return nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if file := os.Getenv("TLS_CERT"); file != "" {
		own, err := tls.LoadX509KeyPair(file, os.Getenv("TLS_KEY"))
		if err != nil {
			panic(err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config
}

type driver interface {
	open(url, protocol string) (any, error)
	call(words []any) (any, error)
	run(lines [][]any, atomic bool) (int, error)
	listen(channel string) (any, error)
	message() (any, error)
}

type goRedis struct {
	client   *goredis.Client
	listener *goredis.PubSub
}

func (d *goRedis) open(url, protocol string) (any, error) {
	options, err := goredis.ParseURL(url + "?protocol=" + protocol)
	if err != nil {
		return nil, err
	}
	if config := encrypted(); config != nil {
		options.TLSConfig = config
	}
	if os.Getenv("CAREFUL") != "" {
		options.MaxRetries = -1
	}
	d.client = goredis.NewClient(options)
	return d.client.Ping(ctx).Result()
}

func (d *goRedis) call(words []any) (any, error) { return d.client.Do(ctx, words...).Result() }

func (d *goRedis) run(lines [][]any, atomic bool) (int, error) {
	pipe := d.client.Pipeline()
	if atomic {
		pipe = d.client.TxPipeline()
	}
	for _, words := range lines {
		pipe.Do(ctx, words...)
	}
	commands, err := pipe.Exec(ctx)
	return len(commands), err
}

func (d *goRedis) listen(channel string) (any, error) {
	d.listener = d.client.Subscribe(ctx, channel)
	return d.listener.Receive(ctx)
}

func (d *goRedis) message() (any, error) {
	message, err := d.listener.ReceiveMessage(ctx)
	if err != nil {
		return nil, err
	}
	return message.Payload, nil
}

type redigo struct {
	pool     *redis.Pool
	listener redis.PubSubConn
}

func (d *redigo) open(url, protocol string) (any, error) {
	if protocol == "3" {
		return nil, errors.New("RESP2 only")
	}
	d.pool = &redis.Pool{Dial: func() (redis.Conn, error) {
		options := []redis.DialOption{redis.DialReadTimeout(5 * time.Second)}
		if config := encrypted(); config != nil {
			options = append(options, redis.DialTLSConfig(config))
		}
		return redis.DialURL(url, options...)
	}}
	return d.call([]any{"PING"})
}

func (d *redigo) call(words []any) (any, error) {
	connection := d.pool.Get()
	defer connection.Close()
	return connection.Do(words[0].(string), words[1:]...)
}

func (d *redigo) run(lines [][]any, atomic bool) (int, error) {
	connection := d.pool.Get()
	defer connection.Close()
	if atomic {
		_ = connection.Send("MULTI")
	}
	for _, words := range lines {
		if err := connection.Send(words[0].(string), words[1:]...); err != nil {
			return 0, err
		}
	}
	last := ""
	if atomic {
		last = "EXEC"
	}
	replies, err := redis.Values(connection.Do(last))
	return len(replies), err
}

func (d *redigo) listen(channel string) (any, error) {
	d.listener = redis.PubSubConn{Conn: d.pool.Get()}
	if err := d.listener.Subscribe(channel); err != nil {
		return nil, err
	}
	return fmt.Sprintf("%T", d.listener.Receive()), nil
}

func (d *redigo) message() (any, error) {
	switch message := d.listener.Receive().(type) {
	case redis.Message:
		return message.Data, nil
	case error:
		return nil, message
	default:
		return message, nil
	}
}

func shown(value any) string {
	if bytes, are := value.([]byte); are {
		value = string(bytes)
	}
	return strings.Join(strings.Fields(fmt.Sprint(value)), " ")
}

func main() {
	var on driver = &goRedis{}
	if os.Args[1] == "redigo" {
		on = &redigo{}
	}
	var queued [][]any
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		parts := strings.Split(lines.Text(), "\t")
		words := make([]any, len(parts)-1)
		for i, part := range parts[1:] {
			words[i] = part
		}
		var value any
		var err error
		switch parts[0] {
		case "open":
			value, err = on.open(parts[1], parts[2])
		case "call":
			value, err = on.call(words)
		case "queue":
			queued = append(queued, words)
		case "pipeline", "multi":
			value, err = on.run(queued, parts[0] == "multi")
			queued = nil
		case "listen":
			value, err = on.listen(parts[1])
		case "message":
			value, err = on.message()
		}
		if err != nil {
			fmt.Printf("error\t%s\n", shown(err))
			continue
		}
		fmt.Printf("ok\t%T\t%s\n", value, shown(value))
	}
}
