package weir.calls;

import java.io.IOException;
import java.net.ProtocolException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** HTTP/1.1 on kept connections; every exchange has a deadline, however the bytes trickle. */
abstract class Http implements Caller {
    static final String JSON = "application/json";
    static final String RAW = "application/octet-stream";
    private static final int WORDS = 300; // of an error's body are told

    private static final ScheduledThreadPoolExecutor ALARMS = alarms();

    static {
        // A question may be asked again where a kept connection was closed before it could be answered; a connection
        // that is refused is told at once. Read by the client as it is loaded.
        System.setProperty("jdk.httpclient.enableAllMethodRetry", "true");
        System.setProperty("jdk.httpclient.disableRetryConnect", "true");
    }

    final Address address;
    private final URI target;
    private final HttpClient client;

    Http(Address address, String path) {
        this.address = address;
        target = URI.create("http://" + address.host() + ":" + address.port() + path);
        client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    }

    private static ScheduledThreadPoolExecutor alarms() {
        ScheduledThreadPoolExecutor made =
                new ScheduledThreadPoolExecutor(
                        1,
                        work -> {
                            Thread thread = new Thread(work, "call-deadlines");
                            thread.setDaemon(true);
                            return thread;
                        });
        made.setRemoveOnCancelPolicy(true);
        return made;
    }

    /** The outputs in an answer of status 200. */
    @FunctionalInterface
    interface Reading {
        float[] read(HttpHeaders headers, byte[] body) throws CallException, IOException;
    }

    /** One request, and what is read from its answer; headers are names and values in turn. */
    CompletableFuture<float[]> post(byte[] body, long timeoutNs, Reading reading, String... headers) {
        HttpRequest request =
                HttpRequest.newBuilder(target).headers(headers).POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
        CompletableFuture<float[]> found = new CompletableFuture<>();
        CompletableFuture<HttpResponse<byte[]>> exchange =
                client.sendAsync(request, HttpResponse.BodyHandlers.ofByteArray());
        ScheduledFuture<?> alarm =
                ALARMS.schedule(
                        () -> {
                            if (found.completeExceptionally(CallException.late(timeoutNs))) {
                                exchange.cancel(true); // closes the connection
                            }
                        },
                        timeoutNs,
                        TimeUnit.NANOSECONDS);
        exchange.whenComplete(
                (response, error) -> {
                    alarm.cancel(false);
                    try {
                        if (error != null) {
                            throw failed(CallException.within(error));
                        }
                        found.complete(read(response, reading));
                    } catch (CallException failure) {
                        found.completeExceptionally(failure);
                    }
                });
        return found;
    }

    private static float[] read(HttpResponse<byte[]> response, Reading reading) throws CallException {
        byte[] body = response.body();
        if (response.statusCode() != 200) {
            String words = new String(body, 0, Math.min(body.length, WORDS), StandardCharsets.UTF_8);
            throw new CallException(CallException.Kind.SERVER, "status " + response.statusCode() + ": " + words);
        }
        try {
            return reading.read(response.headers(), body);
        } catch (IOException | RuntimeException error) {
            throw new CallException(CallException.Kind.ANSWER, "no outputs in the answer: " + error);
        }
    }

    private CallException failed(Throwable error) {
        if (error instanceof ProtocolException || !(error instanceof IOException)) {
            return new CallException(CallException.Kind.ANSWER, "what came back is no HTTP: " + error);
        }
        String words = error.getMessage() == null ? error.getClass().getSimpleName() : error.getMessage();
        return new CallException(CallException.Kind.CONNECTION, address.host() + ":" + address.port() + ": " + words);
    }
}
