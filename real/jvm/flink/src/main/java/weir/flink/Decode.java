package weir.flink;

import java.nio.ByteBuffer;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;
import weir.common.Codec;
import weir.common.PayloadException;
import weir.common.Stamps;
import weir.common.Wire;
import weir.common.Worker;

/** Decodes a record, on the source's task. */
public final class Decode implements KafkaRecordDeserializationSchema<Event> {
    private static final long serialVersionUID = 1;

    private transient Codec codec;

    @Override
    public void open(DeserializationSchema.InitializationContext context) {
        codec = Codec.of(Job.control.get("format"));
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Event> out) {
        Worker worker = Score.onThisThread();
        if (worker != null) {
            worker.section(Wire.POLL_CPU);
        }
        Job.positions.set(record.partition(), record.offset() + 1);
        Header own = record.headers().lastHeader(Wire.HEADER_KEY);
        ByteBuffer poll = ByteBuffer.wrap(record.headers().lastHeader(Polls.HEADER_KEY).value());
        byte[] value = record.value() == null ? new byte[0] : record.value();
        if (own == null || own.value().length != Wire.INPUT_HEADER) {
            return; // nothing of the run's
        }
        long appended = record.timestamp() * 1_000_000 - Job.control.t0();
        Stamps stamps = Stamps.of(own.value(), appended, poll.getLong(), poll.getLong());
        Event event = new Event(stamps, record.partition(), record.offset(), value.length);
        try {
            event.input(codec.parse(value));
        } catch (PayloadException error) {
            event.bad = error.getMessage();
        }
        if (worker != null) {
            worker.section(Wire.DECODE_CPU);
        }
        out.collect(event);
        if (worker != null) {
            worker.section(Wire.PRODUCE_CPU);
        }
    }

    @Override
    public TypeInformation<Event> getProducedType() {
        return TypeInformation.of(Event.class);
    }
}
