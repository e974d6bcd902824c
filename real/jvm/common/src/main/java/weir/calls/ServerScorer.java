package weir.calls;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.LongSupplier;
import weir.common.Scorer;

/** Scores by calling a server: what stands in an engine where a runtime would. */
public final class ServerScorer implements Scorer {
    private static final long WARM_NS = 60_000_000_000L;
    /** What is counted of calls: all, those answered, those made again, and those that failed, by how. */
    private static final String[] COUNTS = {"calls", "answered", "retried", "timeout", "connection", "server", "answer"};

    private final Caller caller;
    private final long timeoutNs;
    private final long retries;
    private final Map<String, Long> counts = new LinkedHashMap<>();

    /** As the harness tells it: where, how long a call may take, and how often one that failed is made again. */
    @SuppressWarnings("unchecked")
    public ServerScorer(Map<String, Object> told) {
        caller = Caller.of(Address.of((Map<String, Object>) told.get("address")));
        timeoutNs = (Long) told.get("timeout_ns");
        retries = (Long) told.get("retries");
        for (String word : COUNTS) {
            counts.put(word, 0L);
        }
    }

    @Override
    public float[] score(float[] values, int points) throws Exception {
        return waited(ask(values, points));
    }

    /** As {@link #score}, before the load: once, with time enough, and not counted. */
    public float[] warm(float[] values, int points) throws Exception {
        return waited(caller.call(values, points, WARM_NS));
    }

    /** A question, and further ones where it fails; of an answer that is none there is no further one. */
    private CompletableFuture<float[]> ask(float[] values, int points) {
        CompletableFuture<float[]> whole = new CompletableFuture<>();
        attempt(values, points, retries, whole);
        return whole;
    }

    /** As {@link #score}, not waited for: it never fails, its answer may tell of a failure. */
    public CompletableFuture<Answer> ask(float[] values, int points, LongSupplier now) {
        long begin = now.getAsLong();
        return ask(values, points)
                .handle((scores, error) -> new Answer(begin, now.getAsLong(), scores, CallException.within(error)));
    }

    private void attempt(float[] values, int points, long left, CompletableFuture<float[]> whole) {
        CompletableFuture<float[]> call;
        try {
            call = caller.call(values, points, timeoutNs);
        } catch (RuntimeException error) { // a question that cannot be asked is the record's failure
            whole.completeExceptionally(error);
            return;
        }
        call.whenComplete(
                (answer, error) -> {
                    if (error == null) {
                        count("answered", false);
                        whole.complete(answer);
                    } else if (!(CallException.within(error) instanceof CallException failure)) {
                        whole.completeExceptionally(error);
                    } else {
                        boolean again = left > 0 && failure.kind() != CallException.Kind.ANSWER;
                        count(failure.kind().word(), again);
                        if (again) {
                            attempt(values, points, left - 1, whole);
                        } else {
                            whole.completeExceptionally(failure);
                        }
                    }
                });
    }

    private static float[] waited(CompletableFuture<float[]> answer) throws Exception {
        try {
            return answer.join();
        } catch (CompletionException error) {
            if (CallException.within(error) instanceof CallException failure) {
                throw failure;
            }
            throw error;
        }
    }

    private synchronized void count(String word, boolean again) {
        counts.merge("calls", 1L, Long::sum);
        counts.merge(word, 1L, Long::sum);
        counts.merge("retried", again ? 1L : 0L, Long::sum);
    }

    /** The counts so far. */
    public synchronized Map<String, Object> counts() {
        return new LinkedHashMap<>(counts);
    }

    @Override
    public void close() {
        caller.close();
    }
}
