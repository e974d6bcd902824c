"""Streams of models and faults: what is sent when, which type a record has, the text form, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.assignment import range_assignment
from scenarios.errors import ScenarioError
from scenarios.load import from_resolved, load, resolved
from scenarios.model_stream import instance_of_each, publications, record_types, type_numbers, worker_of_each
from scenarios.spec import (
    MS_NS,
    S_NS,
    Arrival,
    Engine,
    Fault,
    ModelMessage,
    ModelStream,
    ModelTopic,
    Payload,
    Scenario,
    StoreState,
    Workload,
)

names = st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True)
durations = st.integers(0, 100 * S_NS)
steps = st.integers(MS_NS, 100 * S_NS)


def messages(types: tuple[str, ...], at: st.SearchStrategy[int | None]) -> st.SearchStrategy[ModelMessage]:
    common: dict[str, Any] = {
        "name": names,
        "format": st.sampled_from(["onnx", "lightgbm", "pmml", "tensorflow", "savedmodel"]),
        "type": st.sampled_from(types),
        "description": st.text(max_size=9),
        "version": st.none() | st.integers(1, 1000),
        "at_ns": at,
        "size_bytes": st.none() | st.integers(1, 10**9),
    }
    by_value = st.builds(ModelMessage, model=names, fault=st.sampled_from(["none", "corrupt"]), **common)
    path, far = st.just("/elsewhere/m.onnx"), st.just("s3://models/m.onnx")
    missing = st.sampled_from(["none", "missing"])
    return by_value | st.builds(ModelMessage, path=path | far, by=st.just("reference"), fault=missing, **common)


@st.composite
def streamed(draw: st.DrawFn) -> Scenario:
    types = draw(st.sampled_from([("record",), ("wine",), ("red", "white")]))
    repeat = draw(st.booleans())
    at = st.none() if repeat else st.none() | durations
    kept = draw(st.sampled_from(["none", "changelog", "record", "snapshot"]))
    parallelism = draw(st.integers(1, 64))
    stream = ModelStream(
        first_ns=draw(durations),
        every_ns=draw(steps),
        repeat=repeat,
        messages=tuple(draw(st.lists(messages(types, at), min_size=1, max_size=5))),
        delivery=draw(st.sampled_from(["broadcast", "group"])),
        store=draw(st.sampled_from(["task", "instance"])),
        instances=draw(st.integers(1, parallelism)),
        state=StoreState(kept, draw(steps) if kept == "changelog" else 30 * S_NS),  # type: ignore[arg-type]
        restore=draw(st.sampled_from(["latest", "earliest"] if kept == "none" else ["latest", "snapshot"])),
        load=draw(st.sampled_from(["inline", "background"])),
        topic=ModelTopic(draw(st.integers(1, 100))),
    )
    payload = Payload(
        format="protobuf",
        source=draw(st.none() | st.just("/elsewhere/wine.csv")),
        types={name: draw(st.floats(0.1, 9)) for name in types},
        poison=tuple(draw(st.lists(st.integers(0, 10**6), max_size=3))),
    )
    faults = st.builds(
        Fault,
        at_ns=durations,
        target=st.integers(0, parallelism - 1).map("worker-{}".format) | st.sampled_from(["broker", "generator-0"]),
        restart_ns=st.none() | durations,
    )
    return Scenario(
        workload=Workload(arrival=Arrival(rate_per_s=5.0), payload=payload),
        engine=Engine(parallelism=parallelism),
        model_stream=stream,
        faults=tuple(draw(st.lists(faults, max_size=3))),
    )


@given(streamed())
def test_a_scenario_with_models_comes_back_equal(scenario: Scenario) -> None:
    assert from_resolved(json.loads(json.dumps(resolved(scenario)))) == scenario


def test_a_scenario_without_says_nothing_of_models() -> None:
    text = resolved(Scenario(workload=Workload(arrival=Arrival(rate_per_s=1))))
    assert not {"model_stream", "faults"} & set(text)
    assert not {"source", "types", "poison"} & set(text["workload"]["payload"])


# What is sent when


def sent(until_ns: int, *at: int | None, **stream: Any) -> list[tuple[int, str, int, int]]:
    made = tuple(ModelMessage(name="abcdef"[i], model="m", at_ns=each) for i, each in enumerate(at))
    settings: dict[str, Any] = {"first_ns": 500 * MS_NS, "every_ns": 600 * MS_NS, "messages": made, **stream}
    return [
        (x.at_ns // MS_NS, x.message.name, x.version, x.partition)
        for x in publications(ModelStream(**settings), until_ns)
    ]


def test_messages_come_one_after_the_other_until_the_load_ends() -> None:
    assert sent(2 * S_NS, None, None, None, None) == [(500, "a", 1, 0), (1_100, "b", 2, 0), (1_700, "c", 3, 0)]
    assert [x[0] for x in sent(1_700 * MS_NS, None, None, None)] == [500, 1_100]  # what is due at the end is not sent


def test_at_stands_in_place_of_first_and_every() -> None:
    found = sent(9 * S_NS, None, 500 * MS_NS, None, 0, topic=ModelTopic(2))
    assert found == [(0, "d", 1, 0), (500, "a", 2, 1), (500, "b", 3, 0), (1_100, "c", 4, 1)]


def test_they_begin_again() -> None:
    found = sent(3 * S_NS, None, None, repeat=True)
    assert [x[:3] for x in found] == [(500, "a", 1), (1_100, "b", 2), (1_700, "a", 3), (2_300, "b", 4), (2_900, "a", 5)]


def test_more_messages_than_anyone_wants() -> None:
    with pytest.raises(ValueError, match="more than 1,000,000 models"):
        sent(2_000_000 * MS_NS, None, every_ns=MS_NS, repeat=True)


@given(st.integers(1, 200), st.integers(1, 40))
def test_who_reads_a_partition(partitions: int, workers: int) -> None:
    found = worker_of_each(partitions, workers)
    for worker, (first, count) in enumerate(range_assignment(partitions, workers)):
        assert found[first : first + count] == [worker] * count
    assert instance_of_each(4, 2) == [0, 0, 1, 1]


def test_types_are_drawn_by_their_weights_and_by_the_record() -> None:
    payload = Payload(format="protobuf", types={"red": 3.0, "white": 1.0})
    scenario = Scenario(workload=Workload(payload=payload))
    drawn = type_numbers(scenario, 40_000)
    assert record_types(scenario) == ("red", "white")
    assert abs(np.mean(drawn == 0) - 0.75) < 4 * (0.75 * 0.25 / 40_000) ** 0.5
    assert (type_numbers(scenario, 100) == drawn[:100]).all()
    only = replace(scenario, workload=Workload(payload=replace(payload, types={"red": 2.0})))
    assert not type_numbers(only, 50).any()


# What is refused

BASE = """
workload:
  arrival: {rate: 100 /s}
  payload: {format: protobuf, types: {wine: 1}}
