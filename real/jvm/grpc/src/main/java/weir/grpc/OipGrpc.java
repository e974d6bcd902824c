package weir.grpc;

import com.google.protobuf.ByteString;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import weir.calls.Address;
import weir.calls.CallException;
import weir.calls.Floats;
import weir.grpc.oip.GRPCInferenceServiceGrpc;
import weir.grpc.oip.ModelInferRequest;
import weir.grpc.oip.ModelInferResponse;

/** Open Inference Protocol v2: raw contents there, raw or typed back. */
public final class OipGrpc extends Channel {
    private final GRPCInferenceServiceGrpc.GRPCInferenceServiceStub stub;

    public OipGrpc(Address address) {
        super(address);
        stub = GRPCInferenceServiceGrpc.newStub(channel);
    }

    @Override
    public CompletableFuture<float[]> call(float[] values, int points, long timeoutNs) {
        ModelInferRequest.Builder request = ModelInferRequest.newBuilder().setModelName(address.model());
        request.addInputsBuilder()
                .setName("input")
                .setDatatype("FP32")
                .addAllShape(address.shape(values.length, points));
        request.addRawInputContents(ByteString.copyFrom(Floats.bytes(values)));
        CompletableFuture<float[]> found = new CompletableFuture<>();
        stub.withDeadlineAfter(timeoutNs, TimeUnit.NANOSECONDS)
                .modelInfer(request.build(), observer(found, timeoutNs, response -> read(response, points)));
        return found;
    }

    private static float[] read(ModelInferResponse response, int points) throws CallException {
        if (response.getRawOutputContentsCount() > 0) {
            return Floats.of(response.getRawOutputContents(0).asReadOnlyByteBuffer(), points);
        }
        if (response.getOutputsCount() == 0) {
            throw new CallException(CallException.Kind.ANSWER, "no outputs in the answer");
        }
        var contents = response.getOutputs(0).getContents();
        float[] values = new float[contents.getFp32ContentsCount()];
        for (int i = 0; i < values.length; i++) {
            values[i] = contents.getFp32Contents(i);
        }
        return Floats.answered(values, points);
    }
}
