package weir.common;

/** What the harness shares with its processes: the header of a record, the slots of a worker, its side file. */
public final class Wire {
    public static final String HEADER_KEY = "w";
    /** sequence, created, sent. */
    public static final int INPUT_HEADER = 3 * 8;
    /** sequence, created, sent, appended, fetched, score_begin, score_end, worker, poll. */
    public static final int OUTPUT_HEADER = 9 * 8;

    /** sequence, poll, fetched, score_begin, score_end, produced, outcome, acked. */
    static final int ROW = 8 * 8;

    static final int PRODUCED_AT = 5 * 8;
    static final int ACKED_AT = 7 * 8;
    static final int OUT_PRODUCED = 1;
    static final int OUT_BAD = 2;
    static final int OUT_FAILED = 3;
    static final int OUT_DROPPED = 4;
    static final int OUT_EXPIRED = 5;

    public static final int POLLS = 0;
    public static final int POLLS_EMPTY = 1;
    public static final int RECORDS = 2;
    public static final int POINTS = 3;
    public static final int BYTES_IN = 4;
    public static final int BYTES_OUT = 5;
    public static final int ACKED = 6;
    public static final int BAD = 7;
    public static final int FAILED = 8;
    public static final int ALIEN = 9;
    public static final int POLL_CPU = 10;
    public static final int DECODE_CPU = 11;
    public static final int SCORE_CPU = 12;
    public static final int ENCODE_CPU = 13;
    public static final int PRODUCE_CPU = 14;
    public static final int REFUSED = 15;
    public static final int PART = 16;

    private Wire() {}
}
