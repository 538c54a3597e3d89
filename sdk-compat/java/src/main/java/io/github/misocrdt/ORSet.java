package io.github.misocrdt;

import java.util.List;

/** A set. An add wins over a remove on another node that has not seen it. */
public final class ORSet extends GSet {
    ORSet(Runner runner, String object, String name, boolean raw) {
        super(runner, object, name, "ORSET", raw);
    }

    /** Removes values; answers how many were there. */
    public long remove(Object... values) {
        return values.length == 0 ? 0 : writeLong("REM", encodeAll(values));
    }

    /** Removes all values that this node has seen; answers how many. */
    public long clear() {
        return writeLong("CLEAR", List.of());
    }
}
