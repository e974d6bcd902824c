package weir.flink;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLongArray;
import weir.common.Control;
import weir.common.Worker;

/** What the tasks of the job reach: they are in this process, and Flink makes copies of everything it is given. */
final class Job {
    static Control control;
    static Worker[] workers;
    static boolean chained;
    /** Scoring tasks that are not open yet. */
    static CountDownLatch running;
    /** The offset after the last record that a source handed on, of each partition. */
    static AtomicLongArray positions;

    private Job() {}

    /** The worker whose thread a source or a sink runs on; null where they are tasks apart. */
    static Worker chainedWith(int subtask) {
        return chained ? workers[subtask] : null;
    }
}
