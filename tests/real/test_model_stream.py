"""Models that change while the stream runs, on the mock broker: what the engine counts is what the topics say."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.streams import BEFORE_A_DEATH, Keeping, agrees, ran, scenario

pytestmark = pytest.mark.measures


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    with Keeping(out=tmp_path_factory.mktemp("runs"), broker="mock", warm_s=0) as session:
        yield session


LIFECYCLE = (
    "name: first, path: sum.onnx, type: wine, description: adds",
    "name: second, path: minus.onnx, type: wine, by: reference",
    "name: broken, path: sum.onnx, type: wine, fault: corrupt",
    "name: strange, path: sum.onnx, type: wine, fault: unknown-format",
    "name: gone, path: sum.onnx, type: wine, by: reference, fault: missing",
    "name: never, path: sum.onnx, type: wine, at: 2.404 s",
    "name: last, path: minus.onnx, type: wine, at: 2.404 s, description: subtracts",
)


def test_a_lifecycle_is_counted_as_the_topics_say(session: Keeping, tmp_path: Path) -> None:
    asked = scenario(tmp_path, LIFECYCLE, poison="[150]", partitions=1)
    run, told = ran(session, asked)
    counted = session.recounted()
    agrees(run, told, counted)
    assert (told["load_failures"], told["bad"]) == (3, 1)
    assert (told["swaps"], told["superseded"]) == (counted.swaps, counted.superseded)
    assert told["superseded"] >= 1  # "never"; and more where a busy machine lets records wait
    assert ("never", 6) not in counted.usage
    assert told["types"]["wine"]["name"] == "last"
    assert told["types"]["wine"]["description"] == "subtracts"
    assert (run.records["outcome"] == "dropped_no_model").sum() == told["dropped_no_model"]
    assert set(run.records[run.records["outcome"] == "bad"]["sequence"]) == {150}
    dropped = run.records[run.records["outcome"] == "dropped_no_model"]
    assert (dropped["fetched"] > 0).all()
    assert (dropped["out_appended"] == -1).all()


def test_each_type_has_its_own_model_and_broadcast_reaches_every_worker(session: Keeping, tmp_path: Path) -> None:
    messages = (
        "name: of-red, path: sum.onnx, type: red",
        "name: of-white, path: minus.onnx, type: white, at: 1.2 s",
    )
    asked = scenario(
        tmp_path,
        messages,
        workers=2,
        types="{red: 2, white: 1}",
        sets=["model_stream.load=background"],
    )
    run, told = ran(session, asked)
    agrees(run, told, session.recounted(), workers=2)
    for worker in told["workers"]:
        assert {kind: about["name"] for kind, about in worker["types"].items()} == {
            "red": "of-red",
            "white": "of-white",
        }
    assert set(run.records[run.records["outcome"] == "scored"]["worker"]) == {0, 1}


def test_a_shared_group_brings_models_to_one_worker_only(session: Keeping, tmp_path: Path) -> None:
    messages = ("name: only, path: sum.onnx, type: wine",)
    asked = scenario(tmp_path, messages, workers=2, more="delivery: group", sets=["model_stream.store=instance"])
    run, told = ran(session, asked)
    counted = session.recounted()
    received = sorted(worker["models_received"] for worker in told["workers"])
    assert received == [0, 1]
    assert told["dropped_no_model"] == counted.dropped
    lucky = next(i for i, worker in enumerate(told["workers"]) if worker["models_received"])
    scored = run.records[run.records["outcome"] == "scored"]
    assert set(scored["worker"]) == {lucky}
    assert (run.records[run.records["worker"] != lucky]["outcome"] == "dropped_no_model").all()


def test_with_a_store_a_task_only_one_partition_ever_has_a_model(session: Keeping, tmp_path: Path) -> None:
    messages = ("name: only, path: sum.onnx, type: wine",)
    asked = scenario(tmp_path, messages, partitions=4, more="delivery: group", sets=["model_stream.store=task"])
    run, _ = ran(session, asked)
    assert set(run.records[run.records["outcome"] == "scored"]["partition"]) == {0}
    assert (run.records[run.records["partition"] > 0]["outcome"] == "dropped_no_model").all()


@pytest.mark.parametrize("kind", ["record", "snapshot"])  # a changelog: on a real broker
def test_a_killed_worker_comes_back_with_its_model(session: Keeping, tmp_path: Path, kind: str) -> None:
    asked = scenario(
        tmp_path,
        BEFORE_A_DEATH,
        duration="5 s",
        workers=2,
        more=f"state: {{kind: {kind}}}",
        after="faults: [{at: 3 s, target: worker-1, kind: kill, restart: 0.5 s}]",
        sets=["model_stream.restore=snapshot"],
    )
    run, told = ran(session, asked)
    counted = session.recounted()
    accounting = run.meta["accounting"]
    assert accounting["lost"] == accounting["in_flight"] == 0
    assert accounting["sent"] == accounting["scored"] + accounting["dropped_no_model"]
    assert counted.records == accounting["sent"]
    back = told["workers"][1]
    assert back["restored"] == 1
    assert back["models_received"] == 2  # none twice: reading goes on where the state ends
    about = back["types"]["wine"]
    assert (about["name"], about["description"]) == ("served", "told after the death too")
    own = run.records[(run.records["worker"] == 1) & (run.records["outcome"] == "scored")]
    after_first = own[
        own["score_begin"] > min(e["at_ns"] for e in back["events"] if e["version"] == 2 and e["event"] == "swapped")
    ]
    if kind == "snapshot":  # kept at updates only: what was used since is forgotten
        assert 0 < about["usage"] < len(after_first)
    else:  # all but what was on its way to the broker
        assert 0 <= len(after_first) - about["usage"] <= 2
    assert (told["changelog_bytes"] > 0) == (kind != "snapshot")


def test_without_a_state_a_restart_waits_for_the_next_model_or_reads_all(session: Keeping, tmp_path: Path) -> None:
    messages = ("name: a, path: sum.onnx, type: wine, at: 0.1 s", "name: b, path: minus.onnx, type: wine, at: 0.4 s")
    faults = "faults: [{at: 1.5 s, target: worker-0, kind: kill, restart: 0.2 s}]"
    found = {}
    for policy in ("latest", "earliest"):
        asked = scenario(tmp_path, messages, duration="3 s", after=faults, sets=[f"model_stream.restore={policy}"])
        run, told = ran(session, asked)
        assert run.meta["accounting"]["lost"] == 0
        found[policy] = (run.records["outcome"] == "dropped_no_model").sum(), told["models_received"]
    assert found["earliest"][1] > 2  # models again
    assert found["latest"][1] == 2
    assert found["latest"][0] > found["earliest"][0] + 50  # nothing serves after the death


class Asking(threading.Thread):
    """Asks the first of a run's instances while it is on, until its model has scored 20 records."""

    def __init__(self, folder: Path, instances: int = 2) -> None:
        super().__init__()
        self._folder, self._instances, self.over = folder, instances, threading.Event()
        self._before = set(folder.glob("run-*"))
        self.answers: dict[str, Any] = {}

    def run(self) -> None:
        while not self.answers and not self.over.wait(0.05):
            runs = set(self._folder.glob("run-*")) - self._before
            known = sorted(path for run in runs for path in run.glob("stream/instances/[0-9]*.json"))
            if len(known) == self._instances:
                about = json.loads(known[0].read_bytes())
                base = f"http://{about['host']}:{about['port']}"
                state = json.loads(self._get(f"{base}/v1/state") or "{}")
                if state.get("types", {}).get("wine", {}).get("usage", 0) > 20:
                    paths = ("/state/value", "/state/instances/modelStore", "/metrics")
                    self.answers = {"/v1/state": state, **{path: self._get(base + path) for path in paths}}

    def _get(self, url: str) -> str:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:  # it has just ended
            return ""


def test_state_and_metrics_agree_with_the_run(session: Keeping, tmp_path: Path) -> None:
    messages = ("name: told, path: sum.onnx, type: wine, description: about it, at: 0.2 s",)
    asking = Asking(session.supervisor.directory)
    asking.start()
    try:
        run, told = ran(session, scenario(tmp_path, messages, workers=2))
    finally:
        asking.over.set()
        asking.join()
    agrees(run, told, session.recounted(), workers=2)
    state, worker = asking.answers["/v1/state"], told["workers"][0]
    about = worker["types"]["wine"]
    assert {key: state["types"]["wine"][key] for key in ("name", "description", "version", "since")} == {
        key: about[key] for key in ("name", "description", "version", "since")
    }
    assert 20 < state["types"]["wine"]["usage"] <= about["usage"]
    assert (state["swaps"], state["dropped_no_model"]) == (worker["swaps"], worker["dropped_no_model"])
    value = json.loads(asking.answers["/state/value"])
    assert set(value) == {"name", "description", "since", "invocations", "duration", "min", "max"}
    assert len(json.loads(asking.answers["/state/instances/modelStore"])) == 2
    assert f'weir_swaps_total{{instance="0"}} {worker["swaps"]}.0' in asking.answers["/metrics"]
