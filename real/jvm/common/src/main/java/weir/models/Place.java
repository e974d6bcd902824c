package weir.models;

/** Where a message stands in the topic of models. */
record Place(int partition, long offset) {
    /** Of what was restored. */
    static final Place NONE = new Place(-1, -1);
}
