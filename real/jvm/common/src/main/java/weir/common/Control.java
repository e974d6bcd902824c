package weir.common;

import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * The process seen from inside: its configuration, its orders on stdin, its reports on stdout, a line of JSON each.
 *
 * <p>When stdin ends the harness is gone, and so is the process, at once. Whatever a library prints goes to stderr,
 * where the harness looks for last words.
 */
public final class Control {
    private final Map<String, CountDownLatch> orders = new ConcurrentHashMap<>();
    private final FileOutputStream out = new FileOutputStream(FileDescriptor.out);
    private final Map<String, Object> config;
    private volatile long t0;

    /** Reads the configuration and listens. */
    public Control(String path) throws IOException {
        config = Json.object(Files.readAllBytes(Path.of(path)));
        if (config.get("common") != null) {
            Security.add(get("common"));
        }
        System.setOut(System.err);
        Thread listener = new Thread(this::listen, "orders");
        listener.setDaemon(true);
        listener.start();
    }

    /** Runs a process: whatever ends it early is its last words. */
    public static void main(String[] args, Body body) {
        try {
            body.run(new Control(args[0]));
        } catch (Throwable error) {
            die(error);
        }
        Runtime.getRuntime().halt(0); // not through shutdown hooks: the body closed what matters
    }

    /** What a process does. */
    @FunctionalInterface
    public interface Body {
        /** Does it. */
        void run(Control control) throws Exception;
    }

    /** Ends the process with an error as its last words. */
    public static void die(Throwable error) {
        error.printStackTrace();
        System.err.flush();
        Runtime.getRuntime().halt(1);
    }

    private void listen() {
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                Map<String, Object> order = Json.object(line.getBytes(StandardCharsets.UTF_8));
                String name = (String) order.get("order");
                if (name.equals("start")) {
                    t0 = (Long) order.get("t0_ns");
                } else if (name.equals("stop")) {
                    latch("start").countDown();
                }
                latch(name).countDown();
            }
        } catch (IOException error) {
            System.err.println(error);
        }
        Runtime.getRuntime().halt(1); // the harness is gone
    }

    private CountDownLatch latch(String name) {
        return orders.computeIfAbsent(name, any -> new CountDownLatch(1));
    }

    /** Waits for an order, at most so long; a stop is a start too. */
    public boolean waitFor(String order, long milliseconds) throws InterruptedException {
        return latch(order).await(milliseconds, TimeUnit.MILLISECONDS);
    }

    /** Whether an order has come. */
    public boolean has(String order) {
        return latch(order).getCount() == 0;
    }

    /** Reports to the harness: names and values in turn. */
    public synchronized void say(String event, Object... fields) throws IOException {
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("event", event);
        for (int i = 0; i < fields.length; i += 2) {
            report.put((String) fields[i], fields[i + 1]);
        }
        out.write((Json.text(report) + "\n").getBytes(StandardCharsets.UTF_8));
    }

    /** The run's start, nanoseconds of the real-time clock; 0 until the harness said it. */
    public long t0() {
        return t0;
    }

    /** A value of the configuration. */
    @SuppressWarnings("unchecked")
    public <T> T get(String name) {
        Object value = config.get(name);
        if (value == null) {
            throw new IllegalArgumentException("the configuration has no " + name);
        }
        return (T) value;
    }

    /** Whether the configuration has that, and it is true. */
    public boolean flag(String name) {
        return Boolean.TRUE.equals(config.get(name));
    }

    /** Whether the configuration has that. */
    public boolean knows(String name) {
        return config.get(name) != null;
    }

    /** A number of the configuration. */
    public int number(String name) {
        return Math.toIntExact(this.<Long>get(name));
    }
}
