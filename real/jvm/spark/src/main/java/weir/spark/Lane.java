package weir.spark;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import weir.common.Control;
import weir.common.Message;
import weir.common.PayloadException;
import weir.common.Stamps;
import weir.common.Wire;
import weir.common.Worker;

/**
 * A task slot: its worker, lent to one task after the other.
 *
 * <p>Spark hands a task to any idle thread of its pool, or to a new one. A thread gets the worker it had before, where
 * that is free, so that most threads work for one worker all their life.
 */
final class Lane {
    /** Header that names an output's row in the side file; it stays in the process. */
    static final String ROW_KEY = "weir.row";

    private static final ThreadLocal<Lane> LAST = new ThreadLocal<>();
    private static final ThreadLocal<Lane> OWN = new ThreadLocal<>();
    private static final Deque<Lane> FREE = new ArrayDeque<>();
    private static final AtomicLong TAKEN = new AtomicLong();
    private static Control control;
    private static Lane[] all = new Lane[0];

    private final Worker worker;
    private long batch;

    private Lane(Worker worker) {
        this.worker = worker;
    }

    /** A lane a worker. */
    static synchronized void open(Control ours, Worker[] workers) {
        control = ours;
        all = new Lane[workers.length];
        for (int i = 0; i < workers.length; i++) {
            all[i] = new Lane(workers[i]);
            FREE.add(all[i]);
        }
    }

    static Control control() {
        return control;
    }

    /** The lane of the task on this thread; null where it has none (yet). */
    static Lane onThisThread() {
        return OWN.get();
    }

    /** The worker of an index. */
    static Worker worker(int index) {
        return all[index].worker;
    }

    /** Records that tasks have taken so far. */
    static long taken() {
        return TAKEN.get();
    }

    /** Whether any task has a lane. */
    static boolean busy() {
        synchronized (Lane.class) {
            return FREE.size() < all.length;
        }
    }

    /**
     * Takes a lane for the task on this thread.
     *
     * @param batch Of the task.
     */
    static Lane take(long batch) throws InterruptedException {
        Lane last = LAST.get();
        Lane taken;
        synchronized (Lane.class) {
            while (FREE.isEmpty()) { // a task gives its lane back before its slot is free: there is one
                Lane.class.wait();
            }
            taken = last != null && FREE.remove(last) ? last : FREE.remove();
        }
        if (last == null) {
            LAST.set(taken);
        }
        OWN.set(taken);
        taken.batch = batch;
        taken.worker.lent(last == null);
        return taken;
    }

    /** Gives it back; what the task did since its last record was delivering it. */
    void give() {
        worker.section(Wire.PRODUCE_CPU);
        OWN.remove();
        synchronized (Lane.class) {
            FREE.add(this);
            Lane.class.notifyAll();
        }
    }

    Worker worker() {
        return worker;
    }

    /** The output of a record; null where there is none. */
    Row handle(Row row) throws Exception {
        TAKEN.incrementAndGet();
        int partition = row.getInt(Score.PARTITION);
        byte[] own = null;
        long fetched = -1;
        if (!row.isNullAt(Score.HEADERS)) {
            for (Row header : row.<Row>getList(Score.HEADERS)) {
                String key = header.getString(0);
                if (key.equals(Wire.HEADER_KEY)) {
                    own = header.getAs(1);
                } else if (key.equals(Polls.HEADER_KEY)) {
                    fetched = ByteBuffer.wrap(header.getAs(1)).getLong();
                }
            }
        }
        if (!worker.ours(own)) {
            return null;
        }
        Stamps stamps =
                Stamps.of(
                        own,
                        worker.appended(row.getTimestamp(Score.TIMESTAMP).getTime()),
                        fetched < 0 ? worker.now() : fetched,
                        batch);
        byte[] value = row.isNullAt(Score.VALUE) ? new byte[0] : row.getAs(Score.VALUE);
        worker.took(partition, value.length);
        Message message;
        try {
            message = worker.codec().parse(value);
        } catch (PayloadException error) {
            worker.bad(stamps, error.getMessage());
            worker.section(Wire.DECODE_CPU);
            return null;
        }
        worker.section(Wire.DECODE_CPU);
        Worker.Scored scored = worker.score(stamps, message, partition, row.getLong(Score.OFFSET));
        worker.section(Wire.SCORE_CPU);
        if (scored == null) {
            return null;
        }
        byte[] output = worker.codec().encode(message, scored.prediction(), scored.model(), scored.version());
        byte[] stamp = stamps.header(scored.begin(), scored.end(), worker.index());
        byte[] place = ByteBuffer.allocate(8).putInt(worker.index()).putInt(scored.row()).array();
        Row[] headers = {RowFactory.create(Wire.HEADER_KEY, stamp), RowFactory.create(ROW_KEY, place)};
        Row answer = RowFactory.create(partition, output, headers);
        worker.section(Wire.ENCODE_CPU);
        return answer;
    }

    /** Stops everything with an error as the last words. */
    static void failed(Exception error) {
        if (error instanceof IOException io) {
            throw new UncheckedIOException(io);
        }
        throw error instanceof RuntimeException mine ? mine : new IllegalStateException(error);
    }
}
