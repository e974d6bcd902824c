package weir.common;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleSupplier;

/** Requests a worker's clients sent, by kind: samples of (real-time nanoseconds, count). */
public final class Requests {
    private final Map<String, DoubleSupplier> sources = new LinkedHashMap<>();
    private final Map<String, List<long[]>> samples = new LinkedHashMap<>();

    /** Counts a kind from now on. */
    public synchronized void count(String kind, DoubleSupplier source) {
        sources.put(kind, source);
        samples.computeIfAbsent(kind, any -> new ArrayList<>());
    }

    synchronized void sample() {
        long at = Clock.now();
        sources.forEach((kind, source) -> samples.get(kind).add(new long[] {at, (long) source.getAsDouble()}));
    }

    synchronized Map<String, List<long[]>> samples() {
        return new LinkedHashMap<>(samples);
    }

    /** Samples the clients of all workers as often as the harness wants, on a thread of its own. */
    public static void watch(Worker[] workers, long periodMs) {
        Thread thread =
                new Thread(
                        () -> {
                            try {
                                while (true) {
                                    for (Worker worker : workers) {
                                        worker.requests().sample();
                                    }
                                    Thread.sleep(periodMs);
                                }
                            } catch (InterruptedException end) {
                                Thread.currentThread().interrupt();
                            }
                        },
                        "requests");
        thread.setDaemon(true);
        thread.start();
    }
}
