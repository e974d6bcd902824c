package weir.spark;

import java.nio.ByteBuffer;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import weir.common.Clock;
import weir.common.Control;

/**
 * Stamps records as their poll comes back, on the thread of the task: a header that never leaves the process. Polls that
 * bring nothing do not pass here. What a backlog's first polls bring waits here for the run's start.
 */
public final class Polls implements ConsumerInterceptor<byte[], byte[]> {
    static final String HEADER_KEY = "weir.poll";

    private static final AtomicInteger HELD = new AtomicInteger();

    /** Whether a poll has brought something before the run's start. */
    static boolean held() {
        return HELD.get() > 0;
    }

    @Override
    public ConsumerRecords<byte[], byte[]> onConsume(ConsumerRecords<byte[], byte[]> records) {
        long start = untilStarted();
        Lane lane = Lane.onThisThread();
        if (lane != null) {
            lane.worker().polled(false);
        }
        byte[] stamp = ByteBuffer.allocate(8).putLong(Clock.now() - start).array();
        for (ConsumerRecord<byte[], byte[]> record : records) {
            record.headers().add(HEADER_KEY, stamp);
        }
        return records;
    }

    private static long untilStarted() {
        Control control = Lane.control();
        boolean hold = control.get("hold");
        while (control.t0() == 0 || Clock.now() < control.t0()) {
            if (!hold && control.t0() == 0) {
                throw new IllegalStateException("a record before the run's start");
            }
            HELD.incrementAndGet();
            try {
                Thread.sleep(1);
            } catch (InterruptedException end) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException(end);
            }
        }
        return control.t0();
    }

    @Override
    public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {}

    @Override
    public void close() {}

    @Override
    public void configure(Map<String, ?> config) {}
}
