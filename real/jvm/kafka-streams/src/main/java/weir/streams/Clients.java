package weir.streams;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.streams.KafkaClientSupplier;
import org.apache.kafka.streams.processor.StreamPartitioner;
import weir.common.Control;
import weir.common.Worker;

/**
 * The library's clients, those of a stream thread with stamps: its consumer takes note of polls, its producer of
 * deliveries. A client's name says whose it is.
 */
final class Clients implements KafkaClientSupplier {
    private static final Pattern THREAD = Pattern.compile("StreamThread-(\\d+)");

    private final Control control;
    private final Lane[] lanes;
    private final Source[] sources;
    private final ThreadLocal<Lane> own = ThreadLocal.withInitial(() -> lane(Thread.currentThread().getName()));

    Clients(Control control, Worker[] workers) {
        this.control = control;
        lanes = new Lane[workers.length];
        sources = new Source[workers.length];
        for (int i = 0; i < workers.length; i++) {
            lanes[i] = new Lane(workers[i]);
        }
    }

    /** This thread's. */
    Lane lane() {
        return own.get();
    }

    /** An output goes to the partition its input came from. */
    StreamPartitioner<byte[], byte[]> partitioner() {
        return (topic, key, value, partitions) -> Optional.of(Set.of(lane().partition()));
    }

    /** The partitions of each thread; none while the library is not running. */
    List<List<Integer>> held(boolean running) {
        List<List<Integer>> held = new ArrayList<>();
        for (Source source : sources) {
            held.add(running && source != null ? source.held() : List.of());
        }
        return held;
    }

    @Override
    public Admin getAdmin(Map<String, Object> config) {
        return Admin.create(config);
    }

    @Override
    public Producer<byte[], byte[]> getProducer(Map<String, Object> config) {
        Sink sink = new Sink(config, lane(config.get("client.id").toString()));
        return sink;
    }

    @Override
    public Consumer<byte[], byte[]> getConsumer(Map<String, Object> config) {
        int index = index(config.get("client.id").toString());
        sources[index] = new Source(config, lanes[index], control);
        return sources[index];
    }

    @Override
    public Consumer<byte[], byte[]> getRestoreConsumer(Map<String, Object> config) {
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    @Override
    public Consumer<byte[], byte[]> getGlobalConsumer(Map<String, Object> config) {
        throw new IllegalStateException("there is no global table");
    }

    private Lane lane(String name) {
        return lanes[index(name)];
    }

    private static int index(String name) {
        Matcher found = THREAD.matcher(name);
        if (!found.find()) {
            throw new IllegalStateException("no stream thread in the name " + name);
        }
        return Integer.parseInt(found.group(1)) - 1;
    }
}
