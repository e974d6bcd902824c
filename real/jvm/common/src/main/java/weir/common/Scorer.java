package weir.common;

import java.nio.file.Files;
import java.nio.file.Path;
import weir.models.PmmlScorer;

/** Answers points. A scorer is one thread's. */
public interface Scorer {
    /** The outputs of all points, one after the other. */
    float[] score(float[] values, int points) throws Exception;

    /** Lets go of the model. */
    default void close() throws Exception {}

    /**
     * A runtime with a model's file; no file: nothing is scored, a point's answer is one zero.
     *
     * @param shape Of one point; empty where there is no file.
     */
    static Scorer of(String runtime, String path, long[] shape) throws Exception {
        if (path.isEmpty()) {
            return (values, points) -> new float[points];
        }
        return switch (runtime) {
            case "onnx" -> new OnnxScorer(path);
            case "pmml" -> new PmmlScorer(Files.readAllBytes(Path.of(path)));
            default -> Scoring.of(runtime).load(runtime, Path.of(path), shape);
        };
    }
}
