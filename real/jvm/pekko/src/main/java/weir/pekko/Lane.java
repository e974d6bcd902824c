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
import weir.calls.Answer;
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

    /**
     * A record whose server is asked.
     *
     * @param message Null where there is nothing to ask.
     * @param answer Null as well.
     */
    record Asked(ConsumerRecord<byte[], byte[]> record, Stamps stamps, Message message, Answer answer) {}

    /** Asks a server about a record; done when that answered, or at once where there is nothing to ask. */
    CompletionStage<Asked> ask(ConsumerRecord<byte[], byte[]> record) {
        Asked parsed = parsed(record);
        if (parsed.message() == null) {
            return CompletableFuture.completedFuture(parsed);
        }
        CompletionStage<Asked> asked =
                worker.ask(parsed.message())
                        .thenApply(answer -> new Asked(record, parsed.stamps(), parsed.message(), answer));
        worker.section(Wire.SCORE_CPU);
        return asked;
    }

    /** Hands on an answer; done as {@link #handle}. */
    CompletionStage<Boolean> answered(Asked asked) {
        worker.section(Wire.POLL_CPU);
        if (asked.message() == null) {
            return NOTHING;
        }
        Worker.Scored scored = worker.answered(asked.stamps(), asked.message().points(), asked.answer());
        worker.section(Wire.SCORE_CPU);
        return scored == null ? NOTHING : out(asked, scored);
    }

    /** Scores a record; done when the broker has its output, or at once where there is none. */
    CompletionStage<Boolean> handle(ConsumerRecord<byte[], byte[]> record) throws Exception {
        Asked parsed = parsed(record);
        if (parsed.message() == null) {
            return NOTHING;
        }
        Worker.Scored scored = worker.score(parsed.stamps(), parsed.message(), record.partition(), record.offset());
        worker.section(Wire.SCORE_CPU);
        return scored == null ? NOTHING : out(parsed, scored);
    }

    private Asked parsed(ConsumerRecord<byte[], byte[]> record) {
        worker.enter();
        worker.section(Wire.POLL_CPU);
        Header header = record.headers().lastHeader(Wire.HEADER_KEY);
        if (!worker.ours(header == null ? null : header.value())) {
            return new Asked(record, null, null, null);
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
            return new Asked(record, stamps, null, null);
        }
        worker.section(Wire.DECODE_CPU);
        return new Asked(record, stamps, message, null);
    }

    private CompletionStage<Boolean> out(Asked of, Worker.Scored scored) {
        byte[] output = worker.codec().encode(of.message(), scored.prediction(), scored.model(), scored.version());
        worker.section(Wire.ENCODE_CPU);
        CompletionStage<Boolean> sent = send(of.record().partition(), of.stamps(), scored, output);
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
