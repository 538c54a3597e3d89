package io.github.misocrdt;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import org.apache.commons.pool2.BasePooledObjectFactory;
import org.apache.commons.pool2.PooledObject;
import org.apache.commons.pool2.impl.DefaultPooledObject;
import org.apache.commons.pool2.impl.GenericObjectPool;
import org.apache.commons.pool2.impl.GenericObjectPoolConfig;
import redis.clients.jedis.exceptions.JedisConnectionException;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.exceptions.JedisException;

/** The pool of connections to a node, filled by the first call. */
final class Link implements AutoCloseable {
    static final Duration PAUSE = Duration.ofMillis(50);

    /** How many calls MISO.ONCE takes in a transaction: what they answer has to fit into what is kept of it. */
    private static final int ATOMIC_MOST = 20;

    final Settings where;
    final Options options;
    private final GenericObjectPool<Wire> pool;
    private ScheduledThreadPoolExecutor timer;
    private Keeper keeper;
    private int users = 1;

    Link(Settings where, Options options) {
        this.where = where;
        this.options = options;
        GenericObjectPoolConfig<Wire> config = new GenericObjectPoolConfig<>();
        config.setMaxTotal(options.connections);
        config.setMaxIdle(options.connections);
        config.setMaxWait(options.replyTimeout);
        config.setJmxEnabled(false);
        pool = new GenericObjectPool<>(new Wires(), config);
    }

    private final class Wires extends BasePooledObjectFactory<Wire> {
        @Override
        public Wire create() {
            return connect(options.replyTimeout);
        }

        @Override
        public PooledObject<Wire> wrap(Wire wire) {
            return new DefaultPooledObject<>(wire);
        }

        @Override
        public void destroyObject(PooledObject<Wire> pooled) {
            pooled.getObject().close();
        }
    }

    /** A connection outside the pool. */
    Wire connect(Duration replyTimeout) {
        return new Wire(where, options, Math.toIntExact(replyTimeout.toMillis()));
    }

    /** A connection of the pool that stands. */
    private Wire take() {
        if (pool.isClosed()) {
            throw new MisoException.NotSent("the object is closed; make a new MisoObject", null);
        }
        try {
            while (true) {
                Wire wire = pool.borrowObject();
                if (wire.stands(options.checkAfter.toNanos())) {
                    return wire;
                }
                pool.invalidateObject(wire);
            }
        } catch (JedisException | MisoException cause) {
            throw Wire.notSent(where, cause);
        } catch (InterruptedException cause) {
            Thread.currentThread().interrupt();
            throw new MisoException.NotSent("interrupted while it waited for a connection", cause);
        } catch (Exception cause) {
            throw new MisoException.NotSent("no free connection: " + cause.getMessage(), cause);
        }
    }

    private void give(Wire wire, boolean usable) {
        try {
            if (usable) {
                pool.returnObject(wire);
            } else {
                pool.invalidateObject(wire);
            }
        } catch (Exception cause) {
            wire.close();
        }
    }

    /** Decides whether a call is sent again: a read always, a write only if its id makes a second time harmless. */
    private final class Attempts {
        private final boolean writes;
        private final long end = System.nanoTime() + options.deadline.toNanos();
        private boolean sent; // Whether it may have run.

        Attempts(List<? extends Call<?>> calls) {
            writes = calls.stream().anyMatch(Call::write);
        }

        boolean over() {
            return System.nanoTime() + PAUSE.toNanos() > end || Thread.currentThread().isInterrupted();
        }

        void unconnected(MisoException error) {
            if (error instanceof MisoException.NotSent && !pool.isClosed() && !over()) {
                return;
            }
            throw sent && writes ? new MisoException.UnknownOutcome(error) : error;
        }

        void connected(boolean once) {
            if (sent && writes && !once) {
                throw new MisoException.UnknownOutcome(null);
            }
        }

        void cut(JedisConnectionException cause, boolean once) {
            sent = true;
            if (writes && (!once || over())) {
                throw new MisoException.UnknownOutcome(cause);
            }
            if (over()) {
                throw new MisoException.Unreachable("no reply: " + cause.getMessage(), cause);
            }
        }
    }

