package weir.models;

import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;

/**
 * The models of a worker: what serves each type of record, what waits to, how it was used. The worker's thread changes
 * it, between two records; any thread may ask what there is to tell.
 *
 * <p>A loaded model waits until the first record of its type; a later one that comes before takes its place, and the
 * first is superseded.
 */
final class Store {
    /** The task of a store that all of a worker's tasks share. */
    static final int ALL = -1;

    private static final int SCHEMA = 1;

    /** Task and type of record. */
    record Key(int task, String type) {}

    private record Waiting(Loaded model, Place at) {}

    /** Loads what was kept. */
    interface Loading {
        Loaded load(Descriptor message) throws LoadException;
    }

    private final Journal journal;
    private final Map<Key, Served> served = new LinkedHashMap<>();
    private final Map<Key, Waiting> next = new LinkedHashMap<>();
    private long gap;
    private boolean dirty;

    Store(Journal journal) {
        this.journal = journal;
    }

    /** A model waits to serve its type in a task. */
    synchronized void offer(int task, Loaded model, Place at) {
        Waiting before = next.put(new Key(task, model.message().type()), new Waiting(model, at));
        if (before != null) {
            journal.add(Journal.SUPERSEDED, 1);
            journal.event(Journal.EVENT_SUPERSEDED, before.at(), 0, before.model().message().version());
            before.model().close();
        }
        dirty = true;
    }

    /** The data path waited so long for a load; told with the next swap. */
    synchronized void stalled(long took) {
        gap += took;
    }

    /** What serves the next record of a type: a model that waits takes over now. */
    synchronized Served current(int task, String type) {
        Key key = new Key(task, type);
        Waiting waiting = next.isEmpty() ? null : next.remove(key);
        if (waiting == null) {
            gap = 0;
            return served.get(key);
        }
        long began = System.nanoTime();
        Served before = served.put(key, new Served(waiting.model(), System.currentTimeMillis()));
        if (before != null) {
            before.model.close();
        }
        dirty = true;
        journal.add(Journal.SWAPS, 1);
        journal.event(
                Journal.EVENT_SWAPPED, waiting.at(), gap + System.nanoTime() - began, waiting.model().message().version());
        gap = 0;
        return served.get(key);
    }

    synchronized void scored(Served by, long took, boolean counted) {
        if (counted) {
            by.scored(took);
        }
        dirty = true;
    }

    /** The same model, read back from what was kept of it. */
    synchronized void reloaded(Served of, Loaded model) {
        of.model.close();
        of.model = model;
    }

    synchronized boolean dirty() {
        return dirty;
    }

    /**
     * Everything held, or one task and type alone, as `StoredState` of messages.proto.
     *
     * @param models Next offset of each partition of the topic of models.
     * @param records Next offset of each partition of the topic of records.
     */
    synchronized byte[] stored(Map<Integer, Long> models, Map<Integer, Long> records, Key only) {
        Proto.Writer out = new Proto.Writer().number(1, SCHEMA);
        Set<Key> keys = new LinkedHashSet<>(served.keySet());
        keys.addAll(next.keySet());
        for (Key key : only == null ? keys : Set.of(only)) {
            Proto.Writer entry = new Proto.Writer().number(1, key.task()).text(2, key.type());
            Served now = served.get(key);
            Waiting waiting = next.get(key);
            if (now != null) {
                entry.part(3, now.model.message().bytes());
            }
            if (waiting != null) {
                entry.part(4, waiting.model().message().bytes());
            }
            if (now != null) {
                entry.number(5, now.sinceMs).number(6, now.usage).number(7, now.total).number(8, now.min).number(9, now.max);
            }
            out.part(2, entry.bytes());
        }
        dirty &= only != null;
        return out.numbers(3, positions(models)).numbers(4, positions(records)).bytes();
    }

    private static long[] positions(Map<Integer, Long> of) {
        long[] found = new long[of.keySet().stream().mapToInt(each -> each + 1).max().orElse(0)];
        of.forEach((partition, at) -> found[partition] = at);
        return found;
    }

