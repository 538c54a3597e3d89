package io.github.misocrdt;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import redis.clients.jedis.exceptions.JedisException;

/** Listens for changes of an object until it is closed. */
public final class Watch implements AutoCloseable {
    private static final long PING_MILLIS = 5_000;
    private static final Duration SILENCE = Duration.ofMillis(3 * PING_MILLIS);
    /** What waits to be read; when it is full, a gap stands for what was left out. */
    private static final int MOST = 10_000;

    /** What a watcher is told: a change of a name of the object, here or on another node, or a gap. */
    public sealed interface Event {}

    /**
     * A name has changed.
     *
     * @param name the name
     * @param type its type, as MISO.TYPE calls it
     */
    public record Change(String name, String type) implements Event {}

    /** Changes may have been missed: what was read before has to be read again. */
    public record Gap() implements Event {}

    private final Link link;
    private final String object;
    private final BlockingQueue<Event> events = new LinkedBlockingQueue<>(MOST);
    private final ScheduledFuture<?> pings;
    private volatile Wire wire;
    private volatile boolean closed;
    private boolean missed;

    Watch(Link link, String object) {
        this.link = link;
        this.object = object;
        wire = open();
        pings = link.timer().scheduleWithFixedDelay(this::ping, PING_MILLIS, PING_MILLIS, TimeUnit.MILLISECONDS);
        Thread reader = new Thread(this::listen, "miso-crdt-watch");
        reader.setDaemon(true);
        reader.start();
    }

    private Wire open() {
        Wire made = link.connect(SILENCE);
        try {
            made.ask(Call.words("SUBSCRIBE", "__miso__:" + made.function + ":" + object));
            return made;
        } catch (JedisException cause) {
            made.close();
            throw Wire.notSent(link.where, cause);
        }
    }

    /** The next event; waits for as long as nothing changes. */
    public Event next() throws InterruptedException {
        return events.take();
    }

    /** The next event, or null if there is none within this time. */
    public Event next(Duration timeout) throws InterruptedException {
        return events.poll(timeout.toNanos(), TimeUnit.NANOSECONDS);
    }

    private void listen() {
        while (!closed) {
            try {
                Object message = wire.next();
                List<?> parts = Call.Replies.items(message);
                if (parts.size() == 3 && "message".equals(Call.Replies.text(parts.get(0)))) {
                    String text = Call.Replies.text(parts.get(2)); // The name, a space and the type.
                    int space = text.lastIndexOf(' ');
                    tell(new Change(text.substring(0, space), text.substring(space + 1)));
                }
            } catch (JedisException gone) {
                reconnect();
            }
        }
    }

    private void reconnect() {
        wire.close();
        while (!closed) {
            try {
                wire = open();
                if (closed) {
                    wire.close();
                }
                tell(new Gap());
                return;
            } catch (MisoException later) {
                Link.pause();
            }
        }
    }

    /** Only the reading thread tells. */
    private void tell(Event event) {
        if (missed && events.offer(new Gap())) {
            missed = false;
        }
        missed = missed || !events.offer(event);
    }

    private void ping() {
        try {
            wire.post(Call.words("PING"));
        } catch (JedisException gone) {
            // The reading thread sees it too.
        }
    }

    @Override
    public void close() {
        closed = true;
        pings.cancel(false);
        wire.close();
    }
}