    /**
     * Runs calls on one connection: in a pipeline, or in MULTI and EXEC under the one id. Answers a value or a
     * MisoException for each; throws if the node was not reached or the outcome is unknown.
     */
    List<Object> run(List<? extends Call<?>> calls, String atomic) {
        Attempts attempts = new Attempts(calls);
        while (true) {
            Wire wire = null;
            boolean usable = false;
            boolean once = false;
            try {
                wire = take();
                once = wire.once && named(calls, atomic);
                attempts.connected(once);
                List<Object> replies = wire.send(lines(calls, atomic, once));
                usable = true;
                if (replies.size() > 1 || !Wire.notYet(replies.get(0)) || attempts.over()) {
                    return results(calls, replies, atomic != null);
                }
            } catch (JedisConnectionException cause) {
                attempts.cut(cause, once);
            } catch (MisoException cause) {
                if (wire != null) {
                    throw cause;
                }
                attempts.unconnected(cause);
            } finally {
                if (wire != null) {
                    give(wire, usable);
                }
            }
            pause();
        }
    }

    static void pause() {
        try {
            Thread.sleep(PAUSE.toMillis());
        } catch (InterruptedException cause) {
            Thread.currentThread().interrupt();
        }
    }

    /** Whether these calls run under ids: writes do, and of those in MULTI and EXEC no read is among them. */
    private static boolean named(List<? extends Call<?>> calls, String atomic) {
        return atomic == null || (calls.size() <= ATOMIC_MOST && calls.stream().allMatch(Call::write));
    }

    /** The commands on the wire. */
    private static List<List<byte[]>> lines(List<? extends Call<?>> calls, String atomic, boolean once) {
        List<List<byte[]>> lines = new ArrayList<>();
        if (atomic != null) {
            lines.add(once ? Call.words(Wire.ONCE, Call.checkId(atomic), "MULTI") : Call.words("MULTI"));
        }
        for (Call<?> call : calls) {
            if (call.write() && once && atomic == null) {
                List<byte[]> line = Call.words(Wire.ONCE, Call.checkId(call.id()));
                line.addAll(call.words());
                lines.add(line);
            } else {
                lines.add(call.words());
            }
        }
        if (atomic != null) {
            lines.add(Call.words("EXEC"));
        }
        return lines;
    }

    private static List<Object> results(List<? extends Call<?>> calls, List<Object> replies, boolean atomic) {
        List<?> found = replies;
        if (atomic) {
            Object last = replies.get(replies.size() - 1);
            Object refused =
                    replies.subList(1, replies.size() - 1).stream()
                            .filter(JedisDataException.class::isInstance)
                            .findFirst()
                            .orElse(last);
            found = last instanceof List<?> answers ? answers : Collections.nCopies(calls.size(), refused);
        }
        List<Object> values = new ArrayList<>();
        for (int i = 0; i < calls.size(); i++) {
            Object reply = found.get(i);
            if (reply instanceof JedisDataException error) {
                values.add(MisoException.ofReply(String.valueOf(error.getMessage())));
                continue;
            }
            try {
                values.add(calls.get(i).read().apply(reply));
            } catch (MisoException error) {
                values.add(error);
            } catch (NumberFormatException error) {
                values.add(new MisoException.Undecodable("the reply is no integer", error));
            }
        }
        return values;
    }

    /** A read that waits at the server, on a connection of its own. */
    <T> T waiting(Call<T> call, Duration replyTimeout) {
        try (Wire wire = connect(replyTimeout)) {
            return call.read().apply(wire.ask(call.words()));
        } catch (JedisConnectionException cause) {
            throw new MisoException.Unreachable("no reply: " + cause.getMessage(), cause);
        } catch (JedisDataException error) {
            throw MisoException.ofReply(String.valueOf(error.getMessage()));
        }
    }

    String function() {
        Wire wire = take();
        give(wire, true);
        return wire.function;
    }

    /** For what is done from time to time; its thread ends with the program. */
    synchronized ScheduledThreadPoolExecutor timer() {
        if (timer == null) {
            timer =
                    new ScheduledThreadPoolExecutor(
                            1,
                            task -> {
                                Thread thread = new Thread(task, "miso-crdt");
                                thread.setDaemon(true);
                                return thread;
                            });
            timer.setRemoveOnCancelPolicy(true);
        }
        return timer;
    }

    synchronized void register(String replica, Duration ttl) {
        if (keeper != null) {
            keeper.close();
        }
        keeper = new Keeper(this, replica, ttl);
    }

    boolean unregister() {
        Keeper ended;
        synchronized (this) {
            ended = keeper;
            keeper = null;
        }
        return ended != null && ended.unregister();
    }

    synchronized Link retain() {
        users++;
        return this;
    }

    boolean isClosed() {
        return pool.isClosed();
    }

    @Override
    public synchronized void close() {
        if (--users > 0) {
            return;
        }
        if (keeper != null) {
            keeper.close();
        }
        if (timer != null) {
            timer.shutdownNow();
        }
        pool.close();
    }
}
