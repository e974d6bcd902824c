"""Decisions taken while a pipeline runs: an observation goes in, an action comes out; no clock, no I/O."""
