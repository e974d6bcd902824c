package weir.common;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import java.nio.FloatBuffer;
import java.util.Map;
import java.util.Set;

/** ONNX Runtime on the CPU, one thread, sequential execution; the first float32 output is the answer. */
public final class OnnxScorer implements Scorer {
    private static final OrtEnvironment ENVIRONMENT =
            OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR, "weir");
    private final OrtSession session;
    private final String input;
    private final Set<String> output;
    private final long[] shape;

    OnnxScorer(String path) throws OrtException {
        this(options -> ENVIRONMENT.createSession(path, options));
    }

    /** A model by its bytes. */
    public OnnxScorer(byte[] model) throws OrtException {
        this(options -> ENVIRONMENT.createSession(model, options));
    }

    private interface Opening {
        OrtSession open(OrtSession.SessionOptions options) throws OrtException;
    }

    private OnnxScorer(Opening opening) throws OrtException {
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(1);
            options.setInterOpNumThreads(1);
            options.setExecutionMode(OrtSession.SessionOptions.ExecutionMode.SEQUENTIAL);
            options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL); // a refusal is told once, by its exception
            session = opening.open(options);
        }
        String found = null;
        if (session.getNumInputs() == 1) {
            for (Map.Entry<String, NodeInfo> each : session.getOutputInfo().entrySet()) {
                found = found == null && floats(each.getValue()) ? each.getKey() : found;
            }
        }
        NodeInfo only = session.getInputInfo().values().iterator().next();
        if (found == null || !floats(only)) {
            session.close();
            throw new IllegalArgumentException("an ONNX model of one float32 input and a float32 output is taken");
        }
        input = only.getName();
        output = Set.of(found);
        shape = ((TensorInfo) only.getInfo()).getShape().clone();
    }

    private static boolean floats(NodeInfo node) {
        return node.getInfo() instanceof TensorInfo tensor && tensor.type == OnnxJavaType.FLOAT;
    }

    /** Loads the runtime itself, so that the first model does not wait for it. */
    public static void prepare() {
        ENVIRONMENT.getVersion();
    }

    @Override
    public float[] score(float[] values, int points) throws OrtException {
        shape[0] = points;
        if (shape.length == 2) {
            shape[1] = values.length / points;
        }
        try (OnnxTensor tensor = OnnxTensor.createTensor(ENVIRONMENT, FloatBuffer.wrap(values), shape);
                OrtSession.Result result = session.run(Map.of(input, tensor), output)) {
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
