package weir.pekko;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetCommitCallback;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import weir.common.Control;
import weir.common.Metrics;
import weir.common.Worker;

/**
 * The consumer of a worker, on the thread of the library's consumer actor. It stamps records as their poll comes back, by
 * a header that never leaves the process, and fetches nothing of a backlog before the run's start.
 */
final class Source extends KafkaConsumer<byte[], byte[]> {
    static final String HEADER_KEY = "weir.poll";
    private static final Duration SHORT = Duration.ofMillis(1);

    private final Worker worker;
    private final Control control;
    private final boolean hold;
    private long polls;

    Source(Map<String, Object> config, Worker worker, Control control) {
        super(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        this.worker = worker;
        this.control = control;
        hold = control.get("hold");
        worker.requests().count("Fetch", Metrics.of(metrics(), "consumer-fetch-manager-metrics", "fetch-total"));
    }

    @Override
    public ConsumerRecords<byte[], byte[]> poll(Duration timeout) {
        worker.fetcher();
        boolean early = control.t0() == 0 || worker.now() < 0;
        ConsumerRecords<byte[], byte[]> records = super.poll(early && timeout.compareTo(SHORT) > 0 ? SHORT : timeout);
        worker.polled(records.isEmpty());
        if (!records.isEmpty()) {
            long start = untilStarted();
            byte[] stamp = ByteBuffer.allocate(16).putLong(weir.common.Clock.now() - start).putLong(polls++).array();
            records.forEach((ConsumerRecord<byte[], byte[]> each) -> each.headers().add(HEADER_KEY, stamp));
        }
        return records;
    }

    /** What a backlog's first poll brings waits for the run's start. */
    private long untilStarted() {
        while (control.t0() == 0 || worker.now() < 0) {
            if (!hold && control.t0() == 0) {
                throw new IllegalStateException("a record before the run's start");
            }
            try {
                Thread.sleep(1);
            } catch (InterruptedException end) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException(end);
            }
        }
        return control.t0();
    }

    /** The library commits so, offsets whose outputs are acknowledged. */
    @Override
    public void commitAsync(Map<TopicPartition, OffsetAndMetadata> offsets, OffsetCommitCallback callback) {
        worker.commit();
        super.commitAsync(offsets, callback);
    }
}
