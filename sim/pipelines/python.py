"""The Python engine: worker processes that poll, score and produce, each on its own partitions."""

from __future__ import annotations

from sim.pipelines import poll_loop
from sim.pipelines.pipeline import Pipeline


def lay_out(pipeline: Pipeline) -> None:
    """A poll loop whose tasks are processes of their own."""
    poll_loop.tasks(pipeline, process="worker.{}")
