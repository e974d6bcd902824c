package weir.flink;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLongArray;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.KafkaSinkBuilder;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.datastream.AsyncDataStream;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.kafka.clients.consumer.OffsetResetStrategy;
import weir.common.Control;
import weir.common.Requests;
import weir.common.Trial;
import weir.common.Worker;

/** The engine flink: a job in a cluster within this process, its operators chained into one task a slot or apart. */
public final class Main {
    private static final long TICK_MS = 20;
    private static final long STOP_S = 30;
    private static final String CLIENT = "weir";

    private Main() {}

    /** Runs it. */
    public static void main(String[] args) {
        Control.main(args, Main::body);
    }

    private static void body(Control control) throws Exception {
        Worker[] workers = Worker.all(control);
        Trial.run(control, workers);
        Job.control = control;
        Job.workers = workers;
        Job.running = new CountDownLatch(workers.length);
        Job.positions = new AtomicLongArray(control.number("partitions"));
        Job.chained = control.get("chained");
        control.say("ready");
        control.waitFor(control.flag("restarted") ? "start" : "join", Long.MAX_VALUE); // the load is on: no record is too early
        JobClient job = job(control, workers.length).executeAsync("weir");
        job.getJobExecutionResult()
                .whenComplete(
                        (result, error) -> {
                            if (error != null) {
                                Control.die(error);
                            }
                        });
        Requests.watch(workers, control.number("statistics_ms"));
        untilStarted(control, workers.length);
        control.waitFor("stop", Long.MAX_VALUE);
        // The savepoint drains the tasks and flushes the producers; no source hands on a record after it, so its
        // offsets are their last. (The commit to the broker that follows it may be cut off by the end of the tasks.)
        String target = Path.of(control.<String>get("state")).toUri().toString();
        Job.running.await(STOP_S, TimeUnit.SECONDS); // a job that is still starting cannot be stopped so
        stop(job, target, asks(control));
        job.getJobExecutionResult().get(STOP_S, TimeUnit.SECONDS);
        long left = 0;
        List<Object> roles = new ArrayList<>();
        for (Worker worker : workers) {
            left += worker.outstanding();
            roles.add(worker.role());
            worker.close();
        }
        control.say("done", "left", left, "committed", positions(), "workers", roles);
    }

    /** Stops with a savepoint, after the answers to open questions where there may be any; a job that is still on its way to running is asked again. */
    private static void stop(JobClient job, String target, boolean drain) throws Exception {
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(STOP_S);
        while (true) {
            try {
                job.stopWithSavepoint(drain, target, SavepointFormatType.NATIVE).get(STOP_S, TimeUnit.SECONDS);
                return;
            } catch (ExecutionException error) {
                if (!error.toString().contains("not being executed") || System.nanoTime() > limit) {
                    throw error;
                }
                Thread.sleep(TICK_MS);
            }
        }
    }

    /**
     * Tells the harness which partitions are fetched until the run starts: of each worker where the operators are
     * chained, else of all sources together.
     */
    private static void untilStarted(Control control, int parallelism) throws Exception {
        Map<String, TreeSet<Integer>> told = Map.of();
        while (!control.waitFor("start", TICK_MS)) {
            Map<String, TreeSet<Integer>> held = Beans.fetched(control.get("topic_in"));
            if (held.equals(told)) {
                continue;
            }
            told = held;
            if (!Job.chained) {
                TreeSet<Integer> all = new TreeSet<>();
                held.values().forEach(all::addAll);
                control.say("assigned", "partitions", all);
                continue;
            }
            for (int i = 0; i < parallelism; i++) {
                control.say("assigned", "worker", i, "partitions", held.getOrDefault(CLIENT + "-" + i, new TreeSet<>()));
            }
        }
    }

    private static Map<String, Object> positions() {
        Map<String, Object> found = new LinkedHashMap<>();
        for (int i = 0; i < Job.positions.length(); i++) {
            found.put(Integer.toString(i), Job.positions.get(i));
        }
        return found;
    }

