package weir.streams;

import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import weir.common.Control;
import weir.common.Message;
import weir.common.PayloadException;
import weir.common.Stamps;
import weir.common.Wire;
import weir.common.Worker;

/** Scores a record and hands the output to the sink, on the stream thread of its task. */
final class Score implements Processor<byte[], byte[], byte[], byte[]> {
    private final Control control;
    private final Clients clients;
    private ProcessorContext<byte[], byte[]> context;

    Score(Control control, Clients clients) {
        this.control = control;
        this.clients = clients;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> own) {
        context = own;
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        Lane lane = clients.lane();
        Worker worker = lane.worker();
        worker.section(Wire.POLL_CPU);
        Header header = record.headers().lastHeader(Wire.HEADER_KEY);
        if (!worker.ours(header == null ? null : header.value())) {
            return;
        }
        RecordMetadata metadata = context.recordMetadata().orElseThrow();
        Lane.Fetched fetched = lane.fetched(metadata.partition(), metadata.offset());
        long appended = record.timestamp() * 1_000_000 - control.t0();
        Stamps stamps = Stamps.of(header.value(), appended, fetched.at(), fetched.poll());
        byte[] value = record.value() == null ? new byte[0] : record.value();
        worker.took(metadata.partition(), value.length);
        Message message;
        try {
            message = worker.codec().parse(value);
        } catch (PayloadException error) {
            worker.bad(stamps, error.getMessage());
            worker.section(Wire.DECODE_CPU);
            return;
        }
        worker.section(Wire.DECODE_CPU);
        Worker.Scored scored = score(worker, stamps, message, metadata);
        worker.section(Wire.SCORE_CPU);
        if (scored == null) {
            return;
        }
        byte[] output = worker.codec().encode(message, scored.prediction(), scored.model(), scored.version());
        worker.section(Wire.ENCODE_CPU);
        RecordHeaders headers = new RecordHeaders();
        headers.add(Wire.HEADER_KEY, stamps.header(scored.begin(), scored.end(), worker.index()));
        lane.output(metadata.partition(), scored.row());
        context.forward(record.withValue(output).withHeaders(headers));
        worker.section(Wire.PRODUCE_CPU);
    }

    private static Worker.Scored score(Worker worker, Stamps stamps, Message message, RecordMetadata metadata) {
        try {
            return worker.score(stamps, message, metadata.partition(), metadata.offset());
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }
}
