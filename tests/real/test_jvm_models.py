"""Streams of models in the engines of the JVM, on a real broker: every counter equals what the topics say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.classical import Mlp
from models.classical_tensorflow import _FLOAT, _field, _node, _type, fetch_of, graph_bytes
from models.messages import decode_descriptor, parse
from models.records import record_values
from models.wine import fitted
from models.zoo import reference
from real.engines import engine
from real.engines.jvm import JvmEngine
from real.errors import RefusedError
from real.model_stream.cast import models_topic, refuse
from real.model_stream.loaders import Rules, load
from real.model_stream.recount import read_topic
from real.model_stream.state_http import _metrics
from scenarios.spec import Scenario
from tests.real.streams import BEFORE_A_DEATH, Keeping, agrees, ran, scenario
from tests.real.test_model_stream import Asking

pytestmark = pytest.mark.measures

ENGINES = ("kafka-streams", "flink", "pekko")
ONE_BY_DEFAULT = [pytest.param(kind, marks=() if kind == "flink" else pytest.mark.slow) for kind in ENGINES]
#: How each engine comes back from a death: its own way by default, every other one in the slow tests.
_RESTORES = (
    ("latest", "none"),
    ("earliest", "none"),
    ("snapshot", "snapshot"),
    ("snapshot", "changelog, commit: 300 ms"),
)
_USUAL = {"kafka-streams": _RESTORES[3], "flink": _RESTORES[2], "pekko": _RESTORES[1]}
DEATHS = [
    pytest.param(kind, *way, marks=() if way == _USUAL[kind] else pytest.mark.slow)
    for kind in ENGINES
    for way in _RESTORES
]
HERE = shutil.which("java") is not None and shutil.which("mvn") is not None
needs_java = pytest.mark.skipif(not HERE, reason="needs java and mvn on the PATH")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    with Keeping(out=tmp_path_factory.mktemp("runs"), broker="kafka", warm_s=0) as session:
        yield session


def sets(kind: str, *more: str) -> Sequence[str]:
    return (f"engine.kind={kind}", "broker.kind=kafka", "model_stream.instances=1", *more)


def refused(kind: str, asked: Scenario) -> None:
    """What is refused before a run, on a machine without Java too."""
    found = engine(kind)
    assert isinstance(found, JvmEngine)
    assert asked.model_stream is not None
    found.refuse_models(asked.model_stream)
    refuse(asked)


def answers_agree(session: Keeping) -> int:
    """Every output's prediction is the one of Python's reader of the model that it names; returns the models."""
    topic_in, topic_out = session.topics[:2]
    models = {}
    for record in read_topic(session.address, models_topic(topic_in)):
        message = decode_descriptor(record.value())
        models[message.name, message.version] = message
    scorers = {}
    for record in read_topic(session.address, topic_out):
        scored = parse("Scored", record.value())
        which = scored.model, scored.version
        if which not in scorers:
            root = (models[which].location or "").rpartition("/")[0]
            scorers[which] = load(models[which], Rules(roots=[root] if root else [])).scorer
        expected = scorers[which].score(record_values(scored.record))[0]
        np.testing.assert_allclose(list(scored.prediction), expected, rtol=1e-4, atol=1e-5, err_msg=str(which))
    return len(scorers)


@needs_java
@pytest.mark.kafka
@pytest.mark.parametrize("kind", ENGINES)
def test_the_life_of_a_stream_is_counted_as_the_topics_say(session: Keeping, tmp_path: Path, kind: str) -> None:
    wines = ("wine-linear", "wine-glm-gaussian", "wine-glm-gamma", "wine-forest")
    messages = [f"name: {name}, model: {name}, format: pmml, type: wine" for name in wines]
    messages += [
        "name: wine-tree, model: wine-tree-classifier, format: onnx, type: wine",
        "name: wine-mlp, model: wine-mlp, format: onnx, type: wine, by: reference, description: lies elsewhere",
        "name: broken, model: wine-glm-gamma, format: pmml, type: wine, fault: corrupt",
        "name: broken-too, model: wine-mlp, format: onnx, type: wine, fault: corrupt",
        "name: strange, model: wine-linear, format: pmml, type: wine, fault: unknown-format",
        "name: gone, model: wine-linear, format: pmml, type: wine, fault: missing, by: reference",
        "name: never-serves, model: wine-linear, format: pmml, type: wine, at: 3.504 s",
        "name: last, path: sum.onnx, format: onnx, type: wine, at: 3.504 s",
    ]
    asked = scenario(
        tmp_path, messages, duration="4 s", partitions=1, poison="[201]", first="0.5 s", every="250 ms", sets=sets(kind)
    )
    run, told = ran(session, asked)
    counted = session.recounted()
    agrees(run, told, counted)
    assert (told["sent"], told["models_received"], told["load_failures"], told["bad"]) == (12, 12, 4, 1)
    assert (told["swaps"], told["superseded"]) == (counted.swaps, counted.superseded)
    assert told["swaps"] + told["superseded"] == 8
    assert told["superseded"] >= 1  # more where a load took longer than the next model's coming
    assert told["dropped_no_model"] == counted.dropped > 0
    assert told["types"]["wine"]["name"] == "last"
    assert told["types"]["wine"]["usage"] == counted.usage["last", 12]
    assert run.meta["accounting"]["lost"] == run.meta["accounting"]["in_flight"] == 0
    assert answers_agree(session) == told["swaps"]


#: Published under a model's own name, so that its reference can be asked, whatever reads the format in Python.
OF_OTHERS = (
    "name: wine-forest, model: wine-forest, format: lightgbm, type: wine",
    "name: wine-tree-regressor, model: wine-tree-regressor, format: lightgbm, type: wine",
    "name: wine-mlp, model: wine-mlp, format: tensorflow, type: wine",
    "name: wine-tensorflow, model: wine-tensorflow, format: savedmodel, type: wine, by: reference",
)
NOT_TAKEN = (
    "name: rounds, path: rounds.pb, format: tensorflow, type: wine",  # an operator that is not on the list
    "name: no-trees, path: no.lgb.txt, format: lightgbm, type: wine",
    "name: no-graph, path: no.lgb.txt, format: tensorflow, type: wine",
)


@needs_java
@pytest.mark.kafka
@pytest.mark.parametrize(
    "kind", ["kafka-streams", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("flink", "pekko"))]
)
def test_lightgbm_and_tensorflow_score_as_their_models_do(session: Keeping, tmp_path: Path, kind: str) -> None:
    mlp = fitted("wine-mlp", 0)
    assert isinstance(mlp, Mlp)
    rounds = _node("Rint", "rounded", (fetch_of(mlp),), T=_type(_FLOAT))  # whole, but for the list
    (tmp_path / "rounds.pb").write_bytes(graph_bytes(mlp) + _field(1, rounds))
    (tmp_path / "no.lgb.txt").write_text("tree\nmax_feature_idx=10\nnum_tree_per_iteration=1\nTree=0\nend of trees\n")
    asked = scenario(tmp_path, (*OF_OTHERS, *NOT_TAKEN), duration="4 s", first="0.5 s", every="400 ms", sets=sets(kind))
    asking = Asking(session.supervisor.directory, instances=1)
    asking.start()
    try:
        run, told = ran(session, asked)
    finally:
        asking.over.set()
        asking.join()
    assert (told["models_received"], told["loaded"], told["load_failures"]) == (7, 4, 3)
    assert told["types"]["wine"]["name"] == "wine-tensorflow"
    assert run.meta["accounting"]["lost"] == run.meta["accounting"]["in_flight"] == 0
    answers: dict[str, list[tuple[Any, list[float]]]] = {}
    for record in read_topic(session.address, session.topics[1]):
        scored = parse("Scored", record.value())
        answers.setdefault(scored.model, []).append((record_values(scored.record), list(scored.prediction)))
    assert set(answers) == {each.split(",")[0].removeprefix("name: ") for each in OF_OTHERS}
    for name, pairs in answers.items():
        x = np.array([x for x, _ in pairs], np.float32).reshape(len(pairs), -1)
        expected = reference(name, asked.workload.seed, x)
        np.testing.assert_allclose([y for _, y in pairs], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    told_by_http(asking, told)


def told_by_http(asking: Asking, told: dict[str, Any]) -> None:
    """What was told over HTTP meanwhile is what the run tells in the end, in the Python engine's words."""
    state, (worker,) = asking.answers["/v1/state"], told["workers"]
    assert state["instance"] == 0
    assert {"models_received", "records", "bad", "swaps", "restored", "changelog_writes"} <= set(state)
    assert 0 < state["swaps"] <= worker["swaps"]
    about = state["types"]["wine"]
    assert set(about) == set(worker["types"]["wine"])
    assert about["format"] in ("lightgbm", "tensorflow", "savedmodel")
    value = json.loads(asking.answers["/state/value"])
    assert set(value) == {"name", "description", "since", "invocations", "duration", "min", "max"}
    mean = value["duration"] / max(1, value["invocations"])  # of the next model, if that took over meanwhile
    assert 0 <= value["min"] <= mean <= value["max"]
    (listed,) = json.loads(asking.answers["/state/instances/modelStore"])
    assert (listed["host"], listed["storeNames"]) == ("127.0.0.1", ["modelStore"])
    samples: dict[str, Any] = {}
    for family in text_string_to_metric_families(asking.answers["/metrics"]):
        samples |= {sample.name: sample for sample in family.samples}
    python = _metrics({**state, "types": {"wine": about}})[1].decode()
    ours = {sample.name for family in text_string_to_metric_families(python) for sample in family.samples}
    assert set(samples) == ours
    assert samples["weir_model_usage_total"].labels.keys() == {"instance", "type", "model"}
    assert samples["weir_records_total"].labels == {"instance": "0"}


