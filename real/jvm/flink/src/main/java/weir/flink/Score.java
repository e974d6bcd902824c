package weir.flink;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;
import weir.common.Wire;
import weir.common.Worker;

/** Scores a record: the scoring task. */
public final class Score extends ProcessFunction<Event, Event> implements CheckpointedFunction {
    private static final long serialVersionUID = 1;
    private static final ThreadLocal<Worker> OWN = new ThreadLocal<>();

    private transient Worker worker;

    /** The worker of this thread; null where it is a source's or a sink's alone. */
    static Worker onThisThread() {
        return OWN.get();
    }

    @Override
    public void open(OpenContext context) {
        worker = Job.workers[getRuntimeContext().getTaskInfo().getIndexOfThisSubtask()];
        enter(worker);
    }

    /** This thread is a worker's, and its task is open. */
    static void enter(Worker worker) {
        OWN.set(worker);
        worker.enter();
        Job.running.countDown();
    }

    /** At a checkpoint: offsets up to here are committed once it is whole. */
    @Override
    public void snapshotState(FunctionSnapshotContext context) {
        worker.commit();
    }

    @Override
    public void initializeState(FunctionInitializationContext context) {}

    @Override
    public void processElement(Event event, Context context, Collector<Event> out) throws Exception {
        worker.section(Job.chained ? Wire.DECODE_CPU : Wire.POLL_CPU);
        worker.took(event.partition, event.bytes);
        if (event.bad != null) {
            worker.bad(event.stamps(), event.bad);
            return;
        }
        Worker.Scored scored = worker.score(event.stamps(), event.message(), event.partition, event.offset);
        worker.section(Wire.SCORE_CPU);
        if (scored == null) {
            return;
        }
        event.scored(scored, worker.index());
        out.collect(event);
        worker.section(Wire.PRODUCE_CPU);
    }
}
