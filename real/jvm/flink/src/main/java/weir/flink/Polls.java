package weir.flink;

import java.nio.ByteBuffer;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import weir.common.Clock;
import weir.common.Worker;

/**
 * Stamps records as their poll comes back, on the thread that polls: a header that never leaves the process. Polls that
 * bring nothing do not pass here. What a backlog's first poll brings waits here for the run's start.
 */
public final class Polls implements ConsumerInterceptor<byte[], byte[]> {
    static final String HEADER_KEY = "weir.poll";

    private Worker worker;
    private long polls;

    @Override
    public void configure(Map<String, ?> config) {
        String client = config.get("client.id").toString();
        worker = Job.chainedWith(Integer.parseInt(client.substring(client.lastIndexOf('-') + 1)));
        if (worker != null) {
            worker.requests().count("Fetch", Beans.count("kafka.consumer", "consumer-fetch-manager-metrics", client, "fetch-total"));
        }
    }

    @Override
    public ConsumerRecords<byte[], byte[]> onConsume(ConsumerRecords<byte[], byte[]> records) {
        long start = untilStarted();
        if (worker != null) {
            worker.fetcher();
            worker.polled(false);
        }
        byte[] stamp = ByteBuffer.allocate(16).putLong(Clock.now() - start).putLong(polls++).array();
        for (ConsumerRecord<byte[], byte[]> record : records) {
            record.headers().add(HEADER_KEY, stamp);
        }
        return records;
    }

    private static long untilStarted() {
        boolean hold = Job.control.get("hold");
        while (Job.control.t0() == 0 || Clock.now() < Job.control.t0()) {
            if (!hold && Job.control.t0() == 0) {
                throw new IllegalStateException("a record before the run's start");
            }
            try {
                Thread.sleep(1);
            } catch (InterruptedException end) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException(end);
            }
        }
        return Job.control.t0();
    }

    @Override
    public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {}

    @Override
    public void close() {}
}
