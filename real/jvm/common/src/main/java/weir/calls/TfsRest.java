package weir.calls;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import weir.common.Json;

/** TensorFlow Serving's REST: predictions of instances. */
final class TfsRest extends Http {
    TfsRest(Address address) {
        super(address, "/v1/models/" + address.model() + ":predict");
    }

    @Override
    public CompletableFuture<float[]> call(float[] values, int points, long timeoutNs) {
        StringBuilder text = new StringBuilder("{\"instances\":");
        nested(text, values, 0, values.length, address.shape(values.length, points));
        return post(
                text.append('}').toString().getBytes(StandardCharsets.US_ASCII),
                timeoutNs,
                (headers, body) -> Floats.answered(Numbers.flat(Json.object(body).get("predictions")), points),
                "Content-Type",
                JSON);
    }

    private static void nested(StringBuilder text, float[] values, int from, int to, List<Long> shape) {
        text.append('[');
        if (shape.size() == 1) {
            Numbers.write(text, values, from, to);
        } else {
            int step = (to - from) / Math.toIntExact(shape.get(0));
            for (int at = from; at < to; at += step) {
                text.append(at == from ? "" : ",");
                nested(text, values, at, at + step, shape.subList(1, shape.size()));
            }
        }
        text.append(']');
    }
}
