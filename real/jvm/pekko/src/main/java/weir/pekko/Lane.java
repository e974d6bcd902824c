package weir.pekko;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import weir.common.Message;
import weir.common.PayloadException;
import weir.common.Stamps;
import weir.common.Wire;
import weir.common.Worker;

/** What a worker's stream does with a record, on the stream's thread. */
final class Lane {
    private static final CompletionStage<Boolean> NOTHING = CompletableFuture.completedFuture(Boolean.TRUE);

    private final Worker worker;
    private final KafkaProducer<byte[], byte[]> producer;
    private final String topic;

    Lane(Worker worker, KafkaProducer<byte[], byte[]> producer, String topic) {
        this.worker = worker;
        this.producer = producer;
        this.topic = topic;
    }

    /** Scores a record; done when the broker has its output, or at once where there is none. */
    CompletionStage<Boolean> handle(ConsumerRecord<byte[], byte[]> record) throws Exception {
        worker.enter();
        worker.section(Wire.POLL_CPU);
        Header header = record.headers().lastHeader(Wire.HEADER_KEY);
        if (!worker.ours(header == null ? null : header.value())) {
            return NOTHING;
        }
        ByteBuffer poll = ByteBuffer.wrap(record.headers().lastHeader(Source.HEADER_KEY).value());
        Stamps stamps = Stamps.of(header.value(), worker.appended(record.timestamp()), poll.getLong(), poll.getLong());
        byte[] value = record.value() == null ? new byte[0] : record.value();
        worker.took(record.partition(), value.length);
        Message message;
        try {
            message = worker.codec().parse(value);
        } catch (PayloadException error) {
            worker.bad(stamps, error.getMessage());
            worker.section(Wire.DECODE_CPU);
            return NOTHING;
        }
        worker.section(Wire.DECODE_CPU);
        Worker.Scored scored = worker.score(stamps, message, record.partition(), record.offset());
        worker.section(Wire.SCORE_CPU);
        if (scored == null) {
            return NOTHING;
        }
        byte[] output = worker.codec().encode(message, scored.prediction(), scored.model(), scored.version());
        worker.section(Wire.ENCODE_CPU);
        CompletionStage<Boolean> sent = send(record.partition(), stamps, scored, output);
        worker.section(Wire.PRODUCE_CPU);
        return sent;
    }

    private CompletionStage<Boolean> send(int partition, Stamps stamps, Worker.Scored scored, byte[] output) {
        CompletableFuture<Boolean> done = new CompletableFuture<>();
        byte[] stamp = stamps.header(scored.begin(), scored.end(), worker.index());
        worker.produced(scored.row(), output.length);
        producer.send(
                new ProducerRecord<>(topic, partition, null, null, output, List.of(new RecordHeader(Wire.HEADER_KEY, stamp))),
                (metadata, error) -> {
                    worker.acknowledged(scored.row(), error, true);
                    done.complete(error == null); // a refusal is counted; the stream goes on
                });
        return done;
    }
}
