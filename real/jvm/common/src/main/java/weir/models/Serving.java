package weir.models;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.LongSupplier;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import weir.common.Control;

/**
 * What a worker does about models: receive, load, swap, keep, restore, tell; the same in every engine.
 *
 * <p>The worker's thread calls {@link #between} before each record, {@link #current} for the record's model and {@link
 * #scored} after it, and an engine {@link #commit} between its outputs' flush and its offsets' commit. A thread of its
 * own receives the messages; with `load: background` it loads them too, else the worker's thread does.
 */
public final class Serving {
    private static final int LARGEST = 80 << 20;
    private static final int TOLD = 20;

    private record Came(Place place, Descriptor message, Loaded loaded) {}

    private final Map<String, Object> stream;
    private final Map<String, Object> own;
    private final Map<String, Object> common;
    private final boolean restarted;
    private final int index;
    private final Journal journal;
    private final Store store;
    private final String kind;
    private final boolean ownTask;
    private final boolean background;
    private final String onlyType;
    private final List<String> roots;
    private final ConcurrentLinkedQueue<Came> inbox = new ConcurrentLinkedQueue<>();
    private final Map<Integer, Long> positions = new ConcurrentHashMap<>();
    private final Map<Integer, Long> counted = new HashMap<>();
    private final Map<Integer, Long> ends = new ConcurrentHashMap<>();
    private Kept kept;
    private KafkaConsumer<byte[], byte[]> consumer;
    private Thread thread;
    private volatile boolean stopping;
    private volatile Throwable error;
    private int said;

    /** For a worker; `own` is what the harness says to it of models. */
    public Serving(Control control, Map<String, Object> own, int index, LongSupplier now) throws Exception {
        this.own = own;
        this.index = index;
        stream = control.get("model_stream");
        common = control.get("common");
        restarted = control.flag("restarted");
        journal = new Journal((String) own.get("slots"), (String) own.get("rows"), now);
        store = new Store(journal);
        kind = (String) stream.get("state");
        ownTask = stream.get("store").equals("task") && grouped();
        background = stream.get("load").equals("background");
        onlyType = (String) stream.get("only_type");
        roots = strings(own.get("roots"));
    }

    @SuppressWarnings("unchecked")
    private static List<String> strings(Object list) {
        return (List<String>) list;
    }

    private boolean grouped() {
        return stream.get("delivery").equals("group");
    }

    // -- the beginning and the end ----------------------------------------------------------------------------

    /** Connects, restores where this is a restart, and begins to receive. */
    public void open() throws Exception {
        Loaders.prepare();
        if (kind.equals("snapshot")) {
            kept = new Kept.Snapshot(Path.of((String) own.get("kept")));
        } else if (!kind.equals("none")) {
            boolean one = kind.equals("changelog") || (Long) own.get("types") == 1;
            kept = new Changelog(common, (String) own.get("changelog"), index, journal, one);
        }
        Map<Integer, Long> restored = null;
        if (restarted && stream.get("restore").equals("snapshot")) {
            restored = restore();
        }
        Map<String, Object> config = new HashMap<>(common);
        config.put("client.id", "weir-models-" + index);
        config.put("group.id", own.get("group") + (grouped() ? "" : "-" + index));
        config.put("enable.auto.commit", false);
        config.put("auto.offset.reset", "earliest");
        config.put("fetch.max.bytes", LARGEST);
        config.put("max.partition.fetch.bytes", LARGEST);
        consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        String topic = (String) own.get("topic");
        if (grouped()) {
            consumer.subscribe(List.of(topic), new Placing(restored));
        } else {
            int count = Math.toIntExact((Long) own.get("partitions"));
            List<TopicPartition> all =
                    IntStream.range(0, count).mapToObj(partition -> new TopicPartition(topic, partition)).toList();
            consumer.assign(all);
            placed(all, restored);
            all.forEach(consumer::position); // the end that is meant is the one now
        }
        thread = new Thread(this::receive, "models-" + index);
        thread.setDaemon(true);
        thread.start();
    }

    /** Where reading begins: at first with the first message, after a restart as `restore` says. */
    private void placed(Collection<TopicPartition> partitions, Map<Integer, Long> restored) {
        for (TopicPartition each : partitions) {
            if (!restarted || stream.get("restore").equals("earliest")) {
                consumer.seekToBeginning(List.of(each));
            } else if (restored == null) {
                consumer.seekToEnd(List.of(each));
            } else {
                consumer.seek(each, restored.getOrDefault(each.partition(), 0L));
            }
        }
    }

    private final class Placing implements ConsumerRebalanceListener {
        private final Map<Integer, Long> restored;

        Placing(Map<Integer, Long> restored) {
            this.restored = restored;
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            placed(partitions, restored);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}
    }

    private Map<Integer, Long> restore() throws Exception {
        Map<Integer, Long> models = new HashMap<>();
        for (byte[] state : kept == null ? List.<byte[]>of() : kept.read()) {
            try {
                store.restore(state, message -> Loaders.load(message, roots), models, counted);
            } catch (Proto.FormatException broken) {
                tell("a kept state is not taken: " + broken.getMessage());
            }
        }
        positions.putAll(models);
        ends.putAll(counted);
        return models;
    }

