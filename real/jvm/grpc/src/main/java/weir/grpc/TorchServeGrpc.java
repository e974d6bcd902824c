package weir.grpc;

import com.google.protobuf.ByteString;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import weir.calls.Address;
import weir.calls.Floats;
import weir.grpc.torchserve.InferenceAPIsServiceGrpc;
import weir.grpc.torchserve.PredictionResponse;
import weir.grpc.torchserve.PredictionsRequest;

/** TorchServe's predictions: raw float32 there and back. */
public final class TorchServeGrpc extends Channel {
    private final InferenceAPIsServiceGrpc.InferenceAPIsServiceStub stub;

    public TorchServeGrpc(Address address) {
        super(address);
        stub = InferenceAPIsServiceGrpc.newStub(channel);
    }

    @Override
    public CompletableFuture<float[]> call(float[] values, int points, long timeoutNs) {
        PredictionsRequest request =
                PredictionsRequest.newBuilder()
                        .setModelName(address.model())
                        .putInput("data", ByteString.copyFrom(Floats.bytes(values)))
                        .build();
        CompletableFuture<float[]> found = new CompletableFuture<>();
        stub.withDeadlineAfter(timeoutNs, TimeUnit.NANOSECONDS)
                .predictions(
                        request,
                        observer(
                                found,
                                timeoutNs,
                                (PredictionResponse response) ->
                                        Floats.of(response.getPrediction().asReadOnlyByteBuffer(), points)));
        return found;
    }
}
