package weir.models;

import java.util.List;

/**
 * A model message (`ModelDescriptor` of models/messages.proto), read.
 *
 * @param type Of the records that it scores.
 * @param format A word of {@link #FORMATS}; `#7` for a number that is none.
 * @param data The model; null where it is by reference.
 * @param location Where it lies; null where it is by value.
 * @param version Of the model; 0 where the publisher gives none.
 */
public record Descriptor(
        String name, String description, String type, String format, byte[] data, String location, long version) {
    /** Words of the enum Format, by its numbers from 1. */
    static final List<String> FORMATS = List.of("onnx", "lightgbm", "pmml", "tensorflow", "savedmodel");

    private static final int SCHEMA = 1;

    /** Reads a message, also one of a publisher that knows fields 1 to 6 only. */
    static Descriptor parse(Proto.Reader in) throws Proto.FormatException {
        String name = "";
        String description = "";
        String type = "";
        long old = 0;
        byte[] data = null;
        String location = null;
        long schema = 0;
        long format = 0;
        long version = 0;
        while (in.next()) {
            if (in.at(1, Proto.BYTES)) {
                name = in.text();
            } else if (in.at(2, Proto.BYTES)) {
                description = in.text();
            } else if (in.at(3, Proto.BYTES)) {
                type = in.text();
            } else if (in.at(4, Proto.VARINT)) {
                old = (int) in.varint();
            } else if (in.at(5, Proto.BYTES)) {
                data = in.bytes();
                location = null;
            } else if (in.at(6, Proto.BYTES)) {
                location = in.text();
                data = null;
            } else if (in.at(7, Proto.VARINT)) {
                schema = (int) in.varint();
            } else if (in.at(8, Proto.VARINT)) {
                format = (int) in.varint();
            } else if (in.at(9, Proto.VARINT)) {
                version = in.varint();
            } else {
                in.skip();
            }
        }
        if (data == null && location == null) {
            throw new Proto.FormatException("a model message without a model");
        }
        if (name.isEmpty()) {
            throw new Proto.FormatException("a model message without a name");
        }
        String word = schema == 0 ? older(old, data != null) : word(format);
        return new Descriptor(name, description, type, word, data, location, version);
    }

    private static String word(long format) {
        return format >= 1 && format <= FORMATS.size() ? FORMATS.get((int) format - 1) : "#" + format;
    }

    /** The two numberings of Lightbend's enum: by location only a SavedModel was sent, and never otherwise. */
    private static String older(long number, boolean byValue) {
        if (number == 0) {
            return "tensorflow";
        }
        if (number == 1) {
            return byValue ? "pmml" : "savedmodel";
        }
        return number == 2 ? "pmml" : "#" + number;
    }

    /** The bytes of the message. */
    byte[] bytes() {
        int number = FORMATS.indexOf(format) + 1;
        long old = switch (format) {
            case "tensorflow" -> 0;
            case "pmml", "savedmodel" -> 1;
            default -> -1;
        };
        Proto.Writer out = new Proto.Writer();
        out.text(1, name).text(2, description).text(3, type).number(4, old);
        if (data != null) {
            out.part(5, data);
        } else {
            out.part(6, location.getBytes(java.nio.charset.StandardCharsets.UTF_8));
        }
        return out.number(7, SCHEMA).number(8, number).number(9, version).bytes();
    }
}
