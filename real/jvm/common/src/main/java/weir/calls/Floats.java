package weir.calls;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Tensors as little-endian float32. */
public final class Floats {
    private Floats() {}

    /** The bytes of values, behind so many others. */
    static byte[] bytes(float[] values, byte[] head) {
        ByteBuffer out = ByteBuffer.allocate(head.length + 4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        out.put(head);
        out.asFloatBuffer().put(values);
        return out.array();
    }

    /** The bytes of values. */
    public static byte[] bytes(float[] values) {
        return bytes(values, new byte[0]);
    }

    /** The values of what is left in a buffer, for so many points. */
    public static float[] of(ByteBuffer bytes, int points) throws CallException {
        if (bytes.remaining() % 4 != 0) {
            throw new CallException(CallException.Kind.ANSWER, bytes.remaining() + " bytes are no float32 values");
        }
        float[] values = new float[bytes.remaining() / 4];
        bytes.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        return answered(values, points);
    }

    /** Values, if they are as many for each of the points. */
    public static float[] answered(float[] values, int points) throws CallException {
        if (values.length == 0 || values.length % points != 0) {
            throw new CallException(
                    CallException.Kind.ANSWER, values.length + " values in the answer for " + points + " points");
        }
        return values;
    }
}
