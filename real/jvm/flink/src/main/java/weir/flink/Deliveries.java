package weir.flink;

import java.util.Map;
import org.apache.kafka.clients.producer.ProducerInterceptor;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import weir.common.Worker;

/** Takes note of deliveries, on the producer's thread. */
public final class Deliveries implements ProducerInterceptor<byte[], byte[]> {
    private String client;
    private Worker counted;

    /**
     * The header of an output, which says in this process whose it is.
     *
     * @param row In the side file of its worker.
     */
    record Mark(String key, byte[] value, Worker worker, int row) implements Header {}

    @Override
    public void configure(Map<String, ?> config) {
        client = config.get("client.id").toString();
    }

    @Override
    public ProducerRecord<byte[], byte[]> onSend(ProducerRecord<byte[], byte[]> output) {
        // With transactions a producer is one of several that take turns: none counts for the task.
        if (Job.chained && counted == null && !Job.control.flag("exactly_once")) {
            counted = mark(output.headers()).worker();
            counted.requests().count("Produce", Beans.count("kafka.producer", "producer-metrics", client, "request-total"));
        }
        return output;
    }

    @Override
    public void onAcknowledgement(RecordMetadata metadata, Exception error, Headers headers) {
        Mark mark = mark(headers);
        mark.worker().acknowledged(mark.row(), error, Job.chained);
    }

    private static Mark mark(Headers headers) {
        for (Header each : headers) {
            if (each instanceof Mark mark) {
                return mark;
            }
        }
        throw new IllegalStateException("an output without our header");
    }

    @Override
    public void close() {}
}
