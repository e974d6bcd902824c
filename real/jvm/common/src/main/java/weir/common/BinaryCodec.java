package weir.common;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** 28 bytes of header and raw float32, all little-endian. */
final class BinaryCodec implements Codec {
    private static final int MAGIC = 'W' | 'E' << 8 | 'I' << 16 | 'R' << 24;
    private static final int VERSION = 1; // 16 bits, and 16 of zero
    private static final int HEADER = 28;
    private static final int OUTPUTS_AT = 16;

    @Override
    public Message parse(byte[] data) throws PayloadException {
        if (data.length < HEADER) {
            throw new PayloadException(data.length + " bytes, a header has " + HEADER);
        }
        ByteBuffer buffer = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        if (buffer.getInt() != MAGIC || buffer.getInt() != VERSION) {
            throw new PayloadException("not a payload of this format and version");
        }
        long points = Integer.toUnsignedLong(buffer.getInt());
        long width = Integer.toUnsignedLong(buffer.getInt());
        long outputs = Integer.toUnsignedLong(buffer.getInt());
        long created = buffer.getLong();
        long values = points < 1 || width + outputs > data.length ? -1 : points * (width + outputs);
        if (values < 0 || data.length != HEADER + 4 * values) {
            throw new PayloadException(data.length + " bytes do not hold " + points + " points");
        }
        float[] input = new float[(int) (points * width)];
        buffer.asFloatBuffer().get(input);
        return new Message(input, (int) points, created, data);
    }

    @Override
    public byte[] encode(Message message, float[] prediction) {
        byte[] input = (byte[]) message.body();
        int end = HEADER + 4 * message.values().length;
        ByteBuffer out = ByteBuffer.allocate(end + 4 * prediction.length).order(ByteOrder.LITTLE_ENDIAN);
        out.put(input, 0, end);
        out.putInt(OUTPUTS_AT, prediction.length / message.points());
        out.asFloatBuffer().put(prediction);
        return out.array();
    }
}
