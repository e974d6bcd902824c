package weir.streams;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import weir.common.Control;
import weir.common.Positions;
import weir.common.Requests;
import weir.common.Trial;
import weir.common.Worker;

/** The engine kafka-streams: source, scoring and sink in one topology, `parallelism` stream threads in one process. */
public final class Main {
    private static final long TICK_MS = 10;
    private static final Duration CLOSE = Duration.ofSeconds(10);

    private Main() {}

    /** Runs it. */
    public static void main(String[] args) {
        Control.main(args, Main::body);
    }

    private static void body(Control control) throws Exception {
        Worker[] workers = Worker.all(control);
        Trial.run(control, workers);
        control.say("ready");
        control.waitFor(control.flag("restarted") ? "start" : "join", Long.MAX_VALUE); // the load is on: no record is too early
        Clients clients = new Clients(control, workers);
        try (KafkaStreams streams = new KafkaStreams(topology(control, clients), properties(control), clients)) {
            streams.setUncaughtExceptionHandler(
                    error -> {
                        Control.die(error);
                        return null; // not reached
                    });
            streams.start();
            Requests.watch(workers, control.number("statistics_ms"));
            untilStarted(control, streams, clients);
            control.waitFor("stop", Long.MAX_VALUE);
            if (!streams.close(CLOSE)) {
                System.err.println("the stream threads did not end in " + CLOSE.toSeconds() + " s");
            }
        }
        long left = 0;
        List<Object> roles = new ArrayList<>();
        for (Worker worker : workers) {
            left += worker.outstanding();
            roles.add(worker.role());
            worker.close();
        }
        control.say("done", "left", left, "committed", Positions.committed(control), "workers", roles);
    }

    /** Tells the harness which partitions each thread has, whenever that changes, until the run starts. */
    private static void untilStarted(Control control, KafkaStreams streams, Clients clients) throws Exception {
        List<List<Integer>> told = List.of();
        while (!control.waitFor("start", TICK_MS)) {
            boolean running = streams.state() == KafkaStreams.State.RUNNING;
            List<List<Integer>> held = clients.held(running);
            if (!held.equals(told)) {
                for (int i = 0; i < held.size(); i++) {
                    control.say("assigned", "worker", i, "partitions", held.get(i));
                }
                told = held;
            }
        }
    }

    private static Topology topology(Control control, Clients clients) {
        Topology topology = new Topology();
        ByteArrayDeserializer in = new ByteArrayDeserializer();
        ByteArraySerializer out = new ByteArraySerializer();
        topology.addSource("source", in, in, control.<String>get("topic_in"));
        topology.addProcessor("score", () -> new Score(control, clients), "source");
        topology.addSink("sink", control.<String>get("topic_out"), out, out, clients.partitioner(), "score");
        return topology;
    }

    private static Properties properties(Control control) {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, control.get("group"));
        properties.put(StreamsConfig.CLIENT_ID_CONFIG, "weir");
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, control.<List<?>>get("workers").size());
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, control.number("commit_interval_ms"));
        boolean exactly = control.flag("exactly_once");
        properties.put(
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                exactly ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, control.<String>get("state"));
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        control.<Map<String, Object>>get("common").forEach((key, value) -> properties.put(key, value.toString()));
        control.<Map<String, Object>>get("consumer")
                .forEach((key, value) -> properties.put(StreamsConfig.mainConsumerPrefix(key), value.toString()));
        control.<Map<String, Object>>get("producer")
                .forEach((key, value) -> properties.put(StreamsConfig.producerPrefix(key), value.toString()));
        return properties;
    }
}
