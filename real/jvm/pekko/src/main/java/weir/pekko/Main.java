package weir.pekko;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.pekko.Done;
import org.apache.pekko.actor.ActorSystem;
import org.apache.pekko.japi.Pair;
import org.apache.pekko.kafka.CommitterSettings;
import org.apache.pekko.kafka.ConsumerMessage;
import org.apache.pekko.kafka.ConsumerMessage.Committable;
import org.apache.pekko.kafka.ConsumerSettings;
import org.apache.pekko.kafka.RestrictedConsumer;
import org.apache.pekko.kafka.Subscriptions;
import org.apache.pekko.kafka.javadsl.Committer;
import org.apache.pekko.kafka.javadsl.Consumer;
import org.apache.pekko.kafka.javadsl.PartitionAssignmentHandler;
import org.apache.pekko.stream.ActorAttributes;
import org.apache.pekko.stream.javadsl.Source;
import weir.common.Control;
import weir.common.Metrics;
import weir.common.Positions;
import weir.common.Requests;
import weir.common.Trial;
import weir.common.Worker;

/**
 * The engine pekko: `parallelism` streams in one process, each of a committable source, scoring, a producer and a
 * committer. A stream is fused, on a thread of its own; its consumer's actor polls on another.
 */
public final class Main {
    private static final long LIMIT_S = 15;
    private static final int UNDER_WAY = 1_000;
    private static final String CONFIG =
            """
            pekko { loglevel = "ERROR", stdout-loglevel = "ERROR", coordinated-shutdown.exit-jvm = off
                    jvm-shutdown-hooks = off }
            weir.pinned { type = PinnedDispatcher, executor = "thread-pool-executor"
                          thread-pool-executor.allow-core-timeout = off }
            """;

    private Main() {}

    /** Runs it. */
    public static void main(String[] args) {
        Control.main(args, Main::body);
    }

    private static void body(Control control) throws Exception {
        Worker[] workers = Worker.all(control);
        Trial.run(control, workers);
        Config config = ConfigFactory.parseString(CONFIG).withFallback(ConfigFactory.load());
        ActorSystem system = ActorSystem.create("weir", config);
        List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        for (Worker worker : workers) {
            producers.add(producer(control, worker));
        }
        control.say("ready");
        control.waitFor(control.flag("restarted") ? "start" : "join", Long.MAX_VALUE); // the load is on: no record is too early
        List<Consumer.DrainingControl<Done>> streams = new ArrayList<>();
        for (Worker worker : workers) {
            Lane lane = new Lane(worker, producers.get(worker.index()), control.get("topic_out"));
            streams.add(stream(control, system, worker, lane));
        }
        Requests.watch(workers, control.number("statistics_ms"));
        control.waitFor("stop", Long.MAX_VALUE);
        Executor here = Runnable::run;
        for (Consumer.DrainingControl<Done> each : streams) {
            each.drainAndShutdown(here).toCompletableFuture().get(LIMIT_S, TimeUnit.SECONDS);
        }
        long left = 0;
        List<Object> roles = new ArrayList<>();
        for (Worker worker : workers) {
            producers.get(worker.index()).close(Duration.ofSeconds(LIMIT_S));
            left += worker.outstanding();
            roles.add(worker.role());
            worker.close();
        }
        control.say("done", "left", left, "committed", Positions.committed(control), "workers", roles);
    }

