package weir.calls;

/**
 * What became of a question; times are nanoseconds since the run's start.
 *
 * @param begin The call began.
 * @param end It was answered, or had failed, retries included.
 * @param scores The answer; null: it failed.
 * @param error How.
 */
public record Answer(long begin, long end, float[] scores, Throwable error) {
    /** Whether time ran out. */
    public static boolean expired(Throwable error) {
        return error instanceof CallException call && call.expired();
    }
}
