package weir.common;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayOutputStream;
import java.io.IOException;

/**
 * Crayfish's message. The values are one string of numbers, each followed by a comma; the output carries that string
 * over as it came. Fields beside the five are not carried over.
 */
final class JsonCodec implements Codec {
    private static final String CREATED = "creationTimestamp";
    private static final String POINTS = "dataPointSz1";
    private static final String WIDTH = "dataPointSz2";
    private static final String VALUES = "dataPoint";
    private static final String PREDICTION = "prediction";
    private static final int REST = 128; // bytes of a message beside its two strings

    @Override
    public Message parse(byte[] data) throws PayloadException {
        long created = 0;
        long points = 0;
        long width = 0;
        String text = null;
        int found = 0;
        try (JsonParser parser = Json.FACTORY.createParser(data)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw new PayloadException("not a message");
            }
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.currentName();
                JsonToken token = parser.nextToken();
                switch (name) {
                    case CREATED -> {
                        created = whole(parser, token);
                        found |= 1;
                    }
                    case POINTS -> {
                        points = whole(parser, token);
                        found |= 2;
                    }
                    case WIDTH -> {
                        width = whole(parser, token);
                        found |= 4;
                    }
                    case VALUES -> {
                        if (token != JsonToken.VALUE_STRING) {
                            throw new PayloadException("a field of the message has the wrong type");
                        }
                        text = parser.getText();
                        found |= 8;
                    }
                    case PREDICTION -> {
                        if (token != JsonToken.VALUE_NULL && token != JsonToken.VALUE_STRING) {
                            throw new PayloadException("a field of the message has the wrong type");
                        }
                        found |= 16;
                    }
                    default -> parser.skipChildren();
                }
            }
            if (parser.nextToken() != null) {
                throw new PayloadException("more than a message");
            }
        } catch (IOException error) {
            throw new PayloadException("not JSON: " + error.getMessage());
        }
        if (found != 31) {
            throw new PayloadException("a field of the message is missing");
        }
        if (points < 1 || width < 0 || points > Integer.MAX_VALUE || width > Integer.MAX_VALUE / points) {
            throw new PayloadException("sizes " + points + " x " + width);
        }
        return new Message(numbers(text, (int) (points * width)), (int) points, created, text);
    }

    private static long whole(JsonParser parser, JsonToken token) throws IOException, PayloadException {
        if (token != JsonToken.VALUE_NUMBER_INT) {
            throw new PayloadException("a field of the message has the wrong type");
        }
        return parser.getLongValue();
    }

    private static float[] numbers(String text, int expected) throws PayloadException {
        float[] values = new float[expected];
        int length = text.length();
        if (length > 0 && text.charAt(length - 1) != ',') {
            throw new PayloadException("the values do not end with a comma");
        }
        char[] array = new char[length + 2];
        array[0] = '[';
        text.getChars(0, length, array, 1);
        array[Math.max(1, length)] = ']';
        int count = 0;
        try (JsonParser parser = Json.FACTORY.createParser(array, 0, Math.max(2, length + 1))) {
            parser.nextToken();
            for (JsonToken token = parser.nextToken(); token != JsonToken.END_ARRAY; token = parser.nextToken()) {
                if (token != JsonToken.VALUE_NUMBER_FLOAT && token != JsonToken.VALUE_NUMBER_INT) {
                    throw new PayloadException("a value is not a number");
                }
                float value = parser.getFloatValue();
                if (!Float.isFinite(value)) {
                    throw new PayloadException("a value is out of range");
                }
                if (count < expected) {
                    values[count] = value;
                }
                count++;
            }
            if (parser.nextToken() != null) {
                throw new PayloadException("a value is not a number");
            }
        } catch (IOException error) {
            throw new PayloadException("a value is not a number: " + error.getMessage());
        }
        if (count != expected) {
            throw new PayloadException(count + " values, expected " + expected);
        }
        return values;
    }

    @Override
    public byte[] encode(Message message, float[] prediction) {
        String text = (String) message.body();
        StringBuilder answer = new StringBuilder(12 * prediction.length);
        for (float value : prediction) {
            if (!Float.isFinite(value)) {
                throw new IllegalArgumentException("a value that is not finite cannot be written as JSON");
            }
            answer.append(value).append(',');
        }
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(text.length() + answer.length() + REST);
        try (JsonGenerator out = Json.FACTORY.createGenerator(bytes)) {
            out.writeStartObject();
            out.writeNumberField(CREATED, message.created());
            out.writeNumberField(POINTS, message.points());
            out.writeNumberField(WIDTH, message.width());
            out.writeStringField(VALUES, text);
            out.writeStringField(PREDICTION, answer.toString());
            out.writeEndObject();
        } catch (IOException error) {
            throw new IllegalStateException(error); // a stream in memory
        }
        return bytes.toByteArray();
    }
}
