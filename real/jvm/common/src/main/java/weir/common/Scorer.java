package weir.common;

/** Answers points. A scorer is one thread's. */
public interface Scorer {
    /** The outputs of all points, one after the other. */
    float[] score(float[] values, int points) throws Exception;

    /** Lets go of the model. */
    default void close() throws Exception {}

    /** A runtime with a model's file; no file: nothing is scored, a point's answer is one zero. */
    static Scorer of(String runtime, String path) throws Exception {
        if (path.isEmpty()) {
            return (values, points) -> new float[points];
        }
        return switch (runtime) {
            case "onnx" -> new OnnxScorer(path);
            default -> throw new IllegalArgumentException("no runtime " + runtime);
        };
    }
}