    /** Ends receiving, takes what came, and keeps what is under way; after the last record. */
    public void finish() throws Exception {
        stopping = true;
        if (thread != null) {
            consumer.wakeup();
            thread.join(10_000);
        }
        between();
        if (kept != null) {
            if (!kind.equals("record") && store.dirty()) {
                write("state", null);
            }
            kept.flush();
            kept.close();
        }
    }

    /** Lets go of the models. */
    public void close() {
        store.close();
    }

    // -- the receiver's thread --------------------------------------------------------------------------------

    private void receive() {
        try (KafkaConsumer<byte[], byte[]> of = consumer) {
            while (!stopping) {
                List<Came> came = new ArrayList<>();
                for (ConsumerRecord<byte[], byte[]> record : of.poll(Duration.ofMillis(100))) {
                    Came each = came(record);
                    if (background) { // what is loaded serves; it does not wait for the loads after it
                        inbox.add(each);
                    } else {
                        came.add(each);
                    }
                }
                inbox.addAll(came);
            }
        } catch (WakeupException end) {
            // asked to end
        } catch (Throwable failure) {
            error = failure;
        }
    }

    private Came came(ConsumerRecord<byte[], byte[]> record) {
        Place place = new Place(record.partition(), record.offset());
        journal.add(Journal.RECEIVED, 1);
        byte[] value = record.value() == null ? new byte[0] : record.value();
        try {
            Descriptor message = Descriptor.parse(new Proto.Reader(value));
            return background ? new Came(place, null, load(place, message)) : new Came(place, message, null);
        } catch (Proto.FormatException broken) {
            journal.failed(place, 0, 0);
            tell("model message " + place.offset() + ": " + broken.getMessage());
            return new Came(place, null, null);
        }
    }

    /** Loads a model and counts it; null where it is not taken. */
    private Loaded load(Place place, Descriptor message) {
        long began = System.nanoTime();
        try {
            Loaded found = Loaders.load(message, roots);
            journal.loaded(place, System.nanoTime() - began, message.version());
            return found;
        } catch (LoadException refused) {
            journal.failed(place, System.nanoTime() - began, message.version());
            tell(refused.getMessage());
            return null;
        }
    }

    // -- the worker's thread ----------------------------------------------------------------------------------

    /** Takes what came: loads it here unless that is done beside; the swap comes with the next record. */
    public void between() {
        if (error != null) {
            throw new IllegalStateException("models are received no more", error);
        }
        for (Came each = inbox.poll(); each != null; each = inbox.poll()) {
            Loaded found = each.loaded();
            if (each.message() != null) {
                long began = System.nanoTime();
                found = load(each.place(), each.message());
                store.stalled(System.nanoTime() - began);
            }
            positions.put(each.place().partition(), each.place().offset() + 1);
            if (found != null) {
                store.offer(ownTask ? each.place().partition() : Store.ALL, found, each.place());
            }
        }
    }

    /** What scores a record; null: no model yet. */
    public Served current(String type, int partition) throws Exception {
        long swaps = journal.get(Journal.SWAPS);
        Served found = store.current(ownTask ? partition : Store.ALL, type.isEmpty() ? onlyType : type);
        if (kind.equals("snapshot") && journal.get(Journal.SWAPS) != swaps) {
            write("state", null);
        }
        return found;
    }

    /** Counts a record without a model. */
    public void dropped() {
        journal.add(Journal.DROPPED, 1);
    }

    /** Counts a record; one that a restored state has counted already is not counted again. */
    public void scored(Served served, String type, int partition, long offset, long took) throws Exception {
        synchronized (store) { // what is kept counts a record if and only if its position says so
            store.scored(served, took, offset >= counted.getOrDefault(partition, 0L));
            ends.put(partition, offset + 1);
        }
        if (kind.equals("record")) {
            Store.Key key = new Store.Key(ownTask ? partition : Store.ALL, type.isEmpty() ? onlyType : type);
            write(key.task() + "/" + key.type(), key);
            store.reloaded(served, Loaders.load(served.model().message(), roots));
        }
    }

    /** Whether offsets are to be committed with the store, by {@link #commit}. */
    public boolean commits() {
        return kind.equals("changelog");
    }

    /** Keeps the store; its caller has flushed the outputs, and commits the offsets after. */
    public void commit() {
        try {
            if (commits() && store.dirty()) {
                write("state", null);
                kept.flush();
            }
        } catch (Exception failure) {
            throw new IllegalStateException("the state of the models is not kept", failure);
        }
    }

    private void write(String key, Store.Key only) throws Exception {
        kept.write(key, store.stored(positions, ends, only));
    }

    /** Counters and models as they are now. */
    public Map<String, Object> told() {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("instance", (long) index);
        found.put("models_received", journal.get(Journal.RECEIVED));
        found.put("loaded", journal.get(Journal.LOADED));
        found.put("load_failures", journal.get(Journal.LOAD_FAILURES));
        found.put("superseded", journal.get(Journal.SUPERSEDED));
        found.put("swaps", journal.get(Journal.SWAPS));
        found.put("dropped_no_model", journal.get(Journal.DROPPED));
        found.put("changelog_bytes", journal.get(Journal.CHANGELOG_BYTES));
        found.put("changelog_writes", journal.get(Journal.CHANGELOG_WRITES));
        found.put("restored", journal.get(Journal.RESTORED));
        found.put("types", store.told());
        return found;
    }

    private synchronized void tell(String line) {
        if (said++ < TOLD) {
            System.err.println(line);
        }
    }
}
