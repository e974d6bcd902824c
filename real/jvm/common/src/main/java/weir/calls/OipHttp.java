package weir.calls;

import java.io.IOException;
import java.net.http.HttpHeaders;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import weir.common.Json;

/** Open Inference Protocol v2 over HTTP: one tensor there, the first output back. */
final class OipHttp extends Http {
    /** Where the JSON of a binary message ends. */
    private static final String LENGTH = "Inference-Header-Content-Length";

    OipHttp(Address address) {
        super(address, "/v2/models/" + address.model() + "/infer");
    }

    @Override
    public CompletableFuture<float[]> call(float[] values, int points, long timeoutNs) {
        Reading reading = (headers, body) -> output(headers, body, points);
        String shape = address.shape(values.length, points).toString();
        String tensor = "{\"name\":\"input\",\"shape\":" + shape + ",\"datatype\":\"FP32\"";
        if (!address.binary()) {
            StringBuilder text = new StringBuilder("{\"inputs\":[").append(tensor).append(",\"data\":[");
            Numbers.write(text, values, 0, values.length);
            byte[] body = text.append("]}]}").toString().getBytes(StandardCharsets.US_ASCII);
            return post(body, timeoutNs, reading, "Content-Type", JSON);
        }
        String text =
                "{\"inputs\":[" + tensor + ",\"parameters\":{\"binary_data_size\":" + 4 * values.length
                        + "}}],\"parameters\":{\"binary_data_output\":true}}";
        byte[] head = text.getBytes(StandardCharsets.US_ASCII);
        byte[] body = Floats.bytes(values, head);
        return post(body, timeoutNs, reading, "Content-Type", RAW, LENGTH, Integer.toString(head.length));
    }

    @SuppressWarnings("unchecked")
    private static float[] output(HttpHeaders headers, byte[] body, int points) throws CallException, IOException {
        OptionalLong length = headers.firstValueAsLong(LENGTH);
        int at = length.isPresent() ? Math.toIntExact(length.getAsLong()) : body.length;
        Map<String, Object> said = Json.object(Arrays.copyOf(body, at));
        Map<String, Object> output = (Map<String, Object>) ((List<Object>) said.get("outputs")).get(0);
        if (length.isPresent()
                && output.get("parameters") instanceof Map<?, ?> parameters
                && parameters.get("binary_data_size") instanceof Long size) {
            return Floats.of(ByteBuffer.wrap(body, at, Math.toIntExact(size)), points);
        }
        return Floats.answered(Numbers.flat(output.get("data")), points);
    }
}
