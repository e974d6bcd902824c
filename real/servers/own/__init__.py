"""Our own model server: `front` listens and batches, `worker` scores, one process each."""
