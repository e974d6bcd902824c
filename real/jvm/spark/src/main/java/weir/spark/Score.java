package weir.spark;

import java.util.Iterator;
import java.util.NoSuchElementException;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Row;
import org.apache.spark.util.TaskCompletionListener;
import weir.common.Wire;

/** Scores the records of a task, one by one as its writer asks for outputs. */
public final class Score implements MapPartitionsFunction<Row, Row> {
    private static final long serialVersionUID = 1;
    private static final String BATCH = "streaming.sql.batchId";

    /** Columns of an input. */
    static final String[] COLUMNS = {"partition", "offset", "timestamp", "value", "headers"};

    static final int PARTITION = 0;
    static final int OFFSET = 1;
    static final int TIMESTAMP = 2;
    static final int VALUE = 3;
    static final int HEADERS = 4;

    @Override
    public Iterator<Row> call(Iterator<Row> records) throws InterruptedException {
        TaskContext task = TaskContext.get();
        Lane lane = Lane.take(Long.parseLong(task.getLocalProperty(BATCH)));
        task.addTaskCompletionListener((TaskCompletionListener) any -> lane.give());
        return new Outputs(lane, records);
    }

    /** Outputs, made when they are asked for. */
    private static final class Outputs implements Iterator<Row> {
        private final Lane lane;
        private final Iterator<Row> records;
        private Row next;

        Outputs(Lane lane, Iterator<Row> records) {
            this.lane = lane;
            this.records = records;
        }

        @Override
        public boolean hasNext() {
            if (next == null) {
                lane.worker().section(Wire.PRODUCE_CPU); // the output before is with the client
            }
            while (next == null) {
                boolean more = records.hasNext();
                Row record = more ? records.next() : null;
                lane.worker().section(Wire.POLL_CPU);
                if (!more) {
                    return false;
                }
                try {
                    next = lane.handle(record);
                } catch (Exception error) {
                    Lane.failed(error);
                }
            }
            return true;
        }

        @Override
        public Row next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            Row found = next;
            next = null;
            return found;
        }
    }
}
