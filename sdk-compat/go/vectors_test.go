package miso

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"os"
	"reflect"
	"strconv"
	"testing"
	"unicode/utf8"
)

type vector struct {
	Name, Text, Hex          string
	Value                    []any
	Environment              map[string]string
	Missing, Invalid         string
	Host                     string
	Port                     int
	User, Password, Function string
	Object, Call             string
	Accepted                 bool
}

func vectors(t *testing.T) map[string][]vector {
	t.Helper()
	text, err := os.ReadFile("../vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	found := map[string][]vector{}
	for name, section := range all {
		var list []vector
		if name != "about" {
			if err := json.Unmarshal(section, &list); err != nil {
				t.Fatal(name, err)
			}
			found[name] = list
		}
	}
	return found
}

func build(value []any) any {
	switch value[0] {
	case "double":
		bits, _ := strconv.ParseUint(value[1].(string), 16, 64)
		return math.Float64frombits(bits)
	case "integer":
		number, _ := new(big.Int).SetString(value[1].(string), 10)
		if number.IsInt64() {
			return number.Int64()
		}
		return number
	case "units": // A lone surrogate as the three bytes that are no UTF-8.
		var text []byte
		for _, unit := range value[1].([]any) {
			number, _ := strconv.ParseUint(unit.(string), 16, 16)
			if number < 0x80 {
				text = append(text, byte(number))
			} else {
				text = append(text, 0xe0|byte(number>>12), 0x80|byte(number>>6&0x3f), 0x80|byte(number&0x3f))
			}
		}
		return string(text)
	case "array":
		items := []any{}
		for _, item := range value[1].([]any) {
			items = append(items, build(item.([]any)))
		}
		return items
	case "object":
		members := map[string]any{}
		for _, pair := range value[1].([]any) {
			members[pair.([]any)[0].(string)] = build(pair.([]any)[1].([]any))
		}
		return members
	case "undefined":
		return make(chan int) // What has no JSON form in this language.
	case "null":
		return nil
	case "true", "false":
		return value[0] == "true"
	}
	return value[1]
}

// same compares as JSON does: there is one kind of number.
func same(a, b any) bool {
	if number, is := a.(float64); is && number == math.Trunc(number) && math.Abs(number) <= safe {
		a = int64(number)
	}
	return reflect.DeepEqual(a, b)
}

func TestVectors(t *testing.T) {
	all := vectors(t)
	for _, v := range all["encode"] {
		text, err := Encode(build(v.Value))
		if err != nil || string(text) != v.Text {
			t.Errorf("%s: %s, %v, expected %s", v.Name, text, err, v.Text)
		}
		back, err := Decode([]byte(v.Text))
		if err != nil || !same(build(v.Value), back) {
			t.Errorf("%s: comes back as %#v, %v", v.Name, back, err)
		}
		if again, _ := Encode(back); string(again) != v.Text {
			t.Errorf("%s: is written again as %s", v.Name, again)
		}
	}
	for _, v := range all["refuse"] {
		if text, err := Encode(build(v.Value)); !errors.Is(err, ErrUnencodable) {
			t.Errorf("%s: %s, %v", v.Name, text, err)
		}
	}
	for _, v := range all["decode"] {
		if back, err := Decode([]byte(v.Text)); err != nil || !same(build(v.Value), back) {
			t.Errorf("%s: %#v, %v", v.Name, back, err)
		}
	}
	for _, v := range all["undecodable"] {
		stored := []byte(v.Text)
		if v.Hex != "" {
			stored, _ = hex.DecodeString(v.Hex)
		}
		if back, err := Decode(stored); !errors.Is(err, ErrUndecodable) {
			t.Errorf("%s: %#v, %v", v.Name, back, err)
		}
	}
	for _, v := range all["objects"] {
		if DefaultID(v.Function) != v.Object {
			t.Errorf("the object of %q", v.Function)
		}
	}
	so, err := New(Options{URL: "redis://car:-@127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all["calls"] {
		call, err := so.ForCall(v.Call)
		if (err == nil) != v.Accepted || err != nil && !errors.Is(err, ErrArgument) {
			t.Errorf("%s: %v", v.Name, err)
		} else if err == nil {
			_ = call.Close()
		}
	}
	_ = so.Close()
	if len(all["calls"]) == 0 || len(all["encode"]) < 50 || !utf8.ValidString(all["encode"][0].Name) {
		t.Error("the vectors are missing")
	}
}

func TestSettings(t *testing.T) {
	for _, v := range vectors(t)["settings"] {
		found, err := resolve(Options{}, func(name string) string { return v.Environment[name] })
		if wrong := first(v.Missing, v.Invalid); wrong != "" {
			var setting *SettingError
			if !errors.As(err, &setting) || setting.Variable != wrong || !errors.Is(err, ErrSetting) {
				t.Errorf("%s: %v", v.Name, err)
			}
			continue
		}
		found.replica = ""
		expected := settings{host: v.Host, port: v.Port, user: v.User, password: v.Password, function: v.Function}
		if err != nil || found != expected {
			t.Errorf("%s: %+v, %v", v.Name, found, err)
		}
	}
}
