package miso

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
)

const defaultPort = 6379

// settings is where the node is and for which function we speak.
type settings struct {
	host           string
	port           int
	tls            bool
	user, password string
	function       string
	replica        string
}

func (s settings) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}

func port(text, variable string) (int, error) {
	value, err := strconv.Atoi(text)
	if err != nil || value < 1 || value > 65535 {
		return 0, &SettingError{variable, fmt.Sprintf("%s is '%s', expected a port from 1 to 65535", variable, text)}
	}
	return value, nil
}

// resolve takes the settings from the options, else MISO_URL, else MISO_HOST_IP and MISO_HOST_PORT with
// MISO_FUNCTION_NAME (or OPENFAAS_NAME).
func resolve(options Options, environment func(string) string) (settings, error) {
	name := first(options.Function, environment("MISO_FUNCTION_NAME"))
	host, _ := os.Hostname()
	replica := first(options.Replica, environment("MISO_REPLICA_ID"), host)
	if source := first(options.URL, environment("MISO_URL")); source != "" {
		return ofURL(source, name, replica)
	}
	ip := environment("MISO_HOST_IP")
	if ip == "" {
		return settings{}, &SettingError{"MISO_URL", "where is the node? Set MISO_URL=redis://FUNCTION:-@HOST:6379, " +
			"or MISO_HOST_IP and MISO_FUNCTION_NAME"}
	}
	user := first(name, environment("OPENFAAS_NAME"))
	if user == "" {
		return settings{}, &SettingError{"MISO_FUNCTION_NAME", "MISO_HOST_IP is set: set MISO_FUNCTION_NAME too"}
	}
	number := defaultPort
	if text := environment("MISO_HOST_PORT"); text != "" {
		var err error
		if number, err = port(text, "MISO_HOST_PORT"); err != nil {
			return settings{}, err
		}
	}
	return settings{host: ip, port: number, user: user, password: "-", function: user, replica: replica}, nil
}

func ofURL(source, name, replica string) (settings, error) {
	parsed, err := url.Parse(source)
	if err != nil || (parsed.Scheme != "redis" && parsed.Scheme != "rediss") || parsed.Hostname() == "" {
		return settings{}, &SettingError{"MISO_URL", "MISO_URL (or URL) is no address of a node, expected redis://FUNCTION:-@HOST:6379"}
	}
	number := defaultPort
	if parsed.Port() != "" {
		if number, err = port(parsed.Port(), "MISO_URL"); err != nil {
			return settings{}, err
		}
	}
	password, _ := parsed.User.Password()
	user := parsed.User.Username()
	if user == "" && password == "" {
		user = name
	}
	// Without a password most clients drop the user name, and in open mode any password will do.
	if user != "" && password == "" {
		password = "-"
	}
	return settings{
		host: parsed.Hostname(), port: number, tls: parsed.Scheme == "rediss",
		user: user, password: password, function: first(name, user), replica: replica,
	}, nil
}

// DefaultID is the id of a function's own object: the same on every node, and for programs written for the paper's SDK.
func DefaultID(function string) string {
	sum := sha256.Sum256([]byte(first(function, "default")))
	return hex.EncodeToString(sum[:])
}
