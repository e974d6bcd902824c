package weir.common;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import java.nio.FloatBuffer;
import java.util.Map;

/** ONNX Runtime on the CPU, one thread, sequential execution. */
final class OnnxScorer implements Scorer {
    private static final OrtEnvironment ENVIRONMENT =
            OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR, "weir");
    private final OrtSession session;
    private final String input;
    private final long[] shape;

    OnnxScorer(String path) throws OrtException {
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(1);
            options.setInterOpNumThreads(1);
            options.setExecutionMode(OrtSession.SessionOptions.ExecutionMode.SEQUENTIAL);
            session = ENVIRONMENT.createSession(path, options);
        }
        input = session.getInputNames().iterator().next();
        shape = ((TensorInfo) session.getInputInfo().get(input).getInfo()).getShape().clone();
    }

    @Override
    public float[] score(float[] values, int points) throws OrtException {
        shape[0] = points;
        try (OnnxTensor tensor = OnnxTensor.createTensor(ENVIRONMENT, FloatBuffer.wrap(values), shape);
                OrtSession.Result result = session.run(Map.of(input, tensor))) {
            FloatBuffer answer = ((OnnxTensor) result.get(0)).getFloatBuffer();
            float[] outputs = new float[answer.remaining()];
            answer.get(outputs);
            return outputs;
        }
    }

    @Override
    public void close() throws OrtException {
        session.close();
    }
}
