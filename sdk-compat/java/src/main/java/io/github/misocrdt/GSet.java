package io.github.misocrdt;

import java.util.Iterator;
import java.util.List;

/** A set that only grows. A loop over it reads page by page, each value once. */
public class GSet extends Name implements Iterable<Object> {
    GSet(Runner runner, String object, String name, boolean raw) {
        this(runner, object, name, "GSET", raw);
    }

    GSet(Runner runner, String object, String name, String prefix, boolean raw) {
        super(runner, object, name, prefix, raw);
    }

    /** Adds values; answers how many were new here. */
    public long add(Object... values) {
        return values.length == 0 ? 0 : writeLong("ADD", encodeAll(values));
    }

    /** Whether a value is in the set, without fetching the set. */
    public boolean has(Object value) {
        return readTruth("ISMEMBER", List.of(encode(value)));
    }

    /** How many values it has. */
    public long size() {
        return readLong("CARD", List.of());
    }

    /** All values: a list, since values may be maps and lists. */
    public List<Object> getValue() {
        return readAll("MEMBERS", List.of());
    }

    @Override
    public Iterator<Object> iterator() {
        return pages(1, words -> decode(words.get(0)));
    }
}
