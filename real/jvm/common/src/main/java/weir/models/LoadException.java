package weir.models;

/** A model that is not taken; the message says why. */
public final class LoadException extends Exception {
    private static final long serialVersionUID = 1;

    public LoadException(String message) {
        super(message, null, false, false);
    }
}
