package io.github.misocrdt;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A stateful object: some named CRDTs that live on the node beside the function. Making one does no I/O. Threads may
 * share it; objects of a program with the same settings share one pool of connections, filled by the first call.
 */
public final class MisoObject extends Getters implements AutoCloseable {
    private static final Duration AWAIT_MARGIN = Duration.ofSeconds(2);
    private static final Map<String, Link> LINKS = new HashMap<>();

    private final Link link;
    private final String callId;
    private final AtomicLong number = new AtomicLong();
    private boolean closed;

    private MisoObject(Link link, String id, String callId) {
        super(id);
        this.link = link;
        this.callId = callId;
    }

    /** The object {@code id} of the node at {@code redis://FUNCTION:-@HOST:6379}. */
    public static MisoObject connect(String url, String id) {
        return of(new Options().url(url).id(id));
    }

    /** The object of this function, on the node that the environment names. */
    public static MisoObject fromEnvironment() {
        return of(new Options());
    }

    /**
     * An object with these options.
     *
     * @throws MisoException.Setting if nothing says where the node is
     */
    public static MisoObject of(Options options) {
        Settings where = Settings.resolve(options, System::getenv);
        String id = options.id == null ? Settings.defaultId(where.function()) : options.id;
        if (id.isEmpty()) {
            throw new MisoException.Argument("an id is a string that is not empty");
        }
        String key =
                String.join(
                        " ",
                        List.of(
                                where.host(), where.port() + "", where.tls() + "", where.user() + "",
                                where.password() + "", where.function() + "", where.replica(),
                                options.connectTimeout + "", options.replyTimeout + "", options.deadline + "",
                                options.checkAfter + "", options.connections + ""));
        synchronized (LINKS) {
            Link link = LINKS.get(key);
            if (link == null || link.isClosed()) {
                link = new Link(where, options);
                LINKS.put(key, link);
            } else {
                link.retain();
            }
            return new MisoObject(link, id, null);
        }
    }

    /** Another object of the same function, over the same connections. Close it too. */
    public MisoObject object(String id) {
        return new MisoObject(link.retain(), id, null);
    }

    /**
     * The same object for one call of the platform, with the platform's own id of it (an AWS request id, X-Call-Id): a
     * repeat of the whole call that makes the same writes in the same order changes nothing. Close it too.
     */
    public MisoObject forCall(String callId) {
        Call.checkId(callId + ":0");
        return new MisoObject(link.retain(), id(), callId);
    }

    private String nextId() {
        return callId == null ? Call.newId() : Call.checkId(callId + ":" + number.getAndIncrement());
    }

    @Override
    Object run(Call<?> call) {
        Object answer = link.run(List.of(call.write() ? call.under(nextId()) : call), null).get(0);
        if (answer instanceof MisoException error) {
            throw error;
        }
        return answer;
    }

    /** Begins calls that are sent together, in order; others may come between them. */
    public Batch batch() {
        return new Batch(link, id(), this::nextId, false);
    }

    /** Begins calls that run together (MULTI): all or, if one cannot be queued, none; replicated in one piece. */
    public Batch atomic() {
        return new Batch(link, id(), this::nextId, true);
    }

    private List<byte[]> line(String verb, String... names) {
        List<byte[]> line = Call.words(verb, id());
        line.addAll(Call.words(names));
        return line;
    }

    /** Deletes these names, or without one the whole object; answers how many names there were. */
    public long delete(String... names) {
        return (Long) run(Call.write(line("MISO.DEL", names), Call.Replies::integer));
    }

    /** Whether the object, or all these names of it, exist. */
    public boolean exists(String... names) {
        long found = (Long) run(Call.read(line("MISO.EXISTS", names), Call.Replies::integer));
        return found >= Math.max(1, names.length);
    }

    /** Tells the node that a replica of the function runs here, again after each reconnect. */
    public void register() {
        register(null);
    }

    /** The same; it lasts for {@code ttl} past its connection. */
    public void register(Duration ttl) {
        link.register(link.where.replica(), ttl);
    }

    /** Takes it back; answers whether there was one. The node may wait until another has all that it knows. */
    public boolean unregister() {
        return link.unregister();
    }

    /** A causal token: everything that may have been seen here. */
    public String token() {
        return (String) run(Call.read(Call.words("MISO.TOKEN"), Call.Replies::text));
    }

    /** Waits until this node has everything that the token covers; false if it has not within the time-out. */
    public boolean await(String token, Duration timeout) {
        if (timeout.toMillis() < 1) {
            throw new MisoException.Argument("a time-out is at least a millisecond");
        }
        List<byte[]> line = Call.words("MISO.AWAIT", token, Long.toString(timeout.toMillis()));
        return link.waiting(Call.read(line, Call.Replies::truth), timeout.plus(AWAIT_MARGIN));
    }

    /** Tells changes; it listens when it answers. */
    public Watch watch() {
        return new Watch(link, id());
    }

    /** The function that the connections speak for. */
    public String functionName() {
        return link.function();
    }

    /** Ends the connections, if no other object of the program uses them. */
    @Override
    public void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
        }
        synchronized (LINKS) { // A link that ends is not given to anybody.
            link.close();
        }
    }
}
