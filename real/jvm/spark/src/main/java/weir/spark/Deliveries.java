package weir.spark;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.producer.ProducerInterceptor;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import weir.common.Wire;
import weir.common.Worker;

/** Takes note of outputs as they are handed to the producer, on the task's thread, and acknowledged, on the producer's. */
public final class Deliveries implements ProducerInterceptor<byte[], byte[]> {
    /**
     * The header of an output, which says in this process whose it is.
     *
     * @param row In the side file of its worker.
     */
    record Mark(String key, byte[] value, Worker worker, int row) implements Header {}

    @Override
    public ProducerRecord<byte[], byte[]> onSend(ProducerRecord<byte[], byte[]> output) {
        ByteBuffer place = ByteBuffer.wrap(output.headers().lastHeader(Lane.ROW_KEY).value());
        byte[] stamps = output.headers().lastHeader(Wire.HEADER_KEY).value();
        Mark mark = new Mark(Wire.HEADER_KEY, stamps, Lane.worker(place.getInt()), place.getInt());
        mark.worker().produced(mark.row(), output.value().length);
        return new ProducerRecord<>(output.topic(), output.partition(), null, null, output.value(), List.of(mark));
    }

    @Override
    public void onAcknowledgement(RecordMetadata metadata, Exception error, Headers headers) {
        for (Header each : headers) {
            if (each instanceof Mark mark) {
                mark.worker().acknowledged(mark.row(), error, false); // one producer has all workers' outputs
            }
        }
    }

    @Override
    public void close() {}

    @Override
    public void configure(Map<String, ?> config) {}
}
