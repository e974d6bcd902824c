package weir.calls;

import java.lang.reflect.InvocationTargetException;
import java.util.concurrent.CompletableFuture;

/** Calls a server by one protocol; from any thread, several calls at a time. A new protocol is a class, and a line here. */
public interface Caller {
    /**
     * Scores points.
     *
     * @param timeoutNs From now to the whole answer.
     * @return The outputs of all points, one after the other; it fails with a {@link CallException}.
     */
    CompletableFuture<float[]> call(float[] values, int points, long timeoutNs);

    /** Hangs up. */
    default void close() {}

    /** The caller of an address; nothing is connected yet. */
    static Caller of(Address address) {
        return switch (address.protocol()) {
            case "oip-http" -> new OipHttp(address);
            case "tfs-rest" -> new TfsRest(address);
            case "torchserve-http" -> new RawHttp(address, "/predictions/" + address.model());
            case "ray-http" -> new RawHttp(address, "/" + address.model());
            case "oip-grpc" -> beside("weir.grpc.OipGrpc", address);
            case "tfs-grpc" -> beside("weir.grpc.TfsGrpc", address);
            case "torchserve-grpc" -> beside("weir.grpc.TorchServeGrpc", address);
            default -> throw new IllegalArgumentException("no protocol " + address.protocol());
        };
    }

    private static Caller beside(String name, Address address) {
        try {
            return (Caller) Class.forName(name).getConstructor(Address.class).newInstance(address);
        } catch (InvocationTargetException error) {
            throw new IllegalStateException(error.getCause());
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException("the jars of " + address.protocol() + " are not beside the engine's", error);
        }
    }
}
