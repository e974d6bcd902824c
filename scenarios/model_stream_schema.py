"""The text form of a stream of models, and of faults: sections of a pipeline's file, mirroring `scenarios.spec`.

What only a combination of fields can get wrong is in `scenarios.model_stream_rules`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from scenarios import spec
from scenarios.fields import Duration, Partitions, Size, Small, Step, TenMillion
from scenarios.section import Section

_STREAM = spec.ModelStream()
_STATE = spec.StoreState()
_TOPIC = spec.ModelTopic()
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
#: What may be hit: one of several by its number from 0, or all of a part.
_TARGET = r"^((worker|instance|generator)-\d{1,4}|engine|server|broker)$"


class ModelMessage(Section):
    """One model of the stream."""

    SPEC: ClassVar[Any] = spec.ModelMessage
    name: str = Field(pattern=_NAME, description="of the model, as its state is told under")
    model: str | None = Field(default=None, pattern=_NAME, description="a registered model, exported in the format")
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="... or a file, relative to this one, or its address (file://, s3://)",
    )
    format: Literal["onnx", "lightgbm", "pmml", "tensorflow", "savedmodel"] = Field(
        default="onnx", description="of the model"
    )
    type: str = Field(default="record", pattern=_NAME, description="of the records that it scores")
    by: Literal["value", "reference"] = Field(
        default="value", description="the message carries the model, or where it lies"
    )
    description: str = Field(default="", max_length=1000, description="told with its state")
    version: TenMillion | None = Field(default=None, description="default: how many messages were sent, with it")
    at: Duration | None = Field(default=None, description="from the run's start; default by first and every")
    size: Size | None = Field(
        default=None, description="of the model, to simulate it; default its file's, or the calibration's"
    )
    fault: Literal["none", "corrupt", "unknown-format", "missing"] = Field(
        default="none", description="what is wrong with it; missing: nothing lies where it refers to"
    )


class StoreState(Section):
    """What of a store is kept."""

    SPEC: ClassVar[Any] = spec.StoreState
    kind: Literal["none", "changelog", "record", "snapshot"] = Field(
        default=_STATE.kind,
        description="changelog: all of it at each commit; record: the model with each record; snapshot: a file at "
        "each update",
    )
    commit: Step = Field(default=_STATE.commit_ns, description="changelog: time between two commits")


class ModelTopic(Section):
    """The topic of the models."""

    SPEC: ClassVar[Any] = spec.ModelTopic
    partitions: Partitions = Field(default=_TOPIC.partitions, description="of the topic; message k goes to k mod this")


class ModelStream(Section):
    """Models that change while the stream runs."""

    SPEC: ClassVar[Any] = spec.ModelStream
    first: Duration = Field(
        default=_STREAM.first_ns, description="when the first message is sent, from the run's start"
    )
    every: Step = Field(default=_STREAM.every_ns, description="between two messages")
    repeat: bool = Field(
        default=_STREAM.repeat, description="begin again after the last, until the load ends", strict=True
    )
    messages: tuple[ModelMessage, ...] = Field(
        default=(), max_length=1000, description="the models, in the order they are sent"
    )
    delivery: Literal["broadcast", "group"] = Field(
        default=_STREAM.delivery, description="broadcast: every worker reads all; group: they share the topic"
    )
    store: Literal["task", "instance"] = Field(
        default=_STREAM.store, description="who holds the current model: the task of a partition, or a whole instance"
    )
    instances: Small = Field(default=_STREAM.instances, description="processes that the workers are spread over")
    state: StoreState = Field(default=StoreState(), description="what of the store is kept, and when")
    restore: Literal["latest", "earliest", "snapshot"] = Field(
        default=_STREAM.restore,
        description="where a restarted worker's models come from: the next message, the whole topic, what was kept",
    )
    load: Literal["inline", "background"] = Field(
        default=_STREAM.load, description="inline: records wait for a load; background: the old model serves meanwhile"
    )
    topic: ModelTopic = Field(default=ModelTopic(), description="the topic of the models")


class Fault(Section):
    """Something that breaks while the load runs."""

    SPEC: ClassVar[Any] = spec.Fault
    at: Duration = Field(description="from the run's start")
    target: str = Field(pattern=_TARGET, description="worker-N, instance-N, generator-N, engine, server or broker")
    kind: Literal["kill", "pause", "restart"] = Field(
        default="kill",
        description="kill: it is gone at once (SIGKILL); pause: it stands still (SIGSTOP); restart: asked to end",
    )
    restart: Duration | None = Field(
        default=None, description="it is back so long after; default never, with kind: restart at once"
    )
