"""The profiler: a grid of models, batch sizes, replicas and cores, each cell measured on replicas of this machine."""
