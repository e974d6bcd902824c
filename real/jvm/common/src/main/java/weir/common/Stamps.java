package weir.common;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** What is known of a record when its poll came back; nanoseconds since the run's start. */
public record Stamps(long sequence, long created, long sent, long appended, long fetched, long poll) {
    /**
     * Of an input.
     *
     * @param header Its header of ours.
     * @param appended When the broker appended it.
     */
    public static Stamps of(byte[] header, long appended, long fetched, long poll) {
        ByteBuffer input = ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN);
        return new Stamps(input.getLong(), input.getLong(), input.getLong(), Math.max(0, appended), fetched, poll);
    }

    /** The header of its output. */
    public byte[] header(long begin, long end, int worker) {
        ByteBuffer output = ByteBuffer.allocate(Wire.OUTPUT_HEADER).order(ByteOrder.LITTLE_ENDIAN);
        for (long stamp : new long[] {sequence, created, sent, appended, fetched, begin, end, worker, poll}) {
            output.putLong(stamp);
        }
        return output.array();
    }
}
