package weir.common;

import weir.models.Proto;

/**
 * A row and its type, `Record` of models/messages.proto. The output is `Scored`: the record as it came, its prediction,
 * and which model it is of.
 */
final class ProtoCodec implements Codec {
    private static final int WINE = 11;
    private static final int TYPE = 12;
    private static final int CREATED = 13;
    private static final int VALUES = 14;
    private static final byte SCORED = 0x0a; // how an output begins; no record does
    private static final int MOST_VALUES = 1 << 20;

    @Override
    public Message parse(byte[] data) throws PayloadException {
        if (data.length == 0 || data[0] == SCORED) {
            throw new PayloadException(data.length == 0 ? "an empty record" : "an output, not a record");
        }
        float[] wine = new float[WINE];
        float[] values = new float[16];
        int count = 0;
        String type = "";
        long created = 0;
        try {
            Proto.Reader in = new Proto.Reader(data);
            while (in.next()) {
                if (in.kind() == Proto.FIXED64 && in.field() <= WINE) {
                    int field = in.field();
                    wine[field - 1] = (float) in.real();
                } else if (in.at(TYPE, Proto.BYTES)) {
                    type = in.text();
                } else if (in.at(CREATED, Proto.VARINT)) {
                    created = in.varint();
                } else if (in.at(VALUES, Proto.BYTES) || in.at(VALUES, Proto.FIXED64)) {
                    boolean packed = in.kind() == Proto.BYTES;
                    Proto.Reader from = packed ? in.inner() : in;
                    do {
                        if (packed && !from.more()) {
                            break;
                        }
                        if (count == values.length) {
                            if (count >= MOST_VALUES) {
                                throw new PayloadException("more than " + MOST_VALUES + " values");
                            }
                            values = java.util.Arrays.copyOf(values, 2 * count);
                        }
                        values[count++] = (float) from.real();
                    } while (packed);
                } else {
                    in.skip();
                }
            }
        } catch (Proto.FormatException error) {
            throw new PayloadException("not a record: " + error.getMessage());
        }
        float[] found = count == 0 ? wine : java.util.Arrays.copyOf(values, count);
        for (float each : found) {
            if (!Float.isFinite(each)) {
                throw new PayloadException("a value is not finite");
            }
        }
        return new Message(found, 1, created, data, type);
    }

    @Override
    public byte[] encode(Message message, float[] prediction) {
        return encode(message, prediction, "", 0);
    }

    @Override
    public byte[] encode(Message message, float[] prediction, String model, long version) {
        return new Proto.Writer()
                .part(1, (byte[]) message.body())
                .floats(2, prediction)
                .text(3, model)
                .number(4, version)
                .bytes();
    }
}
