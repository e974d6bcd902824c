"""Scenarios of this repository that the page offers beside the one it was started with."""

from __future__ import annotations

from pathlib import Path

import scenarios

_FOLDER = Path(scenarios.__file__).parent

#: File below scenarios/ -> what it is.
SHIPPED = {
    "first_light.yaml": "First light: one worker on this machine",
    "scalability/small.yaml": "Crayfish, scalability, small (256 /s)",
    "scalability/large.yaml": "Crayfish, scalability, large (30,000 /s)",
    "input_rate/small.yaml": "Crayfish, input rate, small (128 /s)",
    "input_rate/large.yaml": "Crayfish, input rate, large (512 to 4,096 /s)",
    "batch_size/small.yaml": "Crayfish, batch size, small (8 points)",
    "batch_size/large.yaml": "Crayfish, batch size, large (32 to 512 points)",
    "bursty/debug.yaml": "Crayfish, bursts, short phases",
    "bursty/large.yaml": "Crayfish, bursts, large (585 and 1,300 /s)",
    "crayfish/flink.yaml": "Crayfish's hardware: Flink, chained",
    "crayfish/flink-32-n-32.yaml": "Crayfish's hardware: Flink, 32-N-32",
    "crayfish/kafka-streams.yaml": "Crayfish's hardware: Kafka Streams",
    "crayfish/spark.yaml": "Crayfish's hardware: Spark Structured Streaming",
    "crayfish/ray.yaml": "Crayfish's hardware: Ray",
    "crayfish/standalone.yaml": "Crayfish's hardware: no broker",
    "clipper/overload.yaml": "Clipper: an overloaded replica",
    "engines/graph.yaml": "A cascade of models (graph)",
}


def presets(own: Path) -> dict[str, tuple[str, Path]]:
    """Key -> (label, file): the scenario the page was started with first, then the shipped ones."""
    found = {"": (own.name, own)}
    return found | {key: (label, _FOLDER / key) for key, label in SHIPPED.items() if (_FOLDER / key).is_file()}