    private static StreamExecutionEnvironment job(Control control, int parallelism) throws IOException {
        int sources = Job.chained ? parallelism : control.number("source_parallelism");
        int sinks = Job.chained ? parallelism : control.number("sink_parallelism");
        Configuration config = new Configuration();
        config.set(TaskManagerOptions.NUM_TASK_SLOTS, Math.max(parallelism, Math.max(sources, sinks)));
        config.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(16));
        MemorySize network = MemorySize.ofMebiBytes(control.number("network_mib"));
        config.set(TaskManagerOptions.NETWORK_MEMORY_MIN, network);
        config.set(TaskManagerOptions.NETWORK_MEMORY_MAX, network);
        config.set(TaskManagerOptions.MEMORY_SEGMENT_SIZE, new MemorySize(control.number("buffer_bytes")));
        config.set(RestartStrategyOptions.RESTART_STRATEGY, "none");
        boolean exactly = control.flag("exactly_once");
        if (exactly) {
            Checkpoints.keep(config, control);
        }
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(parallelism, config);
        env.enableCheckpointing(Math.max(10, control.number("commit_interval_ms")));
        env.setBufferTimeout(control.number("buffer_timeout_ms"));
        OffsetsInitializer begin =
                control.flag("restarted")
                        ? OffsetsInitializer.committedOffsets(OffsetResetStrategy.EARLIEST)
                        : OffsetsInitializer.earliest();
        KafkaSource<Event> source =
                KafkaSource.<Event>builder()
                        .setTopics(control.<String>get("topic_in"))
                        .setGroupId(control.get("group"))
                        .setClientIdPrefix(CLIENT)
                        .setStartingOffsets(begin)
                        .setDeserializer(new Decode())
                        .setProperties(properties(control, "consumer", Polls.class))
                        .build();
        KafkaSinkBuilder<Event> outputs =
                KafkaSink.<Event>builder()
                        .setBootstrapServers(control.<Map<String, Object>>get("common").get("bootstrap.servers").toString())
                        .setKafkaProducerConfig(properties(control, "producer", Deliveries.class))
                        .setDeliveryGuarantee(
                                exactly ? DeliveryGuarantee.EXACTLY_ONCE : DeliveryGuarantee.AT_LEAST_ONCE)
                        .setRecordSerializer(new Encode());
        if (exactly) {
            outputs.setTransactionalIdPrefix(control.<String>get("group"));
        }
        KafkaSink<Event> sink = outputs.build();
        DataStream<Event> in = env.fromSource(source, WatermarkStrategy.noWatermarks(), "source").uid("source").setParallelism(sources);
        SingleOutputStreamOperator<Event> scored =
                scored(control, Job.chained ? in : in.rebalance(), parallelism);
        (Job.chained ? scored : scored.rebalance()).sinkTo(sink).name("sink").uid("sink").setParallelism(sinks);
        if (!Job.chained && !asks(control)) { // asking and taking note of answers are one task
            env.disableOperatorChaining();
        }
        return env;
    }

    /** Whether a task has several calls of a server under way. */
    private static boolean asks(Control control) {
        return control.knows("in_flight");
    }

    private static SingleOutputStreamOperator<Event> scored(Control control, DataStream<Event> in, int parallelism) {
        if (!asks(control)) {
            return in.process(new Score()).name("score").uid("score").setParallelism(parallelism);
        }
        // Calls have deadlines of their own: the operator's never comes.
        return AsyncDataStream.orderedWait(in, new Ask(), 1, TimeUnit.DAYS, control.number("in_flight"))
                .name("ask")
                .uid("ask")
                .setParallelism(parallelism)
                .process(new Answered())
                .name("answered")
                .uid("answered")
                .setParallelism(parallelism);
    }

    private static Properties properties(Control control, String side, Class<?> interceptor) {
        Properties properties = new Properties();
        control.<Map<String, Object>>get("common").forEach((key, value) -> properties.put(key, value.toString()));
        control.<Map<String, Object>>get(side).forEach((key, value) -> properties.put(key, value.toString()));
        properties.put("interceptor.classes", interceptor.getName());
        properties.remove("group.instance.id"); // partitions are assigned by Flink: nobody is a member of a group
        return properties;
    }
}