@needs_java
@pytest.mark.kafka
@pytest.mark.parametrize("kind", ONE_BY_DEFAULT)
def test_each_type_has_its_model_and_every_worker_all_of_them(session: Keeping, tmp_path: Path, kind: str) -> None:
    messages = (
        "name: sums, path: sum.onnx, type: wine, at: 0.2 s",
        "name: differences, path: minus.onnx, type: other, at: 0.8 s",
    )
    asked = scenario(
        tmp_path,
        messages,
        duration="2 s",
        workers=2,
        types="{wine: 1, other: 1}",
        more="load: background",
        sets=sets(kind),
    )
    run, told = ran(session, asked)
    counted = session.recounted()
    agrees(run, told, counted, workers=2)
    assert told["models_received"] == told["swaps"] == 4
    for worker in told["workers"]:
        assert {kind: about["name"] for kind, about in worker["types"].items()} == {
            "wine": "sums",
            "other": "differences",
        }
    answers_agree(session)


@needs_java
@pytest.mark.kafka
@pytest.mark.parametrize("kind", ONE_BY_DEFAULT)
def test_one_shared_group_leaves_a_worker_without_models(session: Keeping, tmp_path: Path, kind: str) -> None:
    messages = ("name: sums, path: sum.onnx, type: wine, at: 1500 ms",)  # when both have long been members
    asked = scenario(
        tmp_path,
        messages,
        duration="3 s",
        workers=2,
        more="delivery: group\n  store: instance",
        sets=sets(kind),
    )
    run, told = ran(session, asked)
    counted = session.recounted()
    assert [worker["models_received"] for worker in told["workers"]].count(0) == 1
    for worker in told["workers"]:
        assert bool(worker["types"]) == bool(worker["models_received"])
    accounting = run.meta["accounting"]
    assert accounting["dropped_no_model"] == counted.dropped >= accounting["sent"] * 2 // 3
    assert counted.dropped == sum(worker["dropped_no_model"] for worker in told["workers"])
    assert accounting["lost"] == 0


