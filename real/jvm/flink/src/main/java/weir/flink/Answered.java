package weir.flink;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;
import weir.calls.Answer;
import weir.calls.CallException;
import weir.common.Wire;
import weir.common.Worker;

/** Takes note of answers in the order of the questions, on the thread that asks; those that are none end here. */
public final class Answered extends ProcessFunction<Event, Event> {
    private static final long serialVersionUID = 1;

    private transient Worker worker;

    @Override
    public void open(OpenContext context) {
        worker = Job.workers[getRuntimeContext().getTaskInfo().getIndexOfThisSubtask()];
    }

    @Override
    public void processElement(Event event, Context context, Collector<Event> out) {
        worker.section(Wire.POLL_CPU);
        if (event.bad != null) {
            worker.bad(event.stamps(), event.bad);
            return;
        }
        CallException failure =
                event.failure == null
                        ? null
                        : new CallException(
                                event.expired ? CallException.Kind.TIMEOUT : CallException.Kind.SERVER, event.failure);
        Answer answer = new Answer(event.begin, event.end, event.prediction, failure);
        Worker.Scored scored = worker.answered(event.stamps(), event.points, answer);
        worker.section(Wire.SCORE_CPU);
        if (scored == null) {
            return;
        }
        event.scored(scored, worker.index());
        out.collect(event);
        worker.section(Wire.PRODUCE_CPU);
    }
}
