package weir.flink;

import weir.calls.Answer;
import weir.common.Message;
import weir.common.Stamps;
import weir.common.Worker;

/** A record on its way through the job: what the source decoded, then also what the scoring task answered. */
public final class Event implements Cloneable {
    /** Stamps of the input. */
    public long sequence;

    public long created;
    public long sent;
    public long appended;
    public long fetched;
    public long poll;

    /** Where it came from, and its size. */
    public int partition;

    public long offset;

    public int bytes;

    /** Why it cannot be parsed; null where it can. */
    public String bad;

    /** The input: its values, and what the output repeats of it. */
    public int points;

    public long stamp;
    public float[] values;
    public String text;
    public byte[] payload;
    public String type;

    /** The answer. */
    public float[] prediction;

    public int worker;
    public int row;
    public long begin;
    public long end;
    public String model;
    public long version;

    /** Why a server gave none, and whether that was for want of time; null where it did. */
    public String failure;

    public boolean expired;

    /** For Flink. */
    public Event() {}

    Event(Stamps stamps, int partition, long offset, int bytes) {
        sequence = stamps.sequence();
        created = stamps.created();
        sent = stamps.sent();
        appended = stamps.appended();
        fetched = stamps.fetched();
        poll = stamps.poll();
        this.partition = partition;
        this.offset = offset;
        this.bytes = bytes;
    }

    Stamps stamps() {
        return new Stamps(sequence, created, sent, appended, fetched, poll);
    }

    void input(Message message) {
        points = message.points();
        stamp = message.created();
        values = message.values();
        type = message.type();
        if (message.body() instanceof String body) {
            text = body;
        } else {
            payload = (byte[]) message.body();
        }
    }

    /** This, and what a server said. */
    Event answered(Answer answer) {
        Event with;
        try {
            with = (Event) clone();
        } catch (CloneNotSupportedException error) {
            throw new IllegalStateException(error);
        }
        with.begin = answer.begin();
        with.end = answer.end();
        with.prediction = answer.scores();
        with.failure = answer.error() == null ? null : answer.error().toString();
        with.expired = Answer.expired(answer.error());
        return with;
    }

    void scored(Worker.Scored scored, int by) {
        prediction = scored.prediction();
        begin = scored.begin();
        end = scored.end();
        row = scored.row();
        worker = by;
        model = scored.model();
        version = scored.version();
    }

    Message message() {
        return new Message(values, points, stamp, text == null ? payload : text, type);
    }
}
