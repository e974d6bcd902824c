package weir.common;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import weir.calls.Answer;
import weir.calls.ServerScorer;
import weir.models.Served;
import weir.models.Serving;
import weir.models.StateServer;

/**
 * One scoring task: its model, counters, side file and threads.
 *
 * <p>An engine tells it of each step of a record. Where one thread does them all, its CPU is charged to sections: what
 * lies between a record's end and the next one's begin is the engine's own loop, its poll.
 */
public final class Worker {
    private static final int WORDS = 20; // failures told on stderr

    private final Control control;
    private final int index;
    private final Side side;
    private final Codec codec;
    private final Scorer scorer; // null where models come from a topic
    private final Serving models; // null where they do not
    private final StateServer state; // likewise
    private final ServerScorer server; // the scorer, where that calls a server; else null
    private final Requests requests = new Requests();
    private long mark;
    private int told;
    private final AtomicLong outstanding = new AtomicLong();
    private final Set<Long> lent = ConcurrentHashMap.newKeySet(); // threads, where they are many
    private volatile long app;
    private volatile long client;
    private volatile long fetching;

    /** Loads the model, or begins to receive models. */
    @SuppressWarnings("unchecked")
    public Worker(Control control, Map<String, Object> own) throws Exception {
        this.control = control;
        index = Math.toIntExact((Long) own.get("index"));
        side = new Side((String) own.get("slots"), (String) own.get("rows"), control.flag("restarted"));
        codec = Codec.of(control.get("format"));
        if (own.containsKey("models_of")) {
            scorer = null;
            Map<String, Object> about = (Map<String, Object>) own.get("models_of");
            models = new Serving(control, about, index, this::now);
            models.open();
            state = new StateServer(this::told, (Map<String, Object>) about.get("state"), (String) about.get("instances"));
            server = null;
        } else if (control.knows("server")) {
            server = new ServerScorer(control.get("server"));
            scorer = server;
            models = null;
            state = null;
        } else {
            server = null;
            long[] shape = control.<List<Long>>get("input_shape").stream().mapToLong(Long::longValue).toArray();
            scorer = Scorer.of(control.get("runtime"), control.get("model"), shape);
            models = null;
            state = null;
        }
    }

    /** The output of an input, no stamp taken and nothing counted. */
    byte[] answer(byte[] data) throws Exception {
        Message message = codec.parse(data);
        float[] values = message.values();
        // What a server is asked before the load is not counted.
        return codec.encode(
                message, server == null ? scorer.score(values, message.points()) : server.warm(values, message.points()));
    }

    /** Whether it calls a server: what that one learns is to be the load's alone. */
    boolean calls() {
        return server != null;
    }

    /** This thread is the task's own: its CPU is charged to sections from now on. */
    public void enter() {
        if (app == 0) {
            app = Clock.thread();
            mark = Clock.cpu();
        }
    }

    /**
     * This thread has the task for now, another had it before: an engine whose tasks run on any thread of a pool. Its CPU
     * is charged to sections from now on.
     *
     * @param own Whether the thread counts as this task's: a thread counts as one task's only.
     */
    public void lent(boolean own) {
        if (own) {
            lent.add(Clock.thread());
        }
        mark = Clock.cpu();
    }

    /** Takes note of a poll; on the application thread, or (an engine with fetchers) on another. */
    public void polled(boolean empty) {
        if (models != null && empty && app != 0 && fetching == 0) { // between two records, and nothing else to do
            models.between();
        }
        side.add(Wire.POLLS, 1);
        if (empty) {
            side.add(Wire.POLLS_EMPTY, 1);
        }
    }

    /** This thread polls for the task, and does nothing else. */
    public void fetcher() {
        if (fetching == 0) {
            fetching = Clock.thread();
        }
    }

    /** Charges this thread's CPU since the section before to a section; on the application thread. */
    public void section(int slot) {
        long now = Clock.cpu();
        side.add(slot, now - mark);
        mark = now;
    }

    /** Whether a record is one of the run's; else it is only counted. */
    public boolean ours(byte[] own) {
        if (own != null && own.length == Wire.INPUT_HEADER) {
            return true;
        }
        side.add(Wire.ALIEN, 1);
        return false;
    }

    /** Takes note of a record. */
    public void took(int partition, int bytes) {
        side.add(Wire.RECORDS, 1);
        side.add(Wire.BYTES_IN, bytes);
        side.add(Wire.PART + partition, bytes);
    }

    /** Takes note of a record that cannot be parsed. */
    public void bad(Stamps of, String why) {
        if (side.first(of.sequence(), Wire.OUT_BAD)) {
            side.add(Wire.BAD, 1);
        }
        side.row(of.sequence(), of.poll(), of.fetched(), -1, -1, Wire.OUT_BAD);
        tell("record " + of.sequence() + " cannot be parsed: " + why);
    }

    /**
     * Scores a record; null where that fails, which is the record's failure, and where there is no model for it yet: it
     * is dropped. Both are counted.
     *
     * @param partition Where it came from.
     * @param offset There.
     */
    public Scored score(Stamps of, Message message, int partition, long offset) throws Exception {
        Served served = null;
        if (models != null) {
            models.between();
            served = models.current(message.type(), partition);
            if (served == null) {
                if (side.first(of.sequence(), Wire.OUT_DROPPED)) {
                    models.dropped();
                }
                side.row(of.sequence(), of.poll(), of.fetched(), -1, -1, Wire.OUT_DROPPED);
                return null;
            }
        }
        Scorer by = served == null ? scorer : served.model().scorer();
        long begin = now();
        float[] prediction;
        try {
            prediction = by.score(message.values(), message.points());
        } catch (Exception error) {
            unscored(of, begin, now(), error);
            return null;
        }
        long end = now();
        side.add(Wire.POINTS, message.points());
        int row = side.row(of.sequence(), of.poll(), of.fetched(), begin, end, Wire.OUT_PRODUCED);
        if (served == null) {
            return new Scored(prediction, begin, end, row, "", 0);
        }
        String name = served.model().message().name();
        long version = served.model().message().version();
        models.scored(served, message.type(), partition, offset, end - begin);
        return new Scored(prediction, begin, end, row, name, version);
    }

