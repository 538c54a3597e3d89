package io.github.misocrdt;

import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.MalformedJsonException;
import java.io.IOException;
import java.io.StringReader;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.MathContext;
import java.math.RoundingMode;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;

/**
 * How values become bytes: the canonical JSON of RFC 8785, so that equal values are equal bytes in every language.
 * Integers beyond 2^53 are strings with a tag.
 */
public final class Codec {
    private static final long SAFE = (1L << 53) - 1;
    private static final int DEEPEST = 250;
    private static final int LONGEST_INTEGER = 4000;
    private static final Pattern LOOKS_TAGGED = Pattern.compile("^\\$+int:.*", Pattern.DOTALL);
    private static final Pattern TAGGED = Pattern.compile("\\$int:(-?(?:0|[1-9][0-9]*))");
    private static final Pattern INTEGRAL = Pattern.compile("-?[0-9]+");

    private Codec() {}

    /**
     * The bytes of a value: null, Boolean, String, integers, BigInteger, doubles, collections, arrays of objects, and
     * maps with string keys.
     *
     * @throws MisoException.Unencodable if it is none of these
     */
    public static byte[] encode(Object value) {
        StringBuilder out = new StringBuilder();
        write(out, value, 0);
        return out.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static void write(StringBuilder out, Object value, int depth) {
        if (depth > DEEPEST) {
            throw new MisoException.Unencodable("more than " + DEEPEST + " levels");
        }
        if (value == null || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof String text) {
            writeText(out, LOOKS_TAGGED.matcher(text).matches() ? "$" + text : text);
        } else if (value instanceof Byte
                || value instanceof Short
                || value instanceof Integer
                || value instanceof Long) {
            writeInteger(out, BigInteger.valueOf(((Number) value).longValue()));
        } else if (value instanceof BigInteger integer) {
            writeInteger(out, integer);
        } else if (value instanceof Double || value instanceof Float) {
            out.append(text(((Number) value).doubleValue()));
        } else if (value instanceof Collection<?> items) {
            writeItems(out, items, depth);
        } else if (value instanceof Object[] items) {
            writeItems(out, Arrays.asList(items), depth);
        } else if (value instanceof Map<?, ?> members) {
            writeMembers(out, members, depth);
        } else {
            throw new MisoException.Unencodable(
                    value.getClass().getName() + " has no JSON form; take maps, lists, strings, numbers, booleans");
        }
    }

    private static void writeItems(StringBuilder out, Collection<?> items, int depth) {
        String between = "[";
        for (Object item : items) {
            out.append(between);
            write(out, item, depth + 1);
            between = ",";
        }
        out.append(items.isEmpty() ? "[]" : "]");
    }

    private static void writeMembers(StringBuilder out, Map<?, ?> members, int depth) {
        // Strings of Java compare by UTF-16 units, as RFC 8785 wants it.
        Map<String, Object> sorted = new TreeMap<>();
        members.forEach(
                (name, member) -> {
                    if (!(name instanceof String text)) {
                        throw new MisoException.Unencodable("a key of a map is a string");
                    }
                    sorted.put(text, member);
                });
        String between = "{";
        for (Map.Entry<String, Object> member : sorted.entrySet()) {
            out.append(between);
            writeText(out, member.getKey());
            out.append(':');
            write(out, member.getValue(), depth + 1);
            between = ",";
        }
        out.append(sorted.isEmpty() ? "{}" : "}");
    }

    private static void writeText(StringBuilder out, String text) {
        if (!paired(text)) {
            throw new MisoException.Unencodable("a lone surrogate; store it by a raw proxy");
        }
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char unit = text.charAt(i);
            int shorter = "\b\t\n\f\r\"\\".indexOf(unit);
            if (shorter >= 0) {
                out.append('\\').append("btnfr\"\\".charAt(shorter));
            } else if (unit < 0x20) {
                out.append(String.format("\\u%04x", (int) unit));
            } else {
                out.append(unit);
            }
        }
        out.append('"');
    }

    private static boolean paired(String text) {
        return text.codePoints().noneMatch(point -> point >= 0xd800 && point < 0xe000);
    }

    private static void writeInteger(StringBuilder out, BigInteger value) {
        if (value.abs().bitLength() < 54) {
            out.append(value);
        } else {
            out.append("\"$int:").append(value).append('"');
        }
    }

