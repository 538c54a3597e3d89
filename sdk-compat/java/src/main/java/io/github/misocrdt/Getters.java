package io.github.misocrdt;

/** The proxies of the seven types. A getter does no I/O. */
public abstract class Getters {
    private final String id;

    Getters(String id) {
        this.id = id;
    }

    abstract Object run(Call<?> call);

    /** The object's id. */
    public final String id() {
        return id;
    }

    /** A counter that only grows. */
    public GCounter getGCounter(String name) {
        return new GCounter(this::run, id, name);
    }

    /** A counter that grows and shrinks. */
    public PNCounter getPNCounter(String name) {
        return new PNCounter(this::run, id, name);
    }

    /** A set that only grows. */
    public GSet getGSet(String name) {
        return new GSet(this::run, id, name, false);
    }

    /** A set. */
    public ORSet getORSet(String name) {
        return new ORSet(this::run, id, name, false);
    }

    /** A register. */
    public MVRegister getMVRegister(String name) {
        return new MVRegister(this::run, id, name, false);
    }

    /** A flag. */
    public EWFlag getEWFlag(String name) {
        return new EWFlag(this::run, id, name);
    }

    /** A map. */
    public ORMap getORMap(String name) {
        return new ORMap(this::run, id, name, false);
    }

    /** A set of byte[] that only grows. */
    public GSet getRawGSet(String name) {
        return new GSet(this::run, id, name, true);
    }

    /** A set of byte[]. */
    public ORSet getRawORSet(String name) {
        return new ORSet(this::run, id, name, true);
    }

    /** A register of byte[]. */
    public MVRegister getRawMVRegister(String name) {
        return new MVRegister(this::run, id, name, true);
    }

    /** A map of fields to byte[]. */
    public ORMap getRawORMap(String name) {
        return new ORMap(this::run, id, name, true);
    }
}
