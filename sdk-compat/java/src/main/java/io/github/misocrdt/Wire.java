package io.github.misocrdt;

import java.util.List;
import redis.clients.jedis.Connection;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.JedisClientConfig;
import redis.clients.jedis.SslOptions;
import redis.clients.jedis.commands.ProtocolCommand;
import redis.clients.jedis.exceptions.JedisConnectionException;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.exceptions.JedisException;

/** A connection that stands, with what the server said of itself. One thread uses it at a time. */
final class Wire implements AutoCloseable {
    static final String ONCE = "MISO.ONCE";

    private final Line connection;
    /** The function that it speaks for. */
    final String function;
    /** Whether the server knows MISO.ONCE. */
    final boolean once;
    private long used = System.nanoTime();

    /** A connection that can send without waiting for a reply. */
    private static final class Line extends Connection {
        Line(HostAndPort where, JedisClientConfig config) {
            super(where, config);
        }

        void push() {
            flush();
        }
    }

    /** Connects and asks for whom the connection speaks. */
    Wire(Settings where, Options options, int replyMillis) {
        DefaultJedisClientConfig.Builder config =
                DefaultJedisClientConfig.builder()
                        .resp2()
                        .connectionTimeoutMillis(Math.toIntExact(options.connectTimeout.toMillis()))
                        .socketTimeoutMillis(Math.toIntExact(options.replyTimeout.toMillis()));
        if (where.tls()) {
            config.sslOptions(SslOptions.defaults());
        }
        if (where.user() != null) {
            config.user(where.user());
        }
        if (where.password() != null) {
            config.password(where.password());
        }
        Line made = null;
        try {
            made = new Line(new HostAndPort(where.host(), where.port()), config.build());
            connection = made;
            function = Call.Replies.text(ask(Call.words("MISO.FUNCTION")));
            checkFunction(where);
            once = knowsOnce();
            connection.setSoTimeout(replyMillis);
        } catch (JedisException | MisoException cause) {
            if (made != null) {
                made.disconnect();
            }
            throw notSent(where, cause);
        }
    }

    private void checkFunction(Settings where) {
        String wanted = where.function();
        if (wanted == null || wanted.equals(function.split("#", 2)[0])) {
            return;
        }
        if (wanted.equals(where.user())) {
            try {
                if (wanted.equals(Call.Replies.text(ask(Call.words("ACL", "WHOAMI"))))) {
                    return; // A user that is bound to a function of another name.
                }
            } catch (JedisDataException unknown) {
                // A server that does not say who we are cannot have bound the user.
            }
        }
        throw new MisoException.FunctionMismatch(
                "the connection speaks for '" + function + "', not for '" + wanted + "': the user name did not arrive,"
                        + " or it is bound to another function. Write redis://" + wanted + ":-@HOST in MISO_URL");
    }

    private boolean knowsOnce() {
        try {
            List<?> rows = Call.Replies.items(ask(Call.words("COMMAND", "INFO", ONCE)));
            return !rows.isEmpty() && rows.get(0) != null;
        } catch (JedisDataException unknown) {
            return false;
        }
    }

    /** What a failed connection is to the program. */
    static MisoException notSent(Settings where, RuntimeException cause) {
        if (cause instanceof MisoException typed) {
            return typed;
        }
        if (cause instanceof JedisDataException && !notYet(cause)) {
            return MisoException.ofReply(String.valueOf(cause.getMessage()));
        }
        String why = cause.getCause() == null ? cause.getMessage() : cause.getCause().getMessage();
        return new MisoException.NotSent(
                "no node at " + where + ": " + why + "; is it running, and is MISO_URL right?", cause);
    }

    /** Whether the server has run nothing and will soon. */
    static boolean notYet(Object reply) {
        return reply instanceof JedisDataException error
                && error.getMessage() != null
                && (error.getMessage().startsWith("LOADING") || error.getMessage().startsWith("TRYAGAIN"));
    }

    /** Sends all lines at once and answers the reply to each; an error is a reply. */
    List<Object> send(List<List<byte[]>> lines) {
        lines.forEach(this::write);
        List<Object> replies = connection.getMany(lines.size());
        used = System.nanoTime();
        return replies;
    }

    /** The reply to one line; throws the error that it is. */
    Object ask(List<byte[]> line) {
        Object reply = send(List.of(line)).get(0);
        if (reply instanceof JedisDataException error) {
            throw error;
        }
        return reply;
    }

    private void write(List<byte[]> line) {
        byte[] verb = line.get(0);
        ProtocolCommand command = () -> verb;
        connection.sendCommand(command, line.subList(1, line.size()).toArray(byte[][]::new));
    }

    /** Sends a line whose reply {@link #next} reads; the thread that does may be another one. */
    void post(List<byte[]> line) {
        write(line);
        connection.push();
    }

    /** The next reply or message. */
    Object next() {
        return connection.getUnflushedObject();
    }

    void setReplyMillis(int millis) {
        connection.setSoTimeout(millis);
    }

    /** Whether it stands: a process that was frozen does not know that its connection was closed meanwhile. */
    boolean stands(long checkAfterNanos) {
        if (connection.isBroken() || !connection.isConnected()) {
            return false;
        }
        if (System.nanoTime() - used < checkAfterNanos) {
            return true;
        }
        try {
            ask(Call.words("PING"));
            return true;
        } catch (JedisConnectionException gone) {
            return false;
        }
    }

    @Override
    public void close() {
        connection.disconnect();
    }
}
