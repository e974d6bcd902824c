"""Models that change while the stream runs: their messages, publishers, loading, the store, and what is told of it."""