    /** Takes back what {@link #stored} gave; positions go to the maps, one that was 0 does not. */
    synchronized void restore(byte[] data, Loading loading, Map<Integer, Long> models, Map<Integer, Long> records)
            throws Proto.FormatException {
        long schema = 0;
        Proto.Reader in = new Proto.Reader(data);
        while (in.next()) {
            if (in.at(1, Proto.VARINT)) {
                schema = in.varint();
            } else {
                in.skip();
            }
        }
        if (schema != SCHEMA) {
            throw new Proto.FormatException("state of schema " + schema + ", this is " + SCHEMA);
        }
        in = new Proto.Reader(data);
        int[] seen = new int[2];
        while (in.next()) {
            if (in.at(2, Proto.BYTES)) {
                entry(in.inner(), loading);
            } else if (in.at(3, Proto.BYTES)) {
                seen[0] = placed(in.inner(), models, seen[0]);
            } else if (in.at(4, Proto.BYTES)) {
                seen[1] = placed(in.inner(), records, seen[1]);
            } else {
                in.skip();
            }
        }
        dirty = false;
    }

    private static int placed(Proto.Reader in, Map<Integer, Long> into, int first) throws Proto.FormatException {
        int partition = first;
        for (; in.more(); partition++) {
            long at = in.varint();
            if (at > 0) {
                into.merge(partition, at, Math::max);
            }
        }
        return partition;
    }

    private void entry(Proto.Reader in, Loading loading) throws Proto.FormatException {
        int task = 0;
        String type = "";
        Proto.Reader[] parts = new Proto.Reader[2];
        long[] numbers = new long[5];
        while (in.next()) {
            if (in.at(1, Proto.VARINT)) {
                task = (int) in.varint();
            } else if (in.at(2, Proto.BYTES)) {
                type = in.text();
            } else if (in.at(3, Proto.BYTES) || in.at(4, Proto.BYTES)) {
                int which = in.field() - 3;
                parts[which] = in.inner();
            } else if (in.kind() == Proto.VARINT && in.field() >= 5 && in.field() <= 9) {
                int which = in.field() - 5;
                numbers[which] = in.varint();
            } else {
                in.skip();
            }
        }
        Key key = new Key(task, type);
        for (int i = 0; i < parts.length; i++) {
            if (parts[i] == null) {
                continue;
            }
            long began = System.nanoTime();
            Loaded found;
            try {
                found = loading.load(Descriptor.parse(parts[i]));
            } catch (LoadException | Proto.FormatException error) {
                journal.failed(Place.NONE, System.nanoTime() - began, 0);
                continue;
            }
            if (i == 1) {
                next.put(key, new Waiting(found, Place.NONE));
                continue;
            }
            Served back = new Served(found, numbers[0]);
            back.usage = numbers[1];
            back.total = numbers[2];
            back.min = numbers[3];
            back.max = numbers[4];
            served.put(key, back);
            journal.add(Journal.RESTORED, 1);
            journal.event(Journal.EVENT_RESTORED, Place.NONE, System.nanoTime() - began, found.message().version());
        }
    }

    /** Type to its model now; tasks of one type are told together: the latest one's name, their usage summed. */
    synchronized Map<String, Object> told() {
        Map<String, Served> latest = new LinkedHashMap<>();
        Map<String, long[]> sums = new LinkedHashMap<>();
        served.forEach(
                (key, each) -> {
                    latest.merge(key.type(), each, (a, b) -> a.sinceMs > b.sinceMs ? a : b);
                    long[] sum = sums.computeIfAbsent(key.type(), any -> new long[] {0, 0, Long.MAX_VALUE, 0});
                    sum[0] += each.usage;
                    sum[1] += each.total;
                    sum[2] = each.usage == 0 ? sum[2] : Math.min(sum[2], each.min);
                    sum[3] = Math.max(sum[3], each.max);
                });
        Map<String, Object> found = new LinkedHashMap<>();
        latest.forEach(
                (type, each) -> {
                    Descriptor about = each.model.message();
                    long[] sum = sums.get(type);
                    Map<String, Object> own = new LinkedHashMap<>();
                    own.put("name", about.name());
                    own.put("description", about.description());
                    own.put("format", about.format());
                    own.put("version", about.version());
                    own.put("size_bytes", each.model.size());
                    own.put("since", each.sinceMs);
                    own.put("usage", sum[0]);
                    own.put("total_ns", sum[1]);
                    own.put("min_ns", sum[0] == 0 ? 0 : sum[2]);
                    own.put("max_ns", sum[3]);
                    found.put(type, own);
                });
        return found;
    }

    /** Lets go of everything. */
    synchronized void close() {
        served.values().forEach(each -> each.model.close());
        next.values().forEach(each -> each.model().close());
        served.clear();
        next.clear();
    }
}
