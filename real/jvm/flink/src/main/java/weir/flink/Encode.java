package weir.flink;

import java.util.List;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.kafka.clients.producer.ProducerRecord;
import weir.common.Codec;
import weir.common.Wire;
import weir.common.Worker;

/** Encodes an output, for the partition its input came from, on the sink's task. */
public final class Encode implements KafkaRecordSerializationSchema<Event> {
    private static final long serialVersionUID = 1;

    private transient Codec codec;
    private transient String topic;

    @Override
    public void open(SerializationSchema.InitializationContext context, KafkaSinkContext sink) {
        codec = Codec.of(Job.control.get("format"));
        topic = Job.control.get("topic_out");
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(Event event, KafkaSinkContext sink, Long timestamp) {
        Worker own = Score.onThisThread();
        if (own != null) {
            own.section(Wire.PRODUCE_CPU);
        }
        byte[] output = codec.encode(event.message(), event.prediction, event.model, event.version);
        if (own != null) {
            own.section(Wire.ENCODE_CPU);
        }
        Worker worker = Job.workers[event.worker];
        byte[] stamps = event.stamps().header(event.begin, event.end, event.worker);
        Deliveries.Mark mark = new Deliveries.Mark(Wire.HEADER_KEY, stamps, worker, event.row);
        worker.produced(event.row, output.length);
        return new ProducerRecord<>(topic, event.partition, null, null, output, List.of(mark));
    }
}
