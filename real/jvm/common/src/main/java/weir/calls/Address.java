package weir.calls;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Where a model is served.
 *
 * @param protocol How it is called.
 * @param model Its name there.
 * @param inputShape Of one point.
 * @param binary Open Inference Protocol over HTTP: tensors follow the JSON as bytes.
 */
public record Address(String protocol, String host, int port, String model, List<Long> inputShape, boolean binary) {
    /** As the harness tells it. */
    @SuppressWarnings("unchecked")
    static Address of(Map<String, Object> told) {
        return new Address(
                (String) told.get("protocol"),
                (String) told.get("host"),
                Math.toIntExact((Long) told.get("port")),
                (String) told.get("model"),
                (List<Long>) told.get("input_shape"),
                Boolean.TRUE.equals(told.get("binary")));
    }

    /** The shape under which points are sent: the model's, where the values make it up. */
    public List<Long> shape(int values, int points) {
        long size = points;
        for (long each : inputShape) {
            size *= each;
        }
        List<Long> shape = new ArrayList<>();
        shape.add((long) points);
        if (size == values) {
            shape.addAll(inputShape);
        } else {
            shape.add((long) values / points);
        }
        return shape;
    }
}
