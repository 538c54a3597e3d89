package io.github.misocrdt;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A map of fields to values or counters. A loop over it reads page by page, each field once. */
public final class ORMap extends Name implements Iterable<Map.Entry<String, Object>> {
    ORMap(Runner runner, String object, String name, boolean raw) {
        super(runner, object, name, "ORMAP", raw);
    }

    /** Sets a field. */
    public void set(String field, Object value) {
        write("SET", List.of(Call.bytes(field), encode(value)), Call.Replies::nothing);
    }

    /** A field's value; null if there is none. */
    public Object get(String field) {
        return read("GET", Call.words(field), this::decode);
    }

    /** All concurrent values of a field. */
    public List<Object> getValues(String field) {
        return readAll("GETMV", Call.words(field));
    }

    /** A field that is a counter, always exact; 0 if there is none. */
    public BigInteger getBigInteger(String field) {
        return (BigInteger) read("GET", Call.words(field), this::counter);
    }

    private BigInteger counter(Object reply) {
        if (reply == null) {
            return BigInteger.ZERO;
        }
        String text = reply instanceof byte[] bytes ? new String(bytes, StandardCharsets.UTF_8) : reply.toString();
        if (text.matches("-?[0-9]{1,100}")) {
            return new BigInteger(text);
        }
        Object value = Codec.decode(Call.bytes(text));
        if (value instanceof Long number) {
            return BigInteger.valueOf(number);
        }
        if (value instanceof BigInteger number) {
            return number;
        }
        throw new MisoException.Undecodable("the field holds no integer; read it by get()", null);
    }

    /** Adds to a field that is a counter; answers the new value. */
    public long increment(String field, long by) {
        return writeLong("INCRBY", Call.words(field, Long.toString(by)));
    }

    /** Whether a field is there. */
    public boolean has(String field) {
        return readTruth("EXISTS", Call.words(field));
    }

    /** Removes fields; answers how many were there. */
    public long delete(String... fields) {
        return fields.length == 0 ? 0 : writeLong("DEL", Call.words(fields));
    }

    /** How many fields it has. */
    public long size() {
        return readLong("LEN", List.of());
    }

    /** The names of all fields. */
    @SuppressWarnings("unchecked") // What the reader answers; null in a batch.
    public List<String> keys() {
        return (List<String>)
                read("KEYS", List.of(), reply -> Call.Replies.items(reply).stream().map(Call.Replies::text).toList());
    }

    /** All fields. */
    public Map<String, Object> getValue() {
        Map<String, Object> fields = new LinkedHashMap<>();
        forEach(field -> fields.put(field.getKey(), field.getValue()));
        return fields;
    }

    @Override
    public Iterator<Map.Entry<String, Object>> iterator() {
        return pages(2, this::entry);
    }

    private Map.Entry<String, Object> entry(List<Object> words) {
        // A value may be null: Map.entry does not take that.
        return new java.util.AbstractMap.SimpleImmutableEntry<>(
                Call.Replies.text(words.get(0)), decode(words.get(1)));
    }
}