    /** Asks the server about a record; several questions may be open. On the application thread. */
    public CompletableFuture<Answer> ask(Message message) {
        return server.ask(message.values(), message.points(), this::now);
    }

    /** Takes note of what became of a question, in the order of the records; null where it failed. As {@link #score}. */
    public Scored answered(Stamps of, int points, Answer answer) {
        if (answer.error() != null) {
            unscored(of, answer.begin(), answer.end(), answer.error());
            return null;
        }
        side.add(Wire.POINTS, points);
        int row = side.row(of.sequence(), of.poll(), of.fetched(), answer.begin(), answer.end(), Wire.OUT_PRODUCED);
        return new Scored(answer.scores(), answer.begin(), answer.end(), row, "", 0);
    }

    /** Counts a record that got no score; one that a server did not answer in time has expired. */
    private void unscored(Stamps of, long begin, long end, Throwable error) {
        int outcome = Answer.expired(error) ? Wire.OUT_EXPIRED : Wire.OUT_FAILED;
        if (side.first(of.sequence(), outcome)) {
            side.add(Wire.FAILED, 1);
        }
        side.row(of.sequence(), of.poll(), of.fetched(), begin, end, outcome);
        tell("record " + of.sequence() + " cannot be scored: " + error);
    }

    /**
     * An answer.
     *
     * @param row Where it stands in the side file, for {@link #produced} and {@link #acknowledged}.
     * @param model Name of the model that gave it; empty where there is one for ever.
     * @param version Of that model.
     */
    public record Scored(float[] prediction, long begin, long end, int row, String model, long version) {}

    /** Stamps an output as handed to the client. */
    public void produced(int row, int bytes) {
        side.add(Wire.BYTES_OUT, bytes);
        side.stamp(row, Wire.PRODUCED_AT, now());
        outstanding.incrementAndGet();
    }

    /**
     * The broker answered, on the client's thread.
     *
     * @param ownClient Whether that client is this worker's alone.
     */
    public void acknowledged(int ofRow, Exception error, boolean ownClient) {
        outstanding.decrementAndGet();
        if (error != null) {
            side.add(Wire.REFUSED, 1);
            tell("the broker refused an output: " + error);
            return;
        }
        side.stamp(ofRow, Wire.ACKED_AT, now());
        side.add(Wire.ACKED, 1);
        if (ownClient && client == 0) {
            client = Clock.thread();
        }
    }

    /** Its number. */
    public int index() {
        return index;
    }

    /** The payload format, for the thread that asks. */
    public Codec codec() {
        return codec;
    }

    /** Nanoseconds since the run's start. */
    public long now() {
        return Clock.now() - control.t0();
    }

    /** A broker's time (epoch milliseconds), in nanoseconds since the run's start. */
    public long appended(long timestamp) {
        return timestamp * 1_000_000 - control.t0();
    }

    /** The requests its clients sent. */
    public Requests requests() {
        return requests;
    }

    /** What it says at the end, after the last record: its threads, requests and models. */
    public Map<String, Object> role() throws Exception {
        Map<String, Object> role = new LinkedHashMap<>();
        role.put("app", lent.isEmpty() ? threads(app) : List.copyOf(lent));
        role.put("consumer", threads(fetching)); // none: the Java client fetches on the application thread
        role.put("producer", threads(client));
        role.put("requests", requests.samples());
        if (server != null) {
            role.put("calls", server.counts());
        }
        if (models != null) {
            models.finish();
            role.put("models", told());
        }
        return role;
    }

    /** Of its models, now; on any thread. */
    private Map<String, Object> told() {
        Map<String, Object> about = new LinkedHashMap<>(models.told());
        about.put("records", side.get(Wire.RECORDS));
        about.put("bad", side.get(Wire.BAD));
        return about;
    }

    private static long[] threads(long number) {
        return number == 0 ? new long[0] : new long[] {number};
    }

    /** Outputs without an answer of the broker. */
    public long outstanding() {
        return outstanding.get();
    }

    /** Between the flush of outputs and the commit of offsets: keeps what is kept with them. */
    public void commit() {
        if (models != null) {
            models.commit();
        }
    }

    /** Lets go of the model; what a stream of models keeps is kept. After the last record. */
    public void close() throws Exception {
        if (models != null) {
            state.close();
            models.close();
        } else {
            scorer.close();
        }
    }

    private synchronized void tell(String line) {
        if (told < WORDS) {
            told++;
            System.err.println(line);
        }
    }

    /** All workers of a configuration. */
    @SuppressWarnings("unchecked")
    public static Worker[] all(Control control) throws Exception {
        List<Object> own = control.get("workers");
        Worker[] workers = new Worker[own.size()];
        for (int i = 0; i < workers.length; i++) {
            workers[i] = new Worker(control, (Map<String, Object>) own.get(i));
        }
        return workers;
    }
}
