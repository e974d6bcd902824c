import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import weir.calls.Answer;
import weir.calls.CallException;
import weir.calls.ServerScorer;
import weir.common.Json;

/**
 * Calls servers as the engines' workers do, for a test on the other side of stdin and stdout.
 *
 * <p>A line asks: how the server is told to a worker, values, points, how often (one after the other), and whether all
 * questions are open at once. A line answers: the scores of the last question or how it failed, and the counts.
 */
public final class Calls {
    private Calls() {}

    /** Answers until nobody asks. */
    @SuppressWarnings("unchecked")
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Map<String, Object> asked = Json.object(line.getBytes(StandardCharsets.UTF_8));
            List<Number> numbers = (List<Number>) asked.get("values");
            float[] values = new float[numbers.size()];
            for (int i = 0; i < values.length; i++) {
                values[i] = numbers.get(i).floatValue();
            }
            ServerScorer scorer = new ServerScorer((Map<String, Object>) asked.get("told"));
            int points = ((Long) asked.get("points")).intValue();
            long times = (Long) asked.get("times");
            Answer last = null;
            List<CompletableFuture<Answer>> open = new ArrayList<>();
            for (int i = 0; i < times; i++) {
                if (Boolean.TRUE.equals(asked.get("open"))) {
                    open.add(scorer.ask(values, points, System::nanoTime));
                } else {
                    last = one(scorer, values, points);
                }
            }
            for (CompletableFuture<Answer> each : open) {
                last = each.join();
            }
            scorer.close();
            out.println(told(last, scorer));
        }
    }

    private static Answer one(ServerScorer scorer, float[] values, int points) {
        try {
            return new Answer(0, 0, scorer.score(values, points), null);
        } catch (Exception error) {
            return new Answer(0, 0, null, error);
        }
    }

    private static String told(Answer answer, ServerScorer scorer) {
        Map<String, Object> found = new LinkedHashMap<>();
        if (answer.scores() != null) {
            List<String> scores = new ArrayList<>();
            for (float each : answer.scores()) {
                scores.add(Float.toString(each));
            }
            found.put("scores", scores);
        } else {
            found.put("error", answer.error().toString());
            found.put("expired", Answer.expired(answer.error()));
            found.put("kind", answer.error() instanceof CallException call ? call.kind().name().toLowerCase() : null);
        }
        found.put("counts", scorer.counts());
        return Json.text(found);
    }
}
