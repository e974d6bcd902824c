package weir.models;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** The wire form of protobuf: fields one after the other, each a number, a kind and a value. */
public final class Proto {
    public static final int VARINT = 0;
    public static final int FIXED64 = 1;
    public static final int BYTES = 2;
    public static final int FIXED32 = 5;
    private static final int LARGEST_FIELD = (1 << 29) - 1;

    private Proto() {}

    /** Bytes that are no such message. */
    public static final class FormatException extends Exception {
        private static final long serialVersionUID = 1;

        public FormatException(String message) {
            super(message, null, false, false);
        }
    }

    /** Reads a message field by field. */
    public static final class Reader {
        private final ByteBuffer data;
        private int field;
        private int kind;

        /** Over a message's bytes. */
        public Reader(byte[] bytes) {
            this(ByteBuffer.wrap(bytes));
        }

        private Reader(ByteBuffer bytes) {
            data = bytes.slice().order(ByteOrder.LITTLE_ENDIAN);
        }

        /** Goes to the next field; false at the end. */
        public boolean next() throws FormatException {
            if (!data.hasRemaining()) {
                return false;
            }
            long tag = varint();
            kind = (int) (tag & 7);
            if (tag >>> 3 < 1 || tag >>> 3 > LARGEST_FIELD) {
                throw new FormatException("no field has the number " + (tag >>> 3));
            }
            field = (int) (tag >>> 3);
            return true;
        }

        /** The number of the field at hand. */
        public int field() {
            return field;
        }

        /** The kind of its value. */
        public int kind() {
            return kind;
        }

        /** Whether it is that field, of that kind; one of another kind is passed over as unknown. */
        public boolean at(int number, int ofKind) {
            return field == number && kind == ofKind;
        }

        /** A number of up to 64 bits. */
        public long varint() throws FormatException {
            long value = 0;
            for (int shift = 0; shift < 64; shift += 7) {
                need(1);
                byte next = data.get();
                value |= (long) (next & 0x7f) << shift;
                if (next >= 0) {
                    return value;
                }
            }
            throw new FormatException("a number of more than ten bytes");
        }

        /** Eight bytes as a double. */
        public double real() throws FormatException {
            need(8);
            return data.getDouble();
        }

        /** A part that lies within, copied. */
        public byte[] bytes() throws FormatException {
            byte[] found = new byte[length()];
            data.get(found);
            return found;
        }

        /** A message that lies within, not copied. */
        public Reader inner() throws FormatException {
            int length = length();
            ByteBuffer part = data.slice(data.position(), length);
            data.position(data.position() + length);
            return new Reader(part);
        }

        /** A text. */
        public String text() throws FormatException {
            try {
                return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes())).toString();
            } catch (CharacterCodingException error) {
                throw new FormatException("a text that is not UTF-8");
            }
        }

        /** Whether anything is left. */
        public boolean more() {
            return data.hasRemaining();
        }

        /** Passes over the value of the field at hand. */
        public void skip() throws FormatException {
            switch (kind) {
                case VARINT -> varint();
                case FIXED64 -> pass(8);
                case BYTES -> pass(length());
                case FIXED32 -> pass(4);
                default -> throw new FormatException("field " + field + " is of kind " + kind);
            }
        }

        private int length() throws FormatException {
            long length = varint();
            if (length < 0 || length > data.remaining()) {
                throw new FormatException("field " + field + " goes beyond the end");
            }
            return (int) length;
        }

        private void pass(int count) throws FormatException {
            need(count);
            data.position(data.position() + count);
        }

        private void need(int count) throws FormatException {
            if (data.remaining() < count) {
                throw new FormatException("it ends within a field");
            }
        }
    }

    /** Writes a message field by field; what is zero or empty is left out, as version 3 of the language does. */
    public static final class Writer {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();

        /** A whole number. */
        public Writer number(int field, long value) {
            if (value != 0) {
                varint((long) field << 3);
                varint(value);
            }
            return this;
        }

        /** A text. */
        public Writer text(int field, String value) {
            return value.isEmpty() ? this : part(field, value.getBytes(StandardCharsets.UTF_8));
        }

        /** A part, also an empty one. */
        public Writer part(int field, byte[] value) {
            varint((long) field << 3 | BYTES);
            varint(value.length);
            out.writeBytes(value);
            return this;
        }

        /** Floats, packed. */
        public Writer floats(int field, float[] values) {
            ByteBuffer packed = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
            packed.asFloatBuffer().put(values);
            return values.length == 0 ? this : part(field, packed.array());
        }

        /** Whole numbers, packed. */
        public Writer numbers(int field, long[] values) {
            Writer packed = new Writer();
            for (long each : values) {
                packed.varint(each);
            }
            return values.length == 0 ? this : part(field, packed.bytes());
        }

        /** The message. */
        public byte[] bytes() {
            return out.toByteArray();
        }

        private void varint(long value) {
            long left = value;
            while ((left & ~0x7fL) != 0) {
                out.write((int) (left & 0x7f | 0x80));
                left >>>= 7;
            }
            out.write((int) left);
        }
    }
}
