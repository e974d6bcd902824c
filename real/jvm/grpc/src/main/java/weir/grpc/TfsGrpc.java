package weir.grpc;

import com.google.protobuf.ByteString;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import weir.calls.Address;
import weir.calls.CallException;
import weir.calls.Floats;
import weir.grpc.tfs.Dim;
import weir.grpc.tfs.ModelSpec;
import weir.grpc.tfs.PredictRequest;
import weir.grpc.tfs.PredictResponse;
import weir.grpc.tfs.PredictionServiceGrpc;
import weir.grpc.tfs.TensorProto;

/** TensorFlow Serving's PredictionService. */
public final class TfsGrpc extends Channel {
    private static final int DT_FLOAT = 1;
    private final PredictionServiceGrpc.PredictionServiceStub stub;

    public TfsGrpc(Address address) {
        super(address);
        stub = PredictionServiceGrpc.newStub(channel);
    }

    @Override
    public CompletableFuture<float[]> call(float[] values, int points, long timeoutNs) {
        TensorProto.Builder tensor = TensorProto.newBuilder().setDtype(DT_FLOAT);
        for (long size : address.shape(values.length, points)) {
            tensor.getTensorShapeBuilder().addDim(Dim.newBuilder().setSize(size));
        }
        tensor.setTensorContent(ByteString.copyFrom(Floats.bytes(values)));
        PredictRequest request =
                PredictRequest.newBuilder()
                        .setModelSpec(ModelSpec.newBuilder().setName(address.model()).setSignatureName("serving_default"))
                        .putInputs("input", tensor.build())
                        .build();
        CompletableFuture<float[]> found = new CompletableFuture<>();
        stub.withDeadlineAfter(timeoutNs, TimeUnit.NANOSECONDS)
                .predict(request, observer(found, timeoutNs, response -> read(response, points)));
        return found;
    }

    /** The values of the first output, by name. */
    private static float[] read(PredictResponse response, int points) throws CallException {
        if (response.getOutputsCount() == 0) {
            throw new CallException(CallException.Kind.ANSWER, "no outputs in the answer");
        }
        TensorProto tensor = new TreeMap<>(response.getOutputsMap()).firstEntry().getValue();
        if (tensor.getDtype() != DT_FLOAT) {
            String words = "a tensor of type " + tensor.getDtype() + "; DT_FLOAT is " + DT_FLOAT;
            throw new CallException(CallException.Kind.ANSWER, words);
        }
        float[] values;
        if (!tensor.getTensorContent().isEmpty()) {
            values = Floats.of(tensor.getTensorContent().asReadOnlyByteBuffer(), points);
        } else {
            values = new float[tensor.getFloatValCount()];
            for (int i = 0; i < values.length; i++) {
                values[i] = tensor.getFloatVal(i);
            }
        }
        long size = 1;
        for (Dim each : tensor.getTensorShape().getDimList()) {
            size *= each.getSize();
        }
        if (size != values.length) {
            String words = values.length + " values in a tensor of " + size;
            throw new CallException(CallException.Kind.ANSWER, words);
        }
        return Floats.answered(values, points);
    }
}