engine: {kind: python, parallelism: 2}
model_stream:
  messages:
    - {name: a, model: wine-linear, type: wine}
"""


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("model_stream.instances=3", "3 instances"),
        ("model_stream.messages=[]", "no models: write messages"),
        ("model_stream.messages=[{name: a, type: wine}]", "write either model (a registered one) or path (a file)"),
        ("model_stream.messages=[{name: a, model: m, path: p, type: wine}]", "write either model"),
        (
            "model_stream.messages=[{name: a, model: m, type: vine}]",
            "no record has the type 'vine'; did you mean 'wine'?",
        ),
        ("model_stream.messages=[{name: a, path: none.onnx, type: wine}]", "no such file: "),
        ("model_stream.messages=[{name: a, model: m, type: wine, fault: missing}]", "only a model sent by reference"),
        ("model_stream.messages=[{name: a b, model: m, type: wine}]", "letters, digits"),
        ("model_stream.messages=[{name: a, model: m, type: wine, format: pickle}]", "'pickle' is not allowed"),
        ("model_stream.restore=snapshot", "nothing is kept to restore from"),
        ("model_stream.state={kind: record, commit: 1 s}", "only the kind changelog is kept by commits"),
        ("model_stream.every=1 us", "it must be at least 1 ms"),
        ("engine.kind=spark", "the engine spark takes no models from a topic"),
        ("serving.kind=external", "scored by the workers themselves"),
        ("workload.payload.types={wine: 0}", "the weights are all 0"),
        ("workload.payload.source=none.csv", "no such file: "),
        ("workload.payload.format=json", ""),
        ("model_stream=null", "only a pipeline with a model_stream has types"),
        ("faults=[{at: 1 s, target: worker-2}]", "there is no worker-2: the last one is worker-1"),
        ("faults=[{at: 1 s, target: instance-1}]", "there is no instance-1"),
        ("faults=[{at: 1 s, target: collector}]", "worker-N, instance-N or generator-N"),
        ("faults=[{target: broker}]", "is missing"),
        ("faults=[{at: 1 s, target: broker, kind: stall}]", "'stall' is not allowed"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, setting: str, says: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(BASE, encoding="utf-8")
    load(path)
    if not says:
        load(path, [setting])
        return
    with pytest.raises(ScenarioError) as caught:
        load(path, [setting])
    assert says in str(caught.value)


def test_files_are_found_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("wine.csv", "m.onnx"):
        (tmp_path / "data" / name).write_text("x", encoding="utf-8")
    path = tmp_path / "s.yaml"
    text = BASE.replace("types:", "source: data/wine.csv, types:").replace("model: wine-linear", "path: data/m.onnx")
    path.write_text(text, encoding="utf-8")
    scenario = load(path)
    assert scenario.workload.payload.source == str(tmp_path / "data" / "wine.csv")
    assert scenario.model_stream is not None
    assert scenario.model_stream.messages[0].path == str(tmp_path / "data" / "m.onnx")
    far = load(path, ["model_stream.messages=[{name: a, path: 's3://b/m.onnx', by: reference, type: wine}]"])
    assert far.model_stream is not None
    assert far.model_stream.messages[0].path == "s3://b/m.onnx"
