package weir.models;

import weir.common.Scorer;

/**
 * A model that scores.
 *
 * @param message Where it came from; by value, so that a restart needs no location (a folder stays by reference).
 */
public record Loaded(Descriptor message, Scorer scorer) {
    /** Of its file; 0 of a folder. */
    long size() {
        return message.data() == null ? 0 : message.data().length;
    }

    /** Lets go of it; what a runtime says then is nobody's concern. */
    void close() {
        try {
            scorer.close();
        } catch (Exception error) {
            System.err.println("a model that is let go of: " + error);
        }
    }
}
