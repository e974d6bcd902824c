package weir.streams;

import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import weir.common.Metrics;
import weir.common.Worker;

/** The producer of a stream thread. */
final class Sink extends KafkaProducer<byte[], byte[]> {
    private final Lane lane;
    private final Worker worker;

    Sink(Map<String, Object> config, Lane lane) {
        super(config, new ByteArraySerializer(), new ByteArraySerializer());
        this.lane = lane;
        worker = lane.worker();
        worker.requests().count("Produce", Metrics.of(metrics(), "producer-metrics", "request-total"));
    }

    @Override
    public Future<RecordMetadata> send(ProducerRecord<byte[], byte[]> output, Callback library) {
        int row = lane.row();
        worker.produced(row, output.value().length);
        return super.send(
                output,
                (metadata, error) -> {
                    worker.acknowledged(row, error, true);
                    library.onCompletion(metadata, error);
                });
    }
}
