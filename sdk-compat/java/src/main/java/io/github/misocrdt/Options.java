package io.github.misocrdt;

import java.time.Duration;

/** Settings of an object; what is not given is taken from the environment. */
public final class Options {
    String url;
    String id;
    String function;
    String replica;
    Duration connectTimeout = Duration.ofSeconds(2);
    Duration replyTimeout = Duration.ofSeconds(3);
    Duration deadline = Duration.ofSeconds(10);
    Duration checkAfter = Duration.ofSeconds(1);
    int connections = 16;

    /** Options that leave everything to the environment. */
    public Options() {}

    /** {@code redis://FUNCTION:-@HOST:6379}. Default: MISO_URL, else MISO_HOST_IP, MISO_HOST_PORT, MISO_FUNCTION_NAME. */
    public Options url(String url) {
        this.url = url;
        return this;
    }

    /** The object's id. Default: the function's own object, the same on every node. */
    public Options id(String id) {
        this.id = id;
        return this;
    }

    /** The function, if the URL's user is not its name. Default: MISO_FUNCTION_NAME. */
    public Options function(String function) {
        this.function = function;
        return this;
    }

    /** This replica of the function. Default: MISO_REPLICA_ID, else HOSTNAME. */
    public Options replica(String replica) {
        this.replica = replica;
        return this;
    }

    /** How long a connection may take. Default 2 s. */
    public Options connectTimeout(Duration timeout) {
        connectTimeout = timeout;
        return this;
    }

    /** How long one attempt of a call waits for its reply. Default 3 s. */
    public Options replyTimeout(Duration timeout) {
        replyTimeout = timeout;
        return this;
    }

    /** How long a call takes at most, with all its attempts. Default 10 s. */
    public Options deadline(Duration deadline) {
        this.deadline = deadline;
        return this;
    }

    /** Without use for this time, a connection is checked before it is used. Default 1 s. */
    public Options checkAfter(Duration time) {
        checkAfter = time;
        return this;
    }

    /** How many connections there may be at most, one per thread that calls. Default 16. */
    public Options connections(int most) {
        connections = most;
        return this;
    }
}