    private static Consumer.DrainingControl<Done> stream(Control control, ActorSystem system, Worker worker, Lane lane) {
        Map<String, Object> properties = properties(control, "consumer");
        properties.computeIfPresent("group.instance.id", (key, name) -> name + "-" + worker.index());
        properties.put("group.id", control.get("group"));
        properties.put("client.id", "weir-" + worker.index());
        properties.put("enable.auto.commit", false);
        Map<String, String> texts = new HashMap<>();
        properties.forEach((key, value) -> texts.put(key, value.toString()));
        ConsumerSettings<byte[], byte[]> settings =
                ConsumerSettings.create(system, new ByteArrayDeserializer(), new ByteArrayDeserializer())
                        .withProperties(texts)
                        .withDispatcher("weir.pinned")
                        .withStopTimeout(Duration.ZERO) // draining waits for the commits itself
                        .withConsumerFactory(any -> new weir.pekko.Source(properties, worker, control));
        CommitterSettings commits =
                CommitterSettings.create(system)
                        .withMaxInterval(Duration.ofMillis(control.number("commit_interval_ms")))
                        .withMaxBatch(Integer.MAX_VALUE);
        Source<Committable, Consumer.Control> handled =
                handled(
                        control,
                        lane,
                        Consumer.committableSource(
                                settings,
                                Subscriptions.topics(control.<String>get("topic_in"))
                                        .withPartitionAssignmentHandler(new Watcher(control, worker.index()))));
        Consumer.DrainingControl<Done> running =
                handled.toMat(Committer.sink(commits), Consumer::createDrainingControl)
                        .withAttributes(ActorAttributes.dispatcher("weir.pinned"))
                        .run(system);
        running.streamCompletion()
                .whenComplete(
                        (done, error) -> {
                            if (error != null) {
                                Control.die(error);
                            }
                        });
        return running;
    }

    /** Offsets to commit, once the outputs are acknowledged; several calls of a server may be under way. */
    private static Source<Committable, Consumer.Control> handled(
            Control control,
            Lane lane,
            Source<ConsumerMessage.CommittableMessage<byte[], byte[]>, Consumer.Control> messages) {
        if (!control.knows("in_flight")) {
            return messages.mapAsync(
                    UNDER_WAY, message -> lane.handle(message.record()).thenApply(any -> message.committableOffset()));
        }
        return messages.mapAsync(
                        control.number("in_flight"),
                        message -> lane.ask(message.record()).thenApply(asked -> Pair.create(message, asked)))
                .mapAsync(
                        UNDER_WAY,
                        both -> lane.answered(both.second()).thenApply(any -> both.first().committableOffset()));
    }

    private static KafkaProducer<byte[], byte[]> producer(Control control, Worker worker) {
        Map<String, Object> properties = properties(control, "producer");
        properties.put("client.id", "weir-" + worker.index());
        KafkaProducer<byte[], byte[]> made =
                new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
        worker.requests().count("Produce", Metrics.of(made.metrics(), "producer-metrics", "request-total"));
        made.partitionsFor(control.get("topic_out"));
        return made;
    }

    /** Settings of a client, numbers as text: it has its own kinds of them. */
    private static Map<String, Object> properties(Control control, String side) {
        Map<String, Object> found = new HashMap<>();
        control.<Map<String, Object>>get("common").forEach((key, value) -> found.put(key, value.toString()));
        control.<Map<String, Object>>get(side).forEach((key, value) -> found.put(key, value.toString()));
        return found;
    }

    /** Tells the harness which partitions a worker has. */
    private static final class Watcher implements PartitionAssignmentHandler {
        private final Control control;
        private final int worker;
        private final Set<Integer> held = new TreeSet<>();

        Watcher(Control control, int worker) {
            this.control = control;
            this.worker = worker;
        }

        private void changed() {
            if (control.has("start")) {
                return;
            }
            try {
                control.say("assigned", "worker", worker, "partitions", List.copyOf(held));
            } catch (java.io.IOException gone) {
                Control.die(gone);
            }
        }

        @Override
        public void onAssign(Set<TopicPartition> assigned, RestrictedConsumer consumer) {
            assigned.forEach(each -> held.add(each.partition()));
            changed();
        }

        @Override
        public void onRevoke(Set<TopicPartition> revoked, RestrictedConsumer consumer) {
            revoked.forEach(each -> held.remove(each.partition()));
            changed();
        }

        @Override
        public void onLost(Set<TopicPartition> lost, RestrictedConsumer consumer) {
            onRevoke(lost, consumer);
        }

        @Override
        public void onStop(Set<TopicPartition> current, RestrictedConsumer consumer) {}
    }
}
