package weir.common;

/**
 * A parsed input.
 *
 * @param values Of all points, one after the other.
 * @param points Model inputs in the record.
 * @param created Epoch milliseconds.
 * @param body What the output repeats: the values' text (JSON), or the payload (binary, protobuf).
 * @param type Of a protobuf record; else empty.
 */
public record Message(float[] values, int points, long created, Object body, String type) {
    /** Of no type. */
    public Message(float[] values, int points, long created, Object body) {
        this(values, points, created, body, "");
    }

    int width() {
        return values.length / points;
    }
}
