package io.github.misocrdt;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.exceptions.JedisException;

/** Holds the connection that a registration lives on, and registers again after each reconnect. */
final class Keeper implements AutoCloseable {
    private static final long ALIVE_MILLIS = 500;
    /** The node may wait until another one has everything. */
    private static final int UNREGISTER_MILLIS = 30_000;

    private final Link link;
    private final String replica;
    private final Duration ttl;
    private final ScheduledFuture<?> checks;
    private Wire wire;
    private boolean closed;

    Keeper(Link link, String replica, Duration ttl) {
        this.link = link;
        this.replica = replica;
        this.ttl = ttl;
        wire = open();
        checks = link.timer().scheduleWithFixedDelay(this::check, ALIVE_MILLIS, ALIVE_MILLIS, TimeUnit.MILLISECONDS);
    }

    private Wire open() {
        Wire made = link.connect(link.options.replyTimeout);
        List<byte[]> line = Call.words("MISO.REGISTER", made.function, "REPLICA", replica);
        if (ttl != null) {
            line.addAll(Call.words("TTL", Long.toString(ttl.toSeconds())));
        }
        try {
            made.ask(line);
            return made;
        } catch (JedisException cause) {
            made.close();
            throw Wire.notSent(link.where, cause);
        }
    }

    private synchronized void check() {
        if (closed) {
            return;
        }
        try {
            stand();
        } catch (MisoException later) {
            // The next check tries again.
        }
    }

    private void stand() {
        if (wire != null && wire.stands(0)) {
            return;
        }
        if (wire != null) {
            wire.close();
            wire = null;
        }
        wire = open();
    }

    /** Takes the registration back; answers whether there was one. */
    synchronized boolean unregister() {
        try {
            stand(); // What a connection that is gone has registered may have to be taken back, too.
            wire.setReplyMillis(UNREGISTER_MILLIS);
            return Call.Replies.truth(
                    wire.ask(Call.words("MISO.UNREGISTER", wire.function, "REPLICA", replica)));
        } catch (JedisDataException error) {
            throw MisoException.ofReply(String.valueOf(error.getMessage()));
        } catch (JedisException cause) {
            throw new MisoException.Unreachable("no reply to MISO.UNREGISTER: " + cause.getMessage(), cause);
        } finally {
            close();
        }
    }

    @Override
    public synchronized void close() {
        closed = true;
        checks.cancel(false);
        if (wire != null) {
            wire.close();
            wire = null;
        }
    }
}
