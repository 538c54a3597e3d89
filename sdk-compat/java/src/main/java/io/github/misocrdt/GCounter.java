package io.github.misocrdt;

import java.util.List;

/** A counter that only grows. */
public class GCounter extends Name {
    GCounter(Runner runner, String object, String name) {
        this(runner, object, name, "GCOUNTER");
    }

    GCounter(Runner runner, String object, String name, String prefix) {
        super(runner, object, name, prefix, false);
    }

    /** Adds 1; answers the new value on this node. */
    public long add() {
        return add(1);
    }

    /** Adds; answers the new value on this node. */
    public long add(long by) {
        return writeLong("ADD", Call.words(Long.toString(by)));
    }

    /** The value on this node. */
    public long getValue() {
        return readLong("GET", List.of());
    }
}
