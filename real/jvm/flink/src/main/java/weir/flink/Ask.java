package weir.flink;

import java.util.List;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.streaming.api.functions.async.ResultFuture;
import org.apache.flink.streaming.api.functions.async.RichAsyncFunction;
import weir.common.Wire;
import weir.common.Worker;

/** Asks a server about a record, with several questions open; {@link Answered} takes note of what became of them. */
public final class Ask extends RichAsyncFunction<Event, Event> {
    private static final long serialVersionUID = 1;

    private transient Worker worker;

    @Override
    public void open(OpenContext context) {
        worker = Job.workers[getRuntimeContext().getTaskInfo().getIndexOfThisSubtask()];
        Score.enter(worker);
    }

    @Override
    public void asyncInvoke(Event event, ResultFuture<Event> result) {
        worker.section(Job.chained ? Wire.DECODE_CPU : Wire.POLL_CPU);
        worker.took(event.partition, event.bytes);
        if (event.bad != null) {
            result.complete(List.of(event));
            return;
        }
        // The operator may be writing down the question meanwhile, so the answer is an event of its own.
        worker.ask(event.message()).thenAccept(answer -> result.complete(List.of(event.answered(answer))));
        worker.section(Wire.SCORE_CPU);
    }
}
