package miso

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	safe       = 1<<53 - 1
	deepest    = 1000
	longestInt = 40
	longestTag = 4000
)

var (
	looksTagged = regexp.MustCompile(`^\$+int:`)
	tagged      = regexp.MustCompile(`^\$int:(-?(?:0|[1-9][0-9]*))$`)
	integral    = regexp.MustCompile(`^-?[0-9]+$`)
)

// Encode writes a value in the canonical JSON of RFC 8785, so that equal values are equal bytes in every language: nil,
// bool, string, integers, *big.Int, floats, []any and map[string]any; other types by way of encoding/json. Integers
// beyond 2^53 are strings with a tag. It fails with ErrUnencodable.
func Encode(value any) ([]byte, error) {
	var out bytes.Buffer
	if err := write(&out, value, 0); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func write(out *bytes.Buffer, value any, depth int) error {
	if depth > deepest {
		return fmt.Errorf("nested too deeply: %w", ErrUnencodable)
	}
	switch value := value.(type) {
	case nil:
		out.WriteString("null")
	case bool:
		out.WriteString(strconv.FormatBool(value))
	case string:
		if looksTagged.MatchString(value) {
			value = "$" + value
		}
		return writeText(out, value)
	case int:
		writeInteger(out, big.NewInt(int64(value)))
	case int64:
		writeInteger(out, big.NewInt(value))
	case *big.Int:
		writeInteger(out, value)
	case float64:
		return writeDouble(out, value)
	case []any:
		return writeArray(out, value, depth)
	case map[string]any:
		return writeObject(out, value, depth)
	case json.Number:
		return writeNumber(out, value)
	default:
		return writeOther(out, value, depth)
	}
	return nil
}

func writeArray(out *bytes.Buffer, value []any, depth int) error {
	out.WriteByte('[')
	for i, item := range value {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := write(out, item, depth+1); err != nil {
			return err
		}
	}
	out.WriteByte(']')
	return nil
}

func writeObject(out *bytes.Buffer, value map[string]any, depth int) error {
	keys := make([]string, 0, len(value))
	for key := range value {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	out.WriteByte('{')
	for i, key := range keys {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := writeText(out, key); err != nil {
			return err
		}
		out.WriteByte(':')
		if err := write(out, value[key], depth+1); err != nil {
			return err
		}
	}
	out.WriteByte('}')
	return nil
}

// writeOther goes by way of encoding/json, which knows structs and their tags.
func writeOther(out *bytes.Buffer, value any, depth int) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%v: %w", err, ErrUnencodable)
	}
	reader := json.NewDecoder(bytes.NewReader(text))
	reader.UseNumber()
	var plain any
	if err := reader.Decode(&plain); err != nil {
		return fmt.Errorf("%v: %w", err, ErrUnencodable)
	}
	return write(out, plain, depth+1)
}

func writeNumber(out *bytes.Buffer, value json.Number) error {
	if integral.MatchString(value.String()) {
		integer, _ := new(big.Int).SetString(value.String(), 10)
		writeInteger(out, integer)
		return nil
	}
	double, err := value.Float64()
	if err != nil {
		return fmt.Errorf("%v: %w", err, ErrUnencodable)
	}
	return writeDouble(out, double)
}

