"""A pool of replicas on this machine that a scaling policy grows and shrinks: cluster scenarios run for real."""
