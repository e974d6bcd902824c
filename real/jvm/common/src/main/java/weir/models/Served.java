package weir.models;

/** A model that serves one type of record, and how it was used; guarded by its store. */
public final class Served {
    final long sinceMs;
    Loaded model;
    long usage;
    long total;
    long min;
    long max;

    Served(Loaded model, long sinceMs) {
        this.model = model;
        this.sinceMs = sinceMs;
    }

    /** The model. */
    public Loaded model() {
        return model;
    }

    void scored(long took) {
        min = usage == 0 ? took : Math.min(min, took);
        max = Math.max(max, took);
        usage++;
        total += took;
    }
}