@needs_java
@pytest.mark.kafka
@pytest.mark.parametrize(("kind", "restore", "state"), DEATHS)
def test_a_killed_engine_comes_back_with_what_was_kept(
    session: Keeping, tmp_path: Path, kind: str, restore: str, state: str
) -> None:
    asked = scenario(
        tmp_path,
        BEFORE_A_DEATH,
        duration="5 s",
        more=f"state: {{kind: {state}}}\n  restore: {restore}",
        after="faults: [{at: 2.5 s, target: worker-0, kind: kill, restart: 0.1 s}]",
        sets=sets(kind, "workload.drain=60 s"),
    )
    run, told = ran(session, asked)
    counted = session.recounted()
    accounting = run.meta["accounting"]
    assert accounting["lost"] == accounting["in_flight"] == accounting["bad"] == 0
    assert accounting["sent"] == accounting["scored"] + accounting["dropped_no_model"] == counted.records
    assert accounting["scored"] == counted.scored
    assert accounting["duplicates"] == counted.duplicates
    if restore == "latest":
        assert told["types"] == {}  # no model was published after the death
        return
    about = told["types"]["wine"]
    assert (about["name"], about["description"]) == ("served", "told after the death too")
    assert told["restored"] == (restore == "snapshot")
    if state.startswith("changelog"):
        assert about["usage"] == counted.usage["served", 2]
        assert told["changelog_bytes"] > 0


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize(
    ("messages", "more", "said"),
    [
        ("name: a, path: 's3://b/m.onnx', format: onnx, type: wine, by: reference", (), r"messages\[0\]\.path: s3://"),
        (
            "name: a, path: sum.onnx, type: wine",
            ("engine.parallelism=2", "model_stream.instances=2"),
            r"instances: 2; ",
        ),
    ],
)
def test_what_an_engine_of_the_jvm_cannot_do_is_refused_by_name(
    tmp_path: Path, kind: str, messages: str, more: tuple[str, ...], said: str
) -> None:
    asked = scenario(tmp_path, (messages,), sets=(*sets(kind), *more))
    with pytest.raises(RefusedError, match=said):
        refused(kind, asked)
