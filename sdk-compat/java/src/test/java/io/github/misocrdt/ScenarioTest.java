package io.github.misocrdt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A smart car on three nodes: what it counted is exact, whatever the network and the nodes do. */
class ScenarioTest {
    private static PNCounter distance(MisoObject so) {
        return so.getPNCounter("distanceDriven");
    }

    @Test
    void aCutAndAKilledNode() throws Exception {
        try (Cluster nodes = new Cluster(3, "--appendfsync", "always");
                MisoObject first = nodes.open(0);
                MisoObject second = nodes.open(1);
                MisoObject third = nodes.open(2)) {
            List<MisoObject> cars = List.of(first, second, third);
            assertEquals(1, distance(first).add());
            Cluster.until("agreement", () -> all(cars, 1));
            nodes.run("cut");
            for (int i = 0; i < cars.size(); i++) {
                assertEquals(1 + 10 * (i + 1), distance(cars.get(i)).add(10 * (i + 1)));
            }
            first.getORSet("alerts").add("low tyre");
            second.getORSet("alerts").add("low tyre");
            nodes.run("heal");
            Cluster.until("agreement after the cut", () -> all(cars, 61));
            assertTrue(third.await(second.token(), Duration.ofSeconds(10)));
            assertEquals(List.of("low tyre"), third.getORSet("alerts").getValue());
            nodes.run("kill 0");
            nodes.run("start 0");
            assertEquals(61, distance(first).getValue());
            assertEquals(66, distance(first).add(5));
            Cluster.until("agreement after the restart", () -> all(cars, 66));
        }
    }

    private static boolean all(List<MisoObject> cars, long expected) {
        return cars.stream().allMatch(so -> distance(so).getValue() == expected);
    }

    @Test
    void aLostReply() throws Exception {
        try (Cluster node = new Cluster(1);
                MisoObject so = node.open(0)) {
            node.run("once on");
            assertEquals(1, distance(so).add());
            node.run("lose 0 PNCOUNTER.ADD");
            assertEquals(11, distance(so).add(10));
            node.run("lose 0 EXEC");
            Batch trip = so.atomic();
            trip.getPNCounter("distanceDriven").add(100);
            assertEquals(List.of(111L), trip.send());
            // With a read in it, or too many calls for what the server keeps, it has no id.
            Batch looks = so.atomic();
            looks.getEWFlag("light").enable();
            looks.getPNCounter("distanceDriven").getValue();
            assertEquals(List.of(true, 111L), looks.send());
            Batch longer = so.atomic();
            for (int i = 0; i < 25; i++) {
                longer.getEWFlag("flag-" + i).enable();
            }
            assertEquals(25, longer.send().size());
            node.run("lose 0 EXEC");
            Batch unnamed = so.atomic();
            unnamed.getEWFlag("light").enable();
            unnamed.getPNCounter("distanceDriven").getValue();
            assertThrows(MisoException.UnknownOutcome.class, unnamed::send);
            for (int attempt = 0; attempt < 2; attempt++) {
                // The platform repeats the whole call under its own id.
                try (MisoObject call = so.forCall("call-7")) {
                    assertEquals(1111, distance(call).add(1000));
                }
            }
            assertThrows(MisoException.Argument.class, () -> so.forCall("x".repeat(64)));

            node.run("once off");
            try (MisoObject old = node.open(0, new Options().deadline(Duration.ofSeconds(5)))) {
                assertEquals(1112, distance(old).add());
                node.run("lose 0 PNCOUNTER.ADD");
                assertThrows(MisoException.UnknownOutcome.class, () -> distance(old).add(10));
                node.run("lose 0 PNCOUNTER.GET");
                assertEquals(1122, distance(old).getValue());
                node.run("lose 0 EXEC");
                Batch unknown = old.atomic();
                unknown.getPNCounter("distanceDriven").add(100);
                assertThrows(MisoException.UnknownOutcome.class, unknown::send);
            }
        }
    }

    @Test
    void aFrozenNode() throws Exception {
        Duration small = Duration.ofMillis(300);
        Options options =
                new Options().connectTimeout(small).replyTimeout(small).deadline(Duration.ofSeconds(1));
        try (Cluster node = new Cluster(1);
                MisoObject so = node.open(0, options)) {
            node.run("once off");
            assertEquals(1, distance(so).add());
            node.run("freeze 0");
            assertThrows(MisoException.UnknownOutcome.class, () -> distance(so).add(10));
            assertThrows(MisoException.Unreachable.class, () -> distance(so).getValue());
            node.run("thaw 0");
            Cluster.until("the write that was on its way", () -> distance(so).getValue() == 11);
        }
    }

    @Test
    void aFrozenProcess() throws Exception {
        try (Cluster node = new Cluster(1)) {
            node.run("once off");
            Process process = SdkTest.Programs.of(node, "examples/Counting.java").start();
            try (PrintWriter input = new PrintWriter(process.outputWriter(StandardCharsets.UTF_8), true);
                    BufferedReader answers = process.inputReader(StandardCharsets.UTF_8)) {
                input.println("1");
                assertEquals("1", answers.readLine());
                signal(process, "-STOP");
                node.run("drop 0");
                Thread.sleep(1200); // Longer than `checkAfter`.
                input.println("1");
                signal(process, "-CONT");
                assertEquals("2", answers.readLine());
            } finally {
                process.destroy();
            }
        }
    }

    private static void signal(Process process, String name) throws Exception {
        assertEquals(0, new ProcessBuilder("kill", name, Long.toString(process.pid())).start().waitFor());
    }
}
