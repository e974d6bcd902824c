package weir.common;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/** A worker's counters and side file, both mapped: what a killed process wrote is still there. */
final class Side {
    private static final int OUTCOME_AT = 6 * 8;

    private final Mapped slots;
    private final Mapped rows;
    private final int capacity;
    /** What an earlier life of the worker, which was killed, has counted: sequence to outcome. */
    private final Map<Long, Long> earlier = new HashMap<>();

    private int used;

    Side(String slotsPath, String rowsPath, boolean restarted) throws IOException {
        slots = new Mapped(slotsPath);
        rows = new Mapped(rowsPath);
        capacity = rows.size() / Wire.ROW;
        for (int row = 0; restarted && row < capacity; row++) {
            long outcome = rows.get(row * Wire.ROW + OUTCOME_AT);
            if (outcome != 0) {
                used = row + 1;
                if (outcome != Wire.OUT_PRODUCED) {
                    earlier.put(rows.get(row * Wire.ROW), outcome);
                }
            }
        }
    }

    /** Adds to a counter. */
    void add(int slot, long value) {
        slots.add(8 * slot, value);
    }

    long get(int slot) {
        return slots.get(8 * slot);
    }

    /** Whether no earlier life of this worker has counted a record's outcome. */
    boolean first(long sequence, long outcome) {
        Long before = earlier.get(sequence);
        return before == null || before != outcome;
    }

    /** Writes a row; -1 where there is no room: records handled twice beyond any reason, and outputs still tell. */
    int row(long sequence, long poll, long fetched, long begin, long end, long outcome) {
        if (used >= capacity) {
            return -1;
        }
        int at = used * Wire.ROW;
        long[] values = {sequence, poll, fetched, begin, end, -1, outcome, -1};
        for (int i = 0; i < values.length; i++) {
            rows.put(at + 8 * i, values[i]);
        }
        return used++;
    }

    void stamp(int row, int at, long value) {
        if (row >= 0) {
            rows.put(row * Wire.ROW + at, value);
        }
    }
}
