package io.github.misocrdt;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** What the SDK offers, against a node that the test starts. */
class SdkTest {
    @Test
    void countersFlagsAndRegisters() throws Exception {
        try (Cluster node = new Cluster(1);
                MisoObject so = node.open(0)) {
            PNCounter counter = so.getPNCounter("n");
            long large = (1L << 53) + 1;
            assertEquals(large, counter.add(large));
            assertEquals(large - 1, counter.sub());
            assertEquals(large - 1, counter.getValue());
            assertThrows(MisoException.Reply.class, () -> so.getGCounter("g").add(-1));
            assertThrows(MisoException.WrongType.class, () -> so.getORSet("n").add("a"));
            assertThrows(MisoException.Argument.class, () -> so.getGCounter(""));

            MVRegister register = so.getMVRegister("plan");
            assertNull(register.getValue());
            Map<String, Object> plan = Map.of("to", "Ulm", "stops", List.of(1L, 2.5));
            register.assign(plan);
            assertEquals(plan, register.getValue());
            assertEquals(List.of(plan), register.getValues());
            assertThrows(MisoException.Unencodable.class, () -> register.assign(Double.NaN));
            so.getRawMVRegister("bytes").assign(new byte[] {-1});
            assertArrayEquals(new byte[] {-1}, (byte[]) so.getRawMVRegister("bytes").getValue());
            assertThrows(MisoException.Undecodable.class, () -> so.getMVRegister("bytes").getValue());

            EWFlag flag = so.getEWFlag("f");
            assertTrue(flag.enable());
            assertFalse(flag.assign(true));
            assertTrue(flag.getValue());
            assertTrue(flag.disable());
        }
    }

    @Test
    void setsAndMaps() throws Exception {
        try (Cluster node = new Cluster(1);
                MisoObject so = node.open(0)) {
            ORSet set = so.getORSet("s");
            Map<String, Object> member = Map.of("b", Collections.singletonList(null));
            assertEquals(3, set.add("a", 1, member));
            assertTrue(set.has(member));
            assertEquals(1, set.remove("a", "x"));
            assertEquals(2, set.size());
            assertEquals(2, set.clear());
            GSet large = so.getGSet("large");
            assertEquals(2500, large.add(IntStream.range(0, 2500).boxed().toArray()));
            AtomicInteger seen = new AtomicInteger();
            large.forEach(value -> seen.incrementAndGet());
            assertEquals(2500, seen.get());
            assertEquals(2500, large.getValue().size());

            ORMap fields = so.getORMap("m");
            fields.set("name", "car");
            assertEquals(5, fields.increment("km", 5));
            assertEquals(BigInteger.valueOf(5), fields.getBigInteger("km"));
            assertEquals(BigInteger.ZERO, fields.getBigInteger("none"));
            assertNull(fields.get("none"));
            assertEquals(List.of("car"), fields.getValues("name"));
            assertEquals(Map.of("name", "car", "km", 5L), fields.getValue());
            assertEquals(2, fields.keys().size());
            assertEquals(1, fields.delete("km", "none"));
            assertFalse(fields.has("km"));
            assertEquals(1, fields.size());
        }
    }

    @Test
    void callsTogetherAndTheObjectItself() throws Exception {
        try (Cluster node = new Cluster(1);
                MisoObject so = node.open(0)) {
            Batch atomic = so.atomic();
            atomic.getPNCounter("n").add(7);
            atomic.getEWFlag("f").enable();
            assertEquals(List.of(7L, true), atomic.send());
            assertThrows(MisoException.Argument.class, atomic::send);

            Batch wrong = so.batch();
            wrong.getGCounter("n").add();
            wrong.getPNCounter("n").add(4);
            assertThrows(MisoException.WrongType.class, wrong::send);
            assertEquals(11, so.getPNCounter("n").getValue());

            assertTrue(so.await(so.token(), Duration.ofSeconds(1)));
            assertThrows(MisoException.Reply.class, () -> so.await("no token", Duration.ofSeconds(1)));
            assertTrue(so.exists() && so.exists("n", "f"));
            try (MisoObject another = so.object("another")) {
                assertFalse(another.exists());
            }
            assertEquals("car", so.functionName());
            assertEquals(1, so.delete("n"));
            assertEquals(1, so.delete());
            assertFalse(so.exists());
        }
    }

    @Test
    void aClosedObjectSaysSo() {
        MisoObject closed;
        try (Cluster node = new Cluster(1);
                MisoObject so = node.open(0)) {
            so.getGCounter("n").add();
            closed = so;
        }
        assertThrows(MisoException.NotSent.class, closed::token);
    }

    @Test
    void whatALoginAndAUrlMayLack() throws Exception {
        try (Cluster node = new Cluster(1, "--requirepass", "pw")) {
            assertThrows(MisoException.Access.class, () -> add(node.url(0).replace("car:-", "car:no")));
            assertThrows(MisoException.FunctionMismatch.class, () -> add(node.url(0).replace("car:-", ":pw")));
        }
        assertThrows(MisoException.NotSent.class, () -> add("redis://car:-@127.0.0.1:1"));
        assertThrows(MisoException.Setting.class, () -> MisoObject.connect("http://h", "a"));
    }

    private static void add(String url) {
        Options options = new Options().url(url).function("car").deadline(Duration.ofMillis(200));
        try (MisoObject so = MisoObject.of(options)) {
            so.getGCounter("n").add();
        }
    }

    @Test
    void registrationAndChangesAfterAReconnect() throws Exception {
        try (Cluster node = new Cluster(1);
                MisoObject so = node.open(0, new Options().replica("pod-1"))) {
            so.register();
            assertTrue(registered(so));
            try (Watch watch = so.watch()) {
                so.getGCounter("a name").add();
                assertEquals(new Watch.Change("a name", "gcounter"), watch.next());
                node.run("drop 0");
                assertEquals(new Watch.Gap(), watch.next());
            }
            Cluster.until("the registration", () -> registered(so));
            assertTrue(so.unregister());
            assertFalse(so.unregister());
            assertFalse(registered(so));
        }
    }

    private static boolean registered(MisoObject so) {
        return flat(so.run(Call.read(Call.words("MISO.FUNCTIONS"), reply -> reply))).contains("pod-1");
    }

    private static String flat(Object reply) {
        if (reply instanceof byte[] text) {
            return new String(text, StandardCharsets.UTF_8);
        }
        return reply instanceof List<?> items
                ? String.join(" ", items.stream().map(SdkTest::flat).toList())
                : String.valueOf(reply);
    }

    @Test
    void theQuickStart() throws Exception {
        try (Cluster node = new Cluster(1)) {
            assertEquals("driven: 120 m", Programs.output(node, "examples/QuickStart.java"));
        }
    }

    /** Programs of one file, with this class path. */
    static final class Programs {
        private Programs() {}

        static ProcessBuilder of(Cluster node, String file) {
            String java = ProcessHandle.current().info().command().orElse("java");
            ProcessBuilder program =
                    new ProcessBuilder(java, "-cp", System.getProperty("java.class.path"), file);
            program.environment().put("MISO_URL", node.url(0));
            return program.redirectError(ProcessBuilder.Redirect.INHERIT);
        }

        static String output(Cluster node, String file) throws IOException, InterruptedException {
            Process process = of(node, file).start();
            String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            assertEquals(0, process.waitFor());
            return output.strip();
        }
    }
}
