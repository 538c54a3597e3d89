package io.github.misocrdt;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;

/** Some nodes with proxies in front of them, led by the lines of ../testing/cluster.py. */
final class Cluster implements AutoCloseable {
    private final Process process;
    private final PrintWriter input;
    private final BufferedReader output;
    private final String[] ports;

    Cluster(int nodes, String... flags) {
        List<String> line = new ArrayList<>(List.of("python3", "../testing/cluster.py", Integer.toString(nodes)));
        line.addAll(List.of(flags));
        try {
            process = new ProcessBuilder(line).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        } catch (IOException cause) {
            throw new UncheckedIOException(cause);
        }
        input = new PrintWriter(process.outputWriter(StandardCharsets.UTF_8), true);
        output = process.inputReader(StandardCharsets.UTF_8);
        ports = answer("ready").substring("ready ".length()).split(" ");
    }

    private String answer(String word) {
        try {
            String line = output.readLine();
            if (line == null || !line.startsWith(word)) {
                throw new AssertionError("the cluster says: " + line);
            }
            return line;
        } catch (IOException cause) {
            throw new UncheckedIOException(cause);
        }
    }

    void run(String line) {
        input.println(line);
        answer("ok");
    }

    String url(int node) {
        return "redis://car:-@127.0.0.1:" + ports[node];
    }

    MisoObject open(int node) {
        return open(node, new Options());
    }

    MisoObject open(int node, Options options) {
        return MisoObject.of(options.url(url(node)).id("TripData-12345"));
    }

    /** Waits until something comes true. */
    static void until(String what, BooleanSupplier condition) throws InterruptedException {
        long end = System.nanoTime() + Duration.ofSeconds(20).toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new AssertionError(what + " does not come true");
            }
            Thread.sleep(10);
        }
    }

    /** The end of its input is the end of it. */
    @Override
    public void close() {
        input.close();
        process.onExit().join();
    }
}
