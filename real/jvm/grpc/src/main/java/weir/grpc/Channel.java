package weir.grpc;

import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;
import weir.calls.Address;
import weir.calls.CallException;
import weir.calls.Caller;

/** One connection to an address, for all calls. */
abstract class Channel implements Caller {
    final Address address;
    final ManagedChannel channel;

    Channel(Address address) {
        this.address = address;
        channel =
                ManagedChannelBuilder.forAddress(address.host(), address.port())
                        .usePlaintext()
                        .maxInboundMessageSize(Integer.MAX_VALUE) // else less than a record may be
                        .directExecutor() // an answer is short work
                        .build();
    }

    /** The outputs in a response. */
    @FunctionalInterface
    interface Reading<R> {
        float[] read(R response) throws CallException;
    }

    /** What receives the one response of a call, and hands on what is read from it. */
    static <R> StreamObserver<R> observer(CompletableFuture<float[]> found, long timeoutNs, Reading<R> reading) {
        return new StreamObserver<>() {
            @Override
            public void onNext(R response) {
                try {
                    found.complete(reading.read(response));
                } catch (CallException failure) {
                    found.completeExceptionally(failure);
                } catch (RuntimeException error) {
                    found.completeExceptionally(
                            new CallException(CallException.Kind.ANSWER, "no outputs in the answer: " + error));
                }
            }

            @Override
            public void onError(Throwable error) {
                found.completeExceptionally(failed(Status.fromThrowable(error), timeoutNs));
            }

            @Override
            public void onCompleted() {
                found.completeExceptionally(new CallException(CallException.Kind.ANSWER, "an end without an answer"));
            }
        };
    }

    private static CallException failed(Status status, long timeoutNs) {
        if (status.getCode() == Status.Code.DEADLINE_EXCEEDED) {
            return CallException.late(timeoutNs);
        }
        boolean gone = status.getCode() == Status.Code.UNAVAILABLE;
        String words = status.getCode() + ": " + status.getDescription();
        return new CallException(gone ? CallException.Kind.CONNECTION : CallException.Kind.SERVER, words);
    }

    @Override
    public void close() {
        channel.shutdownNow();
    }
}
