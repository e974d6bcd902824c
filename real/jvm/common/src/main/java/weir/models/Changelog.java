package weir.models;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A partition of a topic; the last state of each key counts. */
final class Changelog implements Kept {
    private static final int LARGEST = 80 << 20;
    private static final long LIMIT_NS = 30_000_000_000L;

    private final TopicPartition place;
    private final Map<String, Object> common;
    private final Journal journal;
    private final boolean one;
    private final KafkaProducer<byte[], byte[]> producer;
    private volatile Exception error;

    /**
     * Connects.
     *
     * @param one Whether there is one key only, so that the last state is enough.
     */
    Changelog(Map<String, Object> common, String topic, int partition, Journal journal, boolean one) {
        this.common = common;
        this.journal = journal;
        this.one = one;
        place = new TopicPartition(topic, partition);
        Map<String, Object> config = new HashMap<>(common);
        config.put("client.id", "weir-state-" + partition);
        config.put("linger.ms", 0);
        config.put("acks", "all");
        config.put("max.request.size", LARGEST);
        config.put("buffer.memory", 2L * LARGEST);
        producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        producer.partitionsFor(topic);
    }

    @Override
    public void write(String key, byte[] state) throws Exception {
        check();
        byte[] name = key.getBytes(StandardCharsets.UTF_8);
        producer.send(
                new ProducerRecord<>(place.topic(), place.partition(), name, state),
                (metadata, failure) -> {
                    if (failure != null) {
                        error = failure;
                    }
                });
        journal.add(Journal.CHANGELOG_BYTES, name.length + state.length);
        journal.add(Journal.CHANGELOG_WRITES, 1);
    }

    @Override
    public void flush() throws Exception {
        producer.flush();
        check();
    }

    private void check() throws Exception {
        if (error != null) {
            throw new IllegalStateException("the broker refused a state", error);
        }
    }

    @Override
    public List<byte[]> read() {
        Map<String, Object> config = new HashMap<>(common);
        config.put("client.id", "weir-restore-" + place.partition());
        config.put("max.partition.fetch.bytes", LARGEST);
        config.put("fetch.max.bytes", LARGEST);
        config.put("enable.auto.commit", false);
        Map<String, byte[]> last = new LinkedHashMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(place));
            long end = consumer.endOffsets(List.of(place)).get(place);
            long begin = consumer.beginningOffsets(List.of(place)).get(place);
            consumer.seek(place, one ? Math.max(begin, end - 1) : begin);
            long limit = System.nanoTime() + LIMIT_NS;
            while (consumer.position(place) < end) {
                if (System.nanoTime() > limit) {
                    throw new IllegalStateException(place + " cannot be read up to " + end);
                }
                for (ConsumerRecord<byte[], byte[]> each : consumer.poll(Duration.ofMillis(100))) {
                    last.put(new String(each.key(), StandardCharsets.UTF_8), each.value());
                }
            }
        }
        return new ArrayList<>(last.values());
    }

    @Override
    public void close() {
        producer.close(Duration.ofSeconds(5));
    }
}
