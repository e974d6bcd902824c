package weir.dl4j;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.deeplearning4j.nn.modelimport.keras.Hdf5Archive;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.ops.transforms.Transforms;
import weir.common.Json;
import weir.common.Scorer;

/** The dense layers of a sequential Keras model, multiplied out by ND4J. */
final class Nd4jScorer implements Scorer {
    private record Dense(INDArray kernel, INDArray bias, boolean relu) {}

    private final List<Dense> layers = new ArrayList<>();

    @SuppressWarnings("unchecked")
    Nd4jScorer(Path path) throws Exception {
        try (Hdf5Archive file = new Hdf5Archive(path.toString())) {
            String text = file.readAttributeAsJson("model_config");
            Map<String, Object> config = (Map<String, Object>) Json.object(text.getBytes(StandardCharsets.UTF_8)).get("config");
            for (Map<String, Object> layer : (List<Map<String, Object>>) config.get("layers")) {
                Map<String, Object> own = (Map<String, Object>) layer.get("config");
                String name = (String) own.get("name");
                switch ((String) layer.get("class_name")) {
                    case "InputLayer", "Flatten" -> {} // points come flat
                    case "Dense" ->
                            layers.add(
                                    new Dense(
                                            file.readDataSet("kernel:0", "model_weights", name, name),
                                            file.readDataSet("bias:0", "model_weights", name, name),
                                            relu((String) own.get("activation"), name)));
                    default ->
                            throw new IllegalArgumentException(
                                    "ND4J multiplies dense layers out; layer " + name + " is a " + layer.get("class_name"));
                }
            }
        }
    }

    private static boolean relu(String activation, String name) {
        return switch (activation) {
            case "relu" -> true;
            case "linear" -> false;
            default -> throw new IllegalArgumentException("layer " + name + ": no activation " + activation);
        };
    }

    @Override
    public float[] score(float[] values, int points) {
        INDArray at = Nd4j.create(values, new long[] {points, values.length / points}, 'c');
        for (Dense layer : layers) {
            INDArray next = at.mmul(layer.kernel()).addiRowVector(layer.bias());
            at.close();
            at = layer.relu() ? Transforms.relu(next, false) : next;
        }
        float[] found = at.dup('c').reshape(-1).toFloatVector();
        at.close();
        return found;
    }
}
