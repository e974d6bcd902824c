package weir.models;

import weir.common.Scorer;

/**
 * A model that scores.
 *
 * @param message Where it came from; by value, so that a restart needs no location.
 */
public record Loaded(Descriptor message, Scorer scorer) {
    /** Of its file. */
    long size() {
        return message.data().length;
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
