package weir.models;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Supplier;
import weir.common.Json;

/**
 * The queryable state of a worker over HTTP, read-only: the paths, fields and units of `real/model_stream/state_http.py`.
 */
public final class StateServer {
    private static final String TOKEN = "WEIR_STATE_TOKEN"; // that requests must carry, in the environment
    private static final String STORE = "modelStore";
    private static final double MS_NS = 1e6;
    private static final int THREADS = 2;

    private record Body(String kind, byte[] data) {}

    private final Supplier<Map<String, Object>> told;
    private final Path instances;
    private final byte[] token;
    private final HttpServer server;
    private final ExecutorService threads;

    /**
     * Listens, and leaves its address where the run's instances do.
     *
     * @param told What there is to tell.
     * @param about What the harness says of it, and has allowed: `host`, `port` (0: any that is free).
     * @param instances Folder of addresses.
     */
    public StateServer(Supplier<Map<String, Object>> told, Map<String, Object> about, String instances) throws IOException {
        this.told = told;
        this.instances = Path.of(instances);
        String secret = System.getenv(TOKEN);
        token = secret == null || secret.isEmpty() ? null : ("Bearer " + secret).getBytes(StandardCharsets.UTF_8);
        String host = (String) about.get("host");
        int port = Math.toIntExact((Long) about.get("port"));
        server = HttpServer.create(new InetSocketAddress(InetAddress.getByName(host), port), 0);
        threads =
                Executors.newFixedThreadPool(
                        THREADS,
                        work -> {
                            Thread thread = new Thread(work, "state");
                            thread.setDaemon(true);
                            return thread;
                        });
        server.setExecutor(threads);
        server.createContext("/", this::handle);
        server.start();
        announce(host);
    }

    private void announce(String host) throws IOException {
        String name = String.format("%05d.json", (Long) told.get().get("instance"));
        Map<String, Object> about = new LinkedHashMap<>();
        about.put("host", host);
        about.put("port", (long) server.getAddress().getPort());
        about.put("storeNames", List.of(STORE));
        Path beside = instances.resolve("." + name);
        Files.writeString(beside, Json.text(about));
        Files.move(beside, instances.resolve(name), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    /** Stops answering. */
    public void close() {
        server.stop(0);
        threads.shutdownNow();
    }

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            String method = exchange.getRequestMethod();
            String asked = exchange.getRequestHeaders().getFirst("Authorization");
            if (token != null && !MessageDigest.isEqual(token, (asked == null ? "" : asked).getBytes(StandardCharsets.UTF_8))) {
                send(exchange, 401, json("error", "a token is needed"));
            } else if (!method.equals("GET") && !method.equals("HEAD")) {
                exchange.getResponseHeaders().set("Allow", "GET, HEAD");
                send(exchange, 405, json("error", "the state is read-only"));
            } else {
                Body found = answer(exchange.getRequestURI().getRawPath());
                send(exchange, found == null ? 404 : 200, found == null ? json("error", "nothing here") : found);
            }
        } catch (RuntimeException error) {
            System.err.println("the state is not told: " + error);
        }
    }

    private static Body json(String key, String value) {
        return body(Map.of(key, value));
    }

    private static Body body(Object value) {
        return new Body("application/json", Json.text(value).getBytes(StandardCharsets.UTF_8));
    }

    private static void send(HttpExchange exchange, int status, Body body) throws IOException {
        exchange.getResponseHeaders().set("Content-Type", body.kind());
        if (exchange.getRequestMethod().equals("HEAD")) {
            exchange.getResponseHeaders().set("Content-Length", Integer.toString(body.data().length));
            exchange.sendResponseHeaders(status, -1);
        } else {
            exchange.sendResponseHeaders(status, body.data().length);
            exchange.getResponseBody().write(body.data());
        }
    }

    private Body answer(String path) {
        List<String> words = new ArrayList<>();
        for (String word : path.replaceAll("^/+|/+$", "").split("/")) {
            words.add(URLDecoder.decode(word.replace("+", "%2B"), StandardCharsets.UTF_8));
        }
        Map<String, Object> now = told.get();
        if (words.equals(List.of("metrics"))) {
            return new Body("text/plain; version=0.0.4; charset=utf-8", StateMetrics.text(now).getBytes(StandardCharsets.UTF_8));
        }
        Object found = found(words, now);
        return found == null ? null : body(found);
    }

    @SuppressWarnings("unchecked")
    private Object found(List<String> words, Map<String, Object> now) {
        Map<String, Map<String, Object>> types = (Map<String, Map<String, Object>>) now.get("types");
        switch (String.join("/", words.subList(0, Math.min(2, words.size())))) {
            case "v1/state":
                return words.size() == 2 ? now : words.size() == 3 ? types.get(words.get(2)) : null;
            case "v1/instances":
                return words.size() == 2 ? listed() : null;
            case "state/instances":
                if (words.size() == 2) {
                    return listed();
                }
                return words.size() > 3 ? null : words.get(2).equals(STORE) ? listed() : List.of();
            case "stats", "state":
                return one(latest(types), "modelType", "usage");
            case "state/value":
                return words.size() == 2 ? one(latest(types), null, "invocations") : null;
            case "models":
                return new TreeSet<>(types.keySet());
            case "processors":
                return Map.of("models", new TreeSet<>(types.keySet()));
            default:
                break;
        }
        if (words.size() == 3 && List.of("modelStore", "modelstore").contains(words.get(1)) && words.get(2).equals("value")) {
            return words.get(0).equals("state") ? one(latest(types), null, "invocations") : null;
        }
        boolean known = words.size() == 2 && words.get(0).equals("state") && types.containsKey(words.get(1));
        return known ? one(types.get(words.get(1)), "modelType", "usage") : null;
    }

    private List<Object> listed() {
        List<Path> files = new ArrayList<>();
        List<Object> found = new ArrayList<>();
        try (DirectoryStream<Path> all = Files.newDirectoryStream(instances, "[0-9]*.json")) {
            all.forEach(files::add);
        } catch (IOException gone) {
            return found;
        }
        files.sort(null);
        for (Path each : files) {
            try {
                found.add(Json.object(Files.readAllBytes(each)));
            } catch (IOException beginning) {
                continue; // of an instance that begins just now
            }
        }
        return found;
    }

    private static Map<String, Object> latest(Map<String, Map<String, Object>> types) {
        Map<String, Object> found = null;
        for (Map<String, Object> each : types.values()) {
            if (found == null || (Long) each.get("since") > (Long) found.get("since")) {
                found = each;
            }
        }
        return found;
    }

    /** A model as Lightbend's servers tell it. */
    private static Map<String, Object> one(Map<String, Object> model, String kind, String usage) {
        Map<String, Object> found = new LinkedHashMap<>();
        for (String each : Arrays.asList("name", "description", "format")) {
            String key = each.equals("format") ? kind : each;
            if (key != null) {
                found.put(key, model == null ? "None" : model.get(each));
            }
        }
        found.put("since", model == null ? 0L : model.get("since"));
        found.put(usage, model == null ? 0L : model.get("usage"));
        found.put("duration", milliseconds(model, "total_ns"));
        found.put("min", milliseconds(model, "min_ns"));
        found.put("max", milliseconds(model, "max_ns"));
        return found;
    }

    private static double milliseconds(Map<String, Object> model, String key) {
        return model == null ? 0 : (Long) model.get(key) / MS_NS;
    }
}
