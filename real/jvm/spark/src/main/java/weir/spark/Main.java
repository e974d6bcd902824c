package weir.spark;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.StreamingQuery;
import org.apache.spark.sql.streaming.Trigger;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import weir.common.Control;
import weir.common.Requests;
import weir.common.Trial;
import weir.common.Worker;

/** The engine spark: a streaming query in local mode, from Kafka through scoring to Kafka, a worker a task slot. */
public final class Main {
    private static final long TICK_MS = 20;
    private static final long COMMIT_S = 10;
    private static final long END_S = 10;
    private static final String IDLE = "Waiting for data to arrive";

    private Main() {}

    /** Runs it. */
    public static void main(String[] args) {
        Control.main(args, Main::body);
    }

    private static void body(Control control) throws Exception {
        Worker[] workers = Worker.all(control);
        Trial.run(control, workers);
        Lane.open(control, workers);
        SparkSession spark = session(control, workers.length);
        control.say("ready");
        control.waitFor("join", Long.MAX_VALUE); // the load is on: no record is too early
        Path checkpoint = Path.of(control.<String>get("state")).resolve("checkpoint");
        StreamingQuery query = query(control, spark, checkpoint);
        Requests.watch(workers, control.number("statistics_ms"));
        untilStarted(control, query);
        while (!control.waitFor("stop", TICK_MS)) {
            alive(query);
        }
        stop(query, workers);
        long left = 0;
        List<Object> roles = new ArrayList<>();
        for (Worker worker : workers) {
            left += worker.outstanding();
            roles.add(worker.role());
            worker.close();
        }
        Map<String, Object> committed = Committed.positions(checkpoint, control.get("topic_in"));
        control.say("done", "left", left, "committed", committed, "workers", roles);
    }

    private static void alive(StreamingQuery query) throws Exception {
        if (query.exception().isDefined()) {
            throw query.exception().get();
        }
        if (!query.isActive()) {
            throw new IllegalStateException("the query ended by itself");
        }
    }

    /** Tells the harness that all partitions are read, once the query waits for records, or has a backlog's first. */
    private static void untilStarted(Control control, StreamingQuery query) throws Exception {
        boolean told = false;
        while (!control.waitFor("start", TICK_MS)) {
            alive(query);
            if (!told && (query.status().message().equals(IDLE) || Polls.held())) {
                TreeSet<Integer> all = new TreeSet<>();
                for (int i = 0; i < control.number("partitions"); i++) {
                    all.add(i);
                }
                control.say("assigned", "partitions", all);
                told = true;
            }
        }
    }

    /**
     * Ends the query: a batch that has no record left is let commit, one that goes on to take records is broken off, so
     * that its own are not committed.
     */
    private static void stop(StreamingQuery query, Worker[] workers) throws Exception {
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(COMMIT_S);
        long taken = Lane.taken();
        while ((Lane.busy() || query.status().isTriggerActive()) && Lane.taken() == taken && System.nanoTime() < limit) {
            Thread.sleep(1);
        }
        query.stop();
        limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(END_S);
        while (Lane.busy()) { // tasks broken off end when they notice
            if (System.nanoTime() > limit) {
                throw new IllegalStateException("tasks that were broken off did not end in " + END_S + " s");
            }
            Thread.sleep(1);
        }
        for (Worker worker : workers) { // what they have sent is still under way
            while (worker.outstanding() > 0 && System.nanoTime() < limit) {
                Thread.sleep(1);
            }
        }
    }

    private static SparkSession session(Control control, int slots) {
        SparkSession.Builder builder = SparkSession.builder().master("local[" + slots + "]").appName("weir");
        control.<Map<String, Object>>get("spark").forEach((key, value) -> builder.config(key, value.toString()));
        return builder.getOrCreate();
    }

    private static StreamingQuery query(Control control, SparkSession spark, Path checkpoint) throws Exception {
        Map<String, String> source = options(control, "consumer");
        source.put("subscribe", control.get("topic_in"));
        source.put("startingOffsets", "earliest");
        source.put("includeHeaders", "true");
        source.put("kafka.weir.polls", Polls.class.getName());
        if (control.knows("max_offsets_per_trigger")) {
            source.put("maxOffsetsPerTrigger", Integer.toString(control.number("max_offsets_per_trigger")));
        }
        Map<String, String> sink = options(control, "producer");
        sink.put("topic", control.get("topic_out"));
        sink.put("checkpointLocation", checkpoint.toString());
        sink.put("kafka.interceptor.classes", Deliveries.class.getName());
        Dataset<Row> records = spark.readStream().format("kafka").options(source).load();
        Dataset<Row> outputs =
                records.selectExpr(Score.COLUMNS).mapPartitions(new Score(), Encoders.row(outputs()));
        return outputs.writeStream()
                .format("kafka")
                .options(sink)
                .outputMode("append")
                .trigger(Trigger.ProcessingTime(control.number("trigger_interval_ms")))
                .start();
    }

    /** An output goes to the partition its input came from. */
    private static StructType outputs() {
        StructType header =
                new StructType(
                        new StructField[] {
                            DataTypes.createStructField("key", DataTypes.StringType, false),
                            DataTypes.createStructField("value", DataTypes.BinaryType, true)
                        });
        return new StructType(
                new StructField[] {
                    DataTypes.createStructField("partition", DataTypes.IntegerType, false),
                    DataTypes.createStructField("value", DataTypes.BinaryType, false),
                    DataTypes.createStructField("headers", DataTypes.createArrayType(header, false), true)
                });
    }

    private static Map<String, String> options(Control control, String side) {
        Map<String, String> options = new HashMap<>();
        control.<Map<String, Object>>get("common").forEach((key, value) -> options.put("kafka." + key, value.toString()));
        control.<Map<String, Object>>get(side).forEach((key, value) -> options.put("kafka." + key, value.toString()));
        return options;
    }
}
