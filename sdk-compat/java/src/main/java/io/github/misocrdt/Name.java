package io.github.misocrdt;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.function.Function;

/** One name of an object. The proxies hold no state of the value: each method asks the server. */
abstract class Name {
    private static final String PAGE = "1000";

    /** Runs a call now, or queues it in a batch and answers null. */
    interface Runner {
        Object run(Call<?> call);
    }

    private final Runner runner;
    private final String object;
    private final String name;
    private final String prefix;
    final boolean raw;

    Name(Runner runner, String object, String name, String prefix, boolean raw) {
        if (name == null || name.isEmpty()) {
            throw new MisoException.Argument("a name is a string that is not empty");
        }
        this.runner = runner;
        this.object = object;
        this.name = name;
        this.prefix = prefix;
        this.raw = raw;
    }

    private List<byte[]> line(String verb, List<byte[]> words) {
        List<byte[]> line = Call.words(prefix + "." + verb, object, name);
        line.addAll(words);
        return line;
    }

    final Object read(String verb, List<byte[]> words, Function<Object, ?> read) {
        return runner.run(Call.read(line(verb, words), read));
    }

    final Object write(String verb, List<byte[]> words, Function<Object, ?> read) {
        return runner.run(Call.write(line(verb, words), read));
    }

    final long readLong(String verb, List<byte[]> words) {
        return read(verb, words, Call.Replies::integer) instanceof Long number ? number : 0;
    }

    final long writeLong(String verb, List<byte[]> words) {
        return write(verb, words, Call.Replies::integer) instanceof Long number ? number : 0;
    }

    final boolean readTruth(String verb, List<byte[]> words) {
        return Boolean.TRUE.equals(read(verb, words, Call.Replies::truth));
    }

    final boolean writeTruth(String verb, List<byte[]> words) {
        return Boolean.TRUE.equals(write(verb, words, Call.Replies::truth));
    }

    final byte[] encode(Object value) {
        if (!raw) {
            return Codec.encode(value);
        }
        if (value instanceof byte[] bytes) {
            return bytes;
        }
        throw new MisoException.Unencodable("a raw proxy takes byte[]");
    }

    final List<byte[]> encodeAll(Object... values) {
        List<byte[]> words = new ArrayList<>();
        for (Object value : values) {
            words.add(encode(value));
        }
        return words;
    }

    final Object decode(Object reply) {
        if (reply instanceof Long number) {
            return number; // A field of a map that is a counter, to a client that is told numbers as numbers.
        }
        byte[] stored = (byte[]) reply;
        return stored == null || raw ? stored : Codec.decode(stored);
    }

    final List<Object> decodeAll(Object reply) {
        List<Object> values = new ArrayList<>();
        Call.Replies.items(reply).forEach(item -> values.add(decode(item)));
        return values;
    }

    @SuppressWarnings("unchecked") // What `decodeAll` answers; null in a batch.
    final List<Object> readAll(String verb, List<byte[]> words) {
        return (List<Object>) read(verb, words, this::decodeAll);
    }

    /** Elements of this many words each, page by page; each once. */
    final <T> Iterator<T> pages(int width, Function<List<Object>, T> make) {
        return new Iterator<>() {
            private final Set<ByteBuffer> seen = new HashSet<>();
            private String cursor = "0";
            private Iterator<?> page = List.of().iterator();
            private boolean last;
            private List<Object> next;

            @Override
            public boolean hasNext() {
                while (next == null) {
                    if (page.hasNext()) {
                        List<Object> words = new ArrayList<>();
                        for (int i = 0; i < width; i++) {
                            words.add(page.next());
                        }
                        next = seen.add(ByteBuffer.wrap((byte[]) words.get(0))) ? words : null;
                    } else if (last) {
                        return false;
                    } else {
                        Object reply = read("SCAN", Call.words(cursor, "COUNT", PAGE), found -> found);
                        List<?> parts = Call.Replies.items(reply);
                        if (parts.size() != 2) {
                            throw new MisoException.Argument("pages cannot be read within a batch");
                        }
                        cursor = Call.Replies.text(parts.get(0));
                        page = Call.Replies.items(parts.get(1)).iterator();
                        last = cursor.equals("0");
                    }
                }
                return true;
            }

            @Override
            public T next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                List<Object> words = next;
                next = null;
                return make.apply(words);
            }
        };
    }
}
