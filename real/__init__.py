"""The harness: brokers, engines, load generator, collector, probes and their supervision."""