func writeText(out *bytes.Buffer, value string) error {
	if !utf8.ValidString(value) {
		return fmt.Errorf("a string that is no UTF-8; store it by a raw proxy: %w", ErrUnencodable)
	}
	out.WriteByte('"')
	for _, r := range value {
		if short := strings.IndexRune("\b\t\n\f\r\"\\", r); short >= 0 {
			out.WriteByte('\\')
			out.WriteByte("btnfr\"\\"[short])
		} else if r < 0x20 {
			fmt.Fprintf(out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return nil
}

func writeInteger(out *bytes.Buffer, value *big.Int) {
	if value.IsInt64() && value.Int64() >= -safe && value.Int64() <= safe {
		out.WriteString(value.String())
		return
	}
	out.WriteString(`"$int:` + value.String() + `"`)
}

// writeDouble writes the shortest text of a double, laid out as ECMAScript does.
func writeDouble(out *bytes.Buffer, value float64) error {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return fmt.Errorf("%v; store nil or a string instead: %w", value, ErrUnencodable)
	}
	out.WriteString(double(value))
	return nil
}

func double(value float64) string {
	if value == 0 {
		return "0"
	}
	mantissa, power, _ := strings.Cut(strconv.FormatFloat(math.Abs(value), 'e', -1, 64), "e")
	digits := strings.Replace(mantissa, ".", "", 1)
	exponent, _ := strconv.Atoi(power)
	point := exponent + 1 // The value is 0.digits times ten to this power.
	var text string
	switch {
	case len(digits) <= point && point <= 21:
		text = digits + strings.Repeat("0", point-len(digits))
	case 0 < point && point <= 21:
		text = digits[:point] + "." + digits[point:]
	case -6 < point && point <= 0:
		text = "0." + strings.Repeat("0", -point) + digits
	default:
		text = fmt.Sprintf("%se%+d", mantissa, exponent)
	}
	if value < 0 {
		return "-" + text
	}
	return text
}

// Decode reads what Encode wrote, in any language: nil, bool, string, int64 (*big.Int beyond it), float64, []any,
// map[string]any. It fails with ErrUndecodable.
func Decode(stored []byte) (any, error) {
	wrong := func(what string) error { return fmt.Errorf("%s: %w", what, ErrUndecodable) }
	if !utf8.Valid(stored) {
		return nil, wrong("no UTF-8")
	}
	if loneSurrogate(stored) {
		return nil, wrong("a lone surrogate")
	}
	reader := json.NewDecoder(bytes.NewReader(stored))
	reader.UseNumber()
	var value any
	if err := reader.Decode(&value); err != nil {
		return nil, wrong(err.Error())
	}
	if reader.More() {
		return nil, wrong("more than one value")
	}
	return restored(value)
}

var escapes = regexp.MustCompile(`\\(?:u[0-9a-fA-F]{4}|.)`)

// loneSurrogate tells whether an escape is half of a pair, which encoding/json would replace in silence.
func loneSurrogate(text []byte) bool {
	last, high := -1, false // Where a high half ends.
	for _, at := range escapes.FindAllIndex(text, -1) {
		escape := text[at[0]:at[1]]
		unit := rune(0)
		if escape[1] == 'u' && len(escape) == 6 {
			number, _ := strconv.ParseUint(string(escape[2:]), 16, 16)
			unit = rune(number)
		}
		low := 0xdc00 <= unit && unit < 0xe000
		if high && !(low && at[0] == last) || !high && low {
			return true
		}
		high, last = 0xd800 <= unit && unit < 0xdc00, at[1]
	}
	return high
}

func restored(value any) (any, error) {
	switch value := value.(type) {
	case json.Number:
		return number(value.String())
	case string:
		return untagged(value)
	case []any:
		for i, item := range value {
			back, err := restored(item)
			if err != nil {
				return nil, err
			}
			value[i] = back
		}
	case map[string]any:
		for key, member := range value {
			back, err := restored(member)
			if err != nil {
				return nil, err
			}
			value[key] = back
		}
	}
	return value, nil
}

func untagged(value string) (any, error) {
	if !looksTagged.MatchString(value) {
		return value, nil
	}
	if strings.HasPrefix(value, "$$") {
		return value[1:], nil
	}
	found := tagged.FindStringSubmatch(value)
	if found == nil || len(found[1]) > longestTag {
		return nil, fmt.Errorf("a tag of an integer without one: %w", ErrUndecodable)
	}
	integer, _ := new(big.Int).SetString(found[1], 10)
	if integer.IsInt64() {
		return integer.Int64(), nil
	}
	return integer, nil
}

// number reads a literal. Numbers are doubles; an integer that no double holds is not rounded in silence.
func number(text string) (any, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%s is beyond every double: %w", text[:min(len(text), longestInt)], ErrUndecodable)
	}
	if value == math.Trunc(value) && math.Abs(value) <= safe {
		return int64(value), nil
	}
	if integral.MatchString(text) && double(value) != text {
		return nil, fmt.Errorf("the integer %s is beyond 2^53 and has no tag: %w", text[:min(len(text), longestInt)], ErrUndecodable)
	}
	return value, nil
}
