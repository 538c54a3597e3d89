package io.github.misocrdt;

import java.util.List;

/** A flag. An enable wins over a disable on another node that has not seen it. */
public final class EWFlag extends Name {
    EWFlag(Runner runner, String object, String name) {
        super(runner, object, name, "EWFLAG", false);
    }

    /** Enables it; answers whether it changed here. */
    public boolean enable() {
        return writeTruth("ENABLE", List.of());
    }

    /** Disables it; answers whether it changed here. */
    public boolean disable() {
        return writeTruth("DISABLE", List.of());
    }

    /** Enables or disables it; answers whether it changed here. */
    public boolean assign(boolean value) {
        return writeTruth("SET", Call.words(value ? "1" : "0"));
    }

    /** Whether it is enabled. */
    public boolean getValue() {
        return readTruth("GET", List.of());
    }
}
