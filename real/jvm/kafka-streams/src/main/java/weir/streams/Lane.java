package weir.streams;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.common.TopicPartition;
import weir.common.Wire;
import weir.common.Worker;

/** One stream thread: its worker, and which poll brought each record that waits in the library's buffers. */
final class Lane {
    /**
     * A poll's share of a partition.
     *
     * @param last Its last offset.
     * @param at When the poll came back, nanoseconds since the run's start.
     * @param poll Its number.
     */
    record Fetched(long last, long at, long poll) {}

    private final Worker worker;
    private final Map<Integer, ArrayDeque<Fetched>> waiting = new HashMap<>();
    private long polls;
    private int partition;
    private int row;

    Lane(Worker worker) {
        this.worker = worker;
    }

    Worker worker() {
        return worker;
    }

    /** Takes note of a poll. */
    void polled(ConsumerRecords<byte[], byte[]> records) {
        worker.enter();
        worker.polled(records.isEmpty());
        worker.section(Wire.POLL_CPU);
        if (records.isEmpty()) {
            return;
        }
        long now = worker.now();
        for (TopicPartition each : records.partitions()) {
            List<ConsumerRecord<byte[], byte[]>> own = records.records(each);
            waiting.computeIfAbsent(each.partition(), any -> new ArrayDeque<>())
                    .add(new Fetched(own.get(own.size() - 1).offset(), now, polls));
        }
        polls++;
    }

    /** The poll that brought a record; records of a partition come in the order of their offsets. */
    Fetched fetched(int ofPartition, long offset) {
        ArrayDeque<Fetched> polled = waiting.get(ofPartition);
        while (polled.getFirst().last() < offset) {
            polled.removeFirst();
        }
        return polled.getFirst();
    }

    /** Forgets a partition's records: it comes or goes. */
    void forget(int ofPartition) {
        waiting.remove(ofPartition);
    }

    /** Where the output at hand goes, and its row in the side file. */
    void output(int toPartition, int ofRow) {
        partition = toPartition;
        row = ofRow;
    }

    int row() {
        return row;
    }

    int partition() {
        return partition;
    }
}
