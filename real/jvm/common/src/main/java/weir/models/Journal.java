package weir.models;

import java.io.IOException;
import java.util.function.LongSupplier;
import weir.common.Mapped;

/** What happened to the messages: counters and events in mapped files, as in real/model_stream/wire.py. */
final class Journal {
    static final int RECEIVED = 0;
    static final int LOADED = 1;
    static final int LOAD_FAILURES = 2;
    static final int SUPERSEDED = 3;
    static final int SWAPS = 4;
    static final int DROPPED = 5;
    static final int CHANGELOG_BYTES = 6;
    static final int CHANGELOG_WRITES = 7;
    static final int RESTORED = 8;
    private static final int EVENTS = 9;

    static final int EVENT_LOADED = 1;
    static final int EVENT_FAILED = 2;
    static final int EVENT_SUPERSEDED = 3;
    static final int EVENT_SWAPPED = 4;
    static final int EVENT_RESTORED = 5;
    private static final int EVENT_BYTES = 6 * 8;

    private final Mapped slots;
    private final Mapped rows;
    private final LongSupplier now;

    Journal(String slotsPath, String rowsPath, LongSupplier now) throws IOException {
        slots = new Mapped(slotsPath);
        rows = new Mapped(rowsPath);
        this.now = now;
    }

    void add(int slot, long value) {
        slots.add(8 * slot, value);
    }

    long get(int slot) {
        return slots.get(8 * slot);
    }

    /** Notes an event of the message at a place; beyond the file's room only counters go on. */
    synchronized void event(int kind, Place at, long took, long version) {
        long row = get(EVENTS);
        if (row >= rows.size() / EVENT_BYTES) {
            return;
        }
        int from = Math.toIntExact(row * EVENT_BYTES);
        long[] values = {kind, now.getAsLong(), at.partition(), at.offset(), took, version};
        for (int i = values.length - 1; i >= 0; i--) { // the kind last: a row without one is none
            rows.put(from + 8 * i, values[i]);
        }
        add(EVENTS, 1);
    }

    void loaded(Place at, long took, long version) {
        add(LOADED, 1);
        event(EVENT_LOADED, at, took, version);
    }

    void failed(Place at, long took, long version) {
        add(LOAD_FAILURES, 1);
        event(EVENT_FAILED, at, took, version);
    }
}
