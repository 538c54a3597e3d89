package io.github.misocrdt;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.UUID;
import java.util.function.Function;

/** A command, how its reply is read, and for a write the id under which it runs once. */
record Call<T>(List<byte[]> words, Function<Object, T> read, boolean write, String id) {
    private static final int LONGEST_ID = 64;

    static <T> Call<T> read(List<byte[]> words, Function<Object, T> read) {
        return new Call<>(words, read, false, null);
    }

    static <T> Call<T> write(List<byte[]> words, Function<Object, T> read) {
        return new Call<>(words, read, true, null);
    }

    Call<T> under(String id) {
        return new Call<>(words, read, write, id);
    }

    static List<byte[]> words(String... texts) {
        List<byte[]> words = new ArrayList<>();
        for (String text : texts) {
            words.add(bytes(text));
        }
        return words;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String newId() {
        return UUID.randomUUID().toString();
    }

    static String checkId(String id) {
        int length = bytes(id).length;
        if (length < 1 || length > LONGEST_ID) {
            throw new MisoException.Argument(
                    "the id '" + id + "' has " + length + " bytes, expected 1 to 64: give a shorter call id");
        }
        return id;
    }

    /** How replies are read. */
    static final class Replies {
        private Replies() {}

        static long integer(Object reply) {
            return reply instanceof Long number ? number : Long.parseLong(text(reply));
        }

        static boolean truth(Object reply) {
            return integer(reply) > 0;
        }

        static Void nothing(Object reply) {
            return null;
        }

        static String text(Object reply) {
            return reply instanceof byte[] bytes ? new String(bytes, StandardCharsets.UTF_8) : String.valueOf(reply);
        }

        static List<?> items(Object reply) {
            return reply instanceof List<?> items ? items : Collections.emptyList();
        }
    }
}