    /** The shortest text of a double, laid out as ECMAScript does; `Double.toString` has it only since Java 19. */
    static String text(double value) {
        if (Double.isNaN(value) || Double.isInfinite(value)) {
            throw new MisoException.Unencodable(value + "; store null or a string instead");
        }
        if (value == 0) {
            return "0";
        }
        BigDecimal shortest = shortest(new BigDecimal(Math.abs(value)), Math.abs(value)).stripTrailingZeros();
        String digits = shortest.unscaledValue().toString();
        int point = digits.length() - shortest.scale(); // The value is 0.digits times ten to this power.
        String text;
        if (digits.length() <= point && point <= 21) {
            text = digits + "0".repeat(point - digits.length());
        } else if (0 < point && point <= 21) {
            text = digits.substring(0, point) + "." + digits.substring(point);
        } else if (-6 < point && point <= 0) {
            text = "0." + "0".repeat(-point) + digits;
        } else {
            String fraction = digits.length() == 1 ? "" : "." + digits.substring(1);
            text = digits.charAt(0) + fraction + "e" + (point > 0 ? "+" : "") + (point - 1);
        }
        return value < 0 ? "-" + text : text;
    }

    /** The decimal with the fewest digits that reads as this double; of two, the nearer one. */
    private static BigDecimal shortest(BigDecimal exact, double value) {
        for (int digits = 1; digits < 17; digits++) {
            BigDecimal below = exact.round(new MathContext(digits, RoundingMode.DOWN));
            BigDecimal above = exact.round(new MathContext(digits, RoundingMode.UP));
            boolean low = below.doubleValue() == value;
            boolean high = above.doubleValue() == value;
            if (low && high) {
                return exact.subtract(below).compareTo(above.subtract(exact)) <= 0 ? below : above;
            }
            if (low || high) {
                return low ? below : above;
            }
        }
        return exact.round(new MathContext(17, RoundingMode.HALF_EVEN));
    }

    /**
     * The value that these bytes are, whatever language wrote them: null, Boolean, String, Long (BigInteger beyond it),
     * Double, List, Map.
     *
     * @throws MisoException.Undecodable if no SDK has written them
     */
    public static Object decode(byte[] stored) {
        try {
            String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(stored)).toString();
            JsonReader reader = new JsonReader(new StringReader(text));
            reader.setStrictness(Strictness.STRICT);
            Object value = read(reader);
            if (reader.peek() != JsonToken.END_DOCUMENT) {
                throw new MisoException.Undecodable("more than one value", null);
            }
            return value;
        } catch (CharacterCodingException cause) {
            throw new MisoException.Undecodable("no UTF-8", cause);
        } catch (IOException | IllegalStateException | NumberFormatException cause) {
            throw new MisoException.Undecodable("no JSON: " + cause.getMessage(), cause);
        }
    }

    private static Object read(JsonReader reader) throws IOException {
        switch (reader.peek()) {
            case NULL -> {
                reader.nextNull();
                return null;
            }
            case BOOLEAN -> {
                return reader.nextBoolean();
            }
            case NUMBER -> {
                return number(reader.nextString());
            }
            case STRING -> {
                return untagged(reader.nextString());
            }
            case BEGIN_ARRAY -> {
                List<Object> items = new ArrayList<>();
                reader.beginArray();
                while (reader.hasNext()) {
                    items.add(read(reader));
                }
                reader.endArray();
                return items;
            }
            case BEGIN_OBJECT -> {
                Map<String, Object> members = new LinkedHashMap<>();
                reader.beginObject();
                while (reader.hasNext()) {
                    members.put(checked(reader.nextName()), read(reader));
                }
                reader.endObject();
                return members;
            }
            default -> throw new MalformedJsonException("no value");
        }
    }

    private static String checked(String text) {
        if (!paired(text)) {
            throw new MisoException.Undecodable("a lone surrogate", null);
        }
        return text;
    }

    private static Object untagged(String text) {
        if (!LOOKS_TAGGED.matcher(checked(text)).matches()) {
            return text;
        }
        if (text.startsWith("$$")) {
            return text.substring(1);
        }
        var found = TAGGED.matcher(text);
        if (!found.matches() || text.length() > LONGEST_INTEGER) {
            throw new MisoException.Undecodable("a tag of an integer without one", null);
        }
        BigInteger integer = new BigInteger(found.group(1));
        return integer.bitLength() < 64 ? (Object) integer.longValue() : integer;
    }

    /** Numbers are doubles; an integer that no double holds is not rounded in silence. */
    private static Object number(String literal) {
        double value = Double.parseDouble(literal);
        String shown = literal.substring(0, Math.min(literal.length(), 40));
        if (Double.isInfinite(value)) {
            throw new MisoException.Undecodable(shown + " is beyond every double", null);
        }
        if (value == Math.rint(value) && Math.abs(value) <= SAFE) {
            return (long) value;
        }
        if (INTEGRAL.matcher(literal).matches() && !text(value).equals(literal)) {
            throw new MisoException.Undecodable("the integer " + shown + " is beyond 2^53 and has no tag", null);
        }
        return value;
    }
}
