package weir.calls;

import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;

/** Raw float32 there and back: TorchServe, Ray Serve. JSON would cost more than most models do. */
final class RawHttp extends Http {
    RawHttp(Address address, String path) {
        super(address, path);
    }

    @Override
    public CompletableFuture<float[]> call(float[] values, int points, long timeoutNs) {
        return post(
                Floats.bytes(values),
                timeoutNs,
                (headers, body) -> Floats.of(ByteBuffer.wrap(body), points),
                "Content-Type",
                RAW);
    }
}
