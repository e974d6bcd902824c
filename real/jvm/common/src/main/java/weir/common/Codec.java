package weir.common;

/** A payload format: Crayfish's JSON, the binary one, or protobuf. An output repeats the whole input and adds the prediction. */
public interface Codec {
    /** Parses an input. */
    Message parse(byte[] data) throws PayloadException;

    /** The output record of an input and its prediction, of all points one after the other. */
    byte[] encode(Message message, float[] prediction);

    /** The same, told which model answered, where the format has a place for it. */
    default byte[] encode(Message message, float[] prediction, String model, long version) {
        return encode(message, prediction);
    }

    /** The codec of a format. */
    static Codec of(String format) {
        return switch (format) {
            case "json" -> new JsonCodec();
            case "binary" -> new BinaryCodec();
            case "protobuf" -> new ProtoCodec();
            default -> throw new IllegalArgumentException("no payload format " + format);
        };
    }
}
