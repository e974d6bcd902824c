package weir.calls;

import java.util.Locale;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;

/** A call without an answer. */
public final class CallException extends Exception {
    private static final long serialVersionUID = 1;

    /** How it went wrong. */
    public enum Kind {
        /** None in time. */
        TIMEOUT,
        /** It cannot be reached, or hung up. */
        CONNECTION,
        /** It said that it failed. */
        SERVER,
        /** What it said is no answer to the question. */
        ANSWER;

        /** As it is counted. */
        String word() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    private final Kind kind;

    public CallException(Kind kind, String text) {
        super(text);
        this.kind = kind;
    }

    public Kind kind() {
        return kind;
    }

    /** Whether time ran out: the record's outcome is then expired, else failed. */
    public boolean expired() {
        return kind == Kind.TIMEOUT;
    }

    /** None in time. */
    public static CallException late(long timeoutNs) {
        return new CallException(Kind.TIMEOUT, "no answer within " + timeoutNs / 1e9 + " s");
    }

    /** What a future failed with, without the wrapping. */
    static Throwable within(Throwable error) {
        Throwable found = error;
        while ((found instanceof CompletionException || found instanceof ExecutionException) && found.getCause() != null) {
            found = found.getCause();
        }
        return found;
    }

    @Override
    public String toString() {
        return getMessage();
    }
}
