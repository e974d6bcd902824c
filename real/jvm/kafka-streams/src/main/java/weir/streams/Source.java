package weir.streams;

import java.time.Duration;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import weir.common.Control;
import weir.common.Metrics;

/** The consumer of a stream thread. It fetches nothing of a backlog before the run's start. */
final class Source extends KafkaConsumer<byte[], byte[]> {
    private static final Duration SHORT = Duration.ofMillis(1);

    private final Lane lane;
    private final Control control;
    private boolean hold;
    private volatile List<Integer> held = List.of();

    Source(Map<String, Object> config, Lane lane, Control control) {
        super(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        this.lane = lane;
        this.control = control;
        hold = control.get("hold");
        lane.worker().requests().count("Fetch", Metrics.of(metrics(), "consumer-fetch-manager-metrics", "fetch-total"));
    }

    @Override
    public ConsumerRecords<byte[], byte[]> poll(Duration timeout) {
        if (hold) {
            holdBack();
        }
        ConsumerRecords<byte[], byte[]> records = super.poll(hold && timeout.compareTo(SHORT) > 0 ? SHORT : timeout);
        if (control.t0() == 0 && !records.isEmpty()) {
            throw new IllegalStateException("a record before the run's start");
        }
        lane.polled(records);
        return records;
    }

    /** The library commits so, after it has flushed the outputs. */
    @Override
    public void commitSync(Map<TopicPartition, OffsetAndMetadata> offsets) {
        lane.worker().commit();
        super.commitSync(offsets);
    }

    private void holdBack() {
        if (control.t0() != 0 && lane.worker().now() >= 0) {
            hold = false;
            resume(assignment());
            return;
        }
        Set<TopicPartition> open = new HashSet<>(assignment());
        open.removeAll(paused());
        pause(open);
    }

    @Override
    public void subscribe(Collection<String> topics, ConsumerRebalanceListener listener) {
        super.subscribe(topics, new Watcher(listener));
    }

    /** The partitions it has, for any thread. */
    List<Integer> held() {
        return held;
    }

    /** The library's own listener, and note taken of what it is told. */
    private final class Watcher implements ConsumerRebalanceListener {
        private final ConsumerRebalanceListener library;

        Watcher(ConsumerRebalanceListener library) {
            this.library = library;
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            library.onPartitionsAssigned(partitions);
            changed(partitions, List.of());
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            library.onPartitionsRevoked(partitions);
            changed(partitions, partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            library.onPartitionsLost(partitions);
            changed(partitions, partitions);
        }

        private void changed(Collection<TopicPartition> which, Collection<TopicPartition> gone) {
            which.forEach(each -> lane.forget(each.partition()));
            Set<TopicPartition> now = new HashSet<>(assignment());
            now.removeAll(gone);
            held = now.stream().map(TopicPartition::partition).sorted().toList();
        }
    }
}
