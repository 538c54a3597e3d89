package io.github.misocrdt;

/** A counter that grows and shrinks. */
public final class PNCounter extends GCounter {
    PNCounter(Runner runner, String object, String name) {
        super(runner, object, name, "PNCOUNTER");
    }

    /** Subtracts 1; answers the new value on this node. */
    public long sub() {
        return sub(1);
    }

    /** Subtracts; answers the new value on this node. */
    public long sub(long by) {
        return writeLong("SUB", Call.words(Long.toString(by)));
    }
}
