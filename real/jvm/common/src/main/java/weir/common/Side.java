package weir.common;

import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** A worker's counters and side file, both mapped: what a killed process wrote is still there. */
final class Side {
    private static final VarHandle LONGS =
            MethodHandles.byteBufferViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private final ByteBuffer slots;
    private final ByteBuffer rows;
    private final int capacity;
    private int used;

    Side(String slotsPath, String rowsPath) throws IOException {
        slots = mapped(slotsPath);
        rows = mapped(rowsPath);
        capacity = rows.capacity() / Wire.ROW;
    }

    private static ByteBuffer mapped(String path) throws IOException {
        try (FileChannel file =
                FileChannel.open(Path.of(path), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer map = file.map(FileChannel.MapMode.READ_WRITE, 0, file.size());
            return map.order(ByteOrder.LITTLE_ENDIAN);
        }
    }

    /** Adds to a counter. */
    void add(int slot, long value) {
        LONGS.getAndAdd(slots, 8 * slot, value);
    }

    long get(int slot) {
        return (long) LONGS.getVolatile(slots, 8 * slot);
    }

    /** Writes a row; -1 where there is no room: records handled twice beyond any reason, and outputs still tell. */
    int row(long sequence, long poll, long fetched, long begin, long end, long outcome) {
        if (used >= capacity) {
            return -1;
        }
        int at = used * Wire.ROW;
        long[] values = {sequence, poll, fetched, begin, end, -1, outcome, -1};
        for (int i = 0; i < values.length; i++) {
            rows.putLong(at + 8 * i, values[i]);
        }
        return used++;
    }

    void stamp(int row, int at, long value) {
        if (row >= 0) {
            rows.putLong(row * Wire.ROW + at, value);
        }
    }
}
