package weir.common;

/** A payload that cannot be parsed: the record is `bad`. */
public final class PayloadException extends Exception {
    private static final long serialVersionUID = 1;

    PayloadException(String message) {
        super(message, null, false, false);
    }
}
