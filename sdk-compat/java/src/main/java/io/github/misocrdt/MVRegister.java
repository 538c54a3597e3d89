package io.github.misocrdt;

import java.util.List;

/** A value, or all those that were assigned concurrently. */
public final class MVRegister extends Name {
    MVRegister(Runner runner, String object, String name, boolean raw) {
        super(runner, object, name, "MVREG", raw);
    }

    /** Replaces every value that this node has seen. */
    public void assign(Object value) {
        write("SET", List.of(encode(value)), Call.Replies::nothing);
    }

    /** The value, of concurrent ones the same on every node; null if none was assigned. */
    public Object getValue() {
        return read("VALUE", List.of(), this::decode);
    }

    /** All concurrent values: more than one until somebody assigns again. */
    public List<Object> getValues() {
        return readAll("GET", List.of());
    }
}
