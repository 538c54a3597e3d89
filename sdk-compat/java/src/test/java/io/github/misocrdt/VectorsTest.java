package io.github.misocrdt;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What all SDKs do alike: ../vectors.json. */
class VectorsTest {
    private static List<JsonObject> vectors(String section) throws IOException {
        JsonObject all = JsonParser.parseString(Files.readString(Path.of("../vectors.json"))).getAsJsonObject();
        List<JsonObject> found = new ArrayList<>();
        all.getAsJsonArray(section).forEach(vector -> found.add(vector.getAsJsonObject()));
        return found;
    }

    private static String text(JsonObject vector, String part) {
        JsonElement found = vector.get(part);
        return found == null || found.isJsonNull() ? null : found.getAsString();
    }

    private static byte[] stored(JsonObject vector) {
        String hex = text(vector, "hex");
        return hex == null
                ? text(vector, "text").getBytes(StandardCharsets.UTF_8)
                : HexFormat.of().parseHex(hex);
    }

    private static Object build(JsonElement given) {
        JsonArray value = given.getAsJsonArray();
        return switch (value.get(0).getAsString()) {
            case "null" -> null;
            case "true" -> true;
            case "false" -> false;
            case "undefined" -> new Object(); // What has no JSON form in this language.
            case "double" -> Double.longBitsToDouble(Long.parseUnsignedLong(value.get(1).getAsString(), 16));
            case "integer" -> {
                BigInteger integer = new BigInteger(value.get(1).getAsString());
                yield integer.bitLength() < 64 ? (Object) integer.longValue() : integer;
            }
            case "units" -> {
                StringBuilder units = new StringBuilder();
                value.get(1).getAsJsonArray()
                        .forEach(unit -> units.append((char) Integer.parseInt(unit.getAsString(), 16)));
                yield units.toString();
            }
            case "array" -> {
                List<Object> items = new ArrayList<>();
                value.get(1).getAsJsonArray().forEach(item -> items.add(build(item)));
                yield items;
            }
            case "object" -> {
                Map<String, Object> members = new LinkedHashMap<>();
                for (JsonElement pair : value.get(1).getAsJsonArray()) {
                    JsonArray member = pair.getAsJsonArray();
                    members.put(member.get(0).getAsString(), build(member.get(1)));
                }
                yield members;
            }
            default -> value.get(1).getAsString();
        };
    }

    /** As JSON compares: there is one kind of number. */
    private static Object normal(Object value) {
        if (value instanceof Double number && number == Math.rint(number) && Math.abs(number) < 0x1p53) {
            return number.longValue();
        }
        if (value instanceof List<?> items) {
            return items.stream().map(VectorsTest::normal).toList();
        }
        return value;
    }

    @Test
    void valuesAreTheSameBytesAsInEveryLanguage() throws IOException {
        List<JsonObject> all = vectors("encode");
        assertTrue(all.size() > 50, "the vectors are missing");
        for (JsonObject vector : all) {
            String name = text(vector, "name");
            Object value = build(vector.get("value"));
            assertEquals(text(vector, "text"), new String(Codec.encode(value), StandardCharsets.UTF_8), name);
            Object back = Codec.decode(stored(vector));
            assertEquals(normal(value), back, name);
            assertArrayEquals(stored(vector), Codec.encode(back), name);
        }
        for (JsonObject vector : vectors("decode")) {
            assertEquals(normal(build(vector.get("value"))), Codec.decode(stored(vector)), text(vector, "name"));
        }
    }

    @Test
    void whatHasNoFormIsRefused() throws IOException {
        for (JsonObject vector : vectors("refuse")) {
            Object value = build(vector.get("value"));
            assertThrows(MisoException.Unencodable.class, () -> Codec.encode(value), text(vector, "name"));
        }
        for (JsonObject vector : vectors("undecodable")) {
            byte[] stored = stored(vector);
            assertThrows(MisoException.Undecodable.class, () -> Codec.decode(stored), text(vector, "name"));
        }
        Object deep = null;
        for (int i = 0; i < 300; i++) {
            deep = Collections.singletonList(deep);
        }
        Object nested = deep;
        assertThrows(MisoException.Unencodable.class, () -> Codec.encode(nested));
        byte[] brackets = "[".repeat(100_000).getBytes(StandardCharsets.UTF_8);
        assertThrows(MisoException.Undecodable.class, () -> Codec.decode(brackets));
    }

    /** A power of two: the interval of the double is narrower below than above. */
    @Test
    void theShortestDecimalMayBeTheFartherOne() {
        assertEquals("5.684341886080802e-14", Codec.text(0x1p-44));
        assertEquals("9007199254740992", Codec.text(0x1p53));
        assertEquals("2e-323", Codec.text(4 * Double.MIN_VALUE));
    }

    @Test
    void settingsComeFromTheSameVariables() throws IOException {
        for (JsonObject vector : vectors("settings")) {
            String name = text(vector, "name");
            JsonObject environment = vector.getAsJsonObject("environment");
            String wrong = Settings.first(text(vector, "missing"), text(vector, "invalid"));
            if (wrong != null) {
                MisoException.Setting error =
                        assertThrows(
                                MisoException.Setting.class,
                                () -> Settings.resolve(new Options(), variable -> text(environment, variable)),
                                name);
                assertEquals(wrong, error.variable(), name);
                continue;
            }
            Settings found = Settings.resolve(new Options(), variable -> text(environment, variable));
            Settings expected =
                    new Settings(
                            text(vector, "host"),
                            vector.get("port").getAsInt(),
                            false,
                            text(vector, "user"),
                            text(vector, "password"),
                            text(vector, "function"),
                            "replica");
            assertEquals(expected, found, name);
        }
        for (JsonObject vector : vectors("objects")) {
            assertEquals(text(vector, "object"), Settings.defaultId(text(vector, "function")));
        }
    }

    @Test
    void idsOfCallsOfThePlatform() throws IOException {
        try (MisoObject so = MisoObject.connect("redis://car:-@127.0.0.1:1", "car")) {
            for (JsonObject vector : vectors("calls")) {
                String call = text(vector, "call");
                if (vector.get("accepted").getAsBoolean()) {
                    so.forCall(call).close();
                } else {
                    assertThrows(MisoException.Argument.class, () -> so.forCall(call), text(vector, "name"));
                }
            }
        }
    }
}
