package weir.common;

import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** A file of whole numbers, mapped: what a killed process wrote is still there. Places are in bytes. */
public final class Mapped {
    private static final VarHandle LONGS =
            MethodHandles.byteBufferViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private final ByteBuffer map;

    /** Maps a whole file. */
    public Mapped(String path) throws IOException {
        try (FileChannel file =
                FileChannel.open(Path.of(path), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            map = file.map(FileChannel.MapMode.READ_WRITE, 0, file.size()).order(ByteOrder.LITTLE_ENDIAN);
        }
    }

    /** Its length. */
    public int size() {
        return map.capacity();
    }

    /** Adds to a number, whatever other threads do. */
    public void add(int at, long value) {
        LONGS.getAndAdd(map, at, value);
    }

    /** Reads a number that another thread may have written. */
    public long get(int at) {
        return (long) LONGS.getVolatile(map, at);
    }

    /** Writes a number. */
    public void put(int at, long value) {
        map.putLong(at, value);
    }
}
