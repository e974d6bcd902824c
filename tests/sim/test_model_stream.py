"""Models that change, and workers that are killed, simulated: both executors alike, closed forms, counts, refusals."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.columns import OUTCOMES
from scenarios import load
from scenarios.spec import MS_NS, S_NS, Fault, ModelMessage, ModelStream, Scenario
from sim import run, store, system
from sim.costs import Calibration
from sim.execution import Execution, LoopExecution, SimulationError
from sim.reference import ReferenceExecution
from sim.system import System, UnsupportedError
from tests.sim.model_systems import random_model_system
from tests.sim.pipelines import assert_equal_so_far

ROOM = Path(__file__).resolve().parents[2] / "scenarios" / "model_stream"
SEEDS = range(40)


def textbook() -> Calibration:
    return store.load("textbook")


def went(execution: Execution, until: int) -> str:
    """What it said where it could not go on."""
    try:
        execution.advance(until)
    except SimulationError:
        return "deadlock"
    return ""


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kills", [False, True], ids=["models", "models-and-kills"])
def test_the_loop_is_the_reference(seed: int, kills: bool) -> None:
    sys = random_model_system(seed, kills=kills)
    loop, reference = LoopExecution(sys), ReferenceExecution(sys)
    ends = went(loop, sys.horizon_ns), went(reference, sys.horizon_ns)
    assert ends[0] == ends[1]  # a worker that never starts again, and nobody else at work
    if not ends[0]:
        assert_equal_so_far(loop, reference)


def test_random_systems_come_to_everything() -> None:
    found = dict.fromkeys(("swaps", "superseded", "keeps", "loaded", "failed", "restored", "duplicates", "lost"), 0)
    for seed in SEEDS:
        sys = random_model_system(seed, kills=True)
        loop = LoopExecution(sys)
        if went(loop, sys.horizon_ns):
            continue
        models = loop.models()
        assert models is not None
        for name in ("swaps", "superseded", "keeps"):
            found[name] += sum(getattr(each, name) for each in models.stores)
        for name in ("loaded", "failed", "restored"):
            found[name] += sum(getattr(each, name) for each in models.receivers)
        found["duplicates"] += int(models.duplicates.sum())
        found["lost"] += int(np.count_nonzero(loop.lost()))
    assert min(found.values()) > 5, found


@pytest.mark.parametrize("seed", range(12))
def test_a_run_in_pieces_is_the_same_run(seed: int) -> None:
    sys = random_model_system(seed, kills=seed % 2 == 0)
    rng, whole, pieces = random.Random(seed), LoopExecution(sys), LoopExecution(sys)
    ends = [went(pieces, until) for until in sorted(rng.randrange(sys.horizon_ns) for _ in range(7))]
    assert (went(whole, sys.horizon_ns) or "") == (went(pieces, sys.horizon_ns) if not any(ends) else "deadlock")
    if not any(ends):
        assert_equal_so_far(whole, pieces)


# Scale-out


def scale_out(delivery: str, kind: str, instances: int, workers: int = 16) -> Scenario:
    scenario = load.load(ROOM / "scale_out.yaml")
    stream = scenario.model_stream
    assert stream is not None
    words: dict[str, Any] = {"delivery": delivery, "store": kind}
    changed = replace(stream, **words, instances=instances)
    return replace(scenario, model_stream=changed, engine=replace(scenario.engine, parallelism=workers))


@pytest.mark.parametrize("instances", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("workers", ["sixteen", "one-each"])
def test_what_a_shared_group_drops(instances: int, workers: str) -> None:
    def dropped(delivery: str, kind: str) -> int:
        asked = scale_out(delivery, kind, instances, 16 if workers == "sixteen" else instances)
        result = run.simulate(asked, textbook(), host=False)
        accounting = result.meta["accounting"]
        assert accounting["sent"] == 6_400 == accounting["scored"] + accounting["dropped_no_model"]
        assert result.meta["verdict"] != "INVALID"
        return int(accounting["dropped_no_model"])

    assert dropped("group", "task") == 6_400 * 15 // 16
    assert dropped("group", "instance") == 6_400 * (instances - 1) // instances
    assert dropped("broadcast", "task") == dropped("broadcast", "instance") == 0


def test_broadcast_scales_linearly() -> None:
    slow = replace(textbook(), models={"wine-forest": {"score_ns": 1e6}, "wine-linear": {"score_ns": 1e6}})

    def per_s(instances: int) -> float:
        """Records a second out of an overload of 20,000 a second, each of which takes a millisecond."""
        asked = scale_out("broadcast", "instance", instances, instances)
        arrival = replace(asked.workload.arrival, rate_per_s=20_000.0)
        asked = replace(asked, workload=replace(asked.workload, arrival=arrival, duration_ns=S_NS, drain_ns=0))
        execution = LoopExecution(system.build(asked, slow))
        execution.advance(S_NS)
        scored = execution.stamps()["score_end"]
        return float(((scored >= S_NS // 2) & (scored < S_NS)).sum()) * 2

    one = per_s(1)
    assert 800 < one < 1_000
    for instances in (2, 4, 8, 16):
        assert per_s(instances) == pytest.approx(instances * one, rel=0.03)


# What is kept


def wines(state: dict[str, Any], **fields: Any) -> Scenario:
    """A large model at 0.1 s, 100 records a second for 100 s."""
    data: dict[str, Any] = {
        "workload": {"arrival": {"rate": "100 /s"}, "warmup": "0 s", "duration": "100 s", "drain": "5 s"},
        "broker": {"partitions": 1},
        "model_stream": {
            "first": "100 ms",
            "messages": [{"name": "forest", "model": "wine-forest", "format": "pmml", "size": "324400 B"}],
            "state": state,
        },
    }
    return load.from_resolved(data | fields)


def test_what_the_changelog_costs() -> None:
    def bytes_per_s(state: dict[str, Any]) -> float:
        told = run.simulate(wines(state), textbook(), host=False).meta["model_stream"]
        assert told["swaps"] == 1
        return float(told["changelog_bytes"]) / 100

    assert 32e6 < bytes_per_s({"kind": "record"}) <= 32.44e6
    assert bytes_per_s({"kind": "changelog"}) == pytest.approx(3 * 324_400 / 100)  # at 30, 60 and 90 s: 9.7 KB/s
    assert bytes_per_s({"kind": "none"}) == 0


def test_writing_the_model_with_each_record_takes_the_workers_time() -> None:
    def busy(state: dict[str, Any]) -> float:
        result = run.simulate(wines(state), textbook(), host=False)
        return float(result.meta["counters"]["workers"][0]["app_cpu_ns"])

    cost = textbook().cpu["store.write"]
    each = cost.fixed_ns.value + 324_400 * cost.byte_ns.value
    more = (busy({"kind": "record"}) - busy({"kind": "none"})) / (9_990 * each)
    assert more == pytest.approx(1, rel=0.03)  # a busier worker sleeps less


# One after the other


def of_messages(*messages: dict[str, Any], **stream: Any) -> Scenario:
    found = wines({"kind": "none"})
    assert found.model_stream is not None
    made = tuple(ModelMessage(**{"model": "wine-forest", "size_bytes": 324_400, **each}) for each in messages)
    changed: ModelStream = replace(found.model_stream, messages=made, **stream)
    short = replace(found.workload, duration_ns=2 * S_NS)
    return replace(found, model_stream=changed, workload=short)


@pytest.mark.parametrize(("load_", "waits"), [("inline", True), ("background", False)])
def test_records_wait_for_a_load_on_their_own_thread_only(load_: str, waits: bool) -> None:
    asked = of_messages(
        {"name": "first", "at_ns": 0, "size_bytes": 1, "model": "small"},
        {"name": "large", "at_ns": S_NS, "size_bytes": 4_000_000},
        load=load_,
    )
    result = run.simulate(asked, textbook(), host=False)
    took = textbook().cpu["model.load"]
    load_ns = took.fixed_ns.value + 4_000_000 * took.byte_ns.value  # 201 ms: twenty records
    records = result.records
    waited = records["score_begin"] - records["fetched"] > 10 * MS_NS
    later = records["fetched"] - records["appended"] > 10 * MS_NS
    assert (np.count_nonzero(waited | later) > 15) == waits
    told = result.meta["model_stream"]
    assert told["load_ns"][1] == load_ns
    assert (told["swap_gap_ns"][1] >= load_ns) == waits
    assert told["swaps"] == told["loaded"] == 2


def test_the_last_of_two_between_records_wins() -> None:
    asked = of_messages(
        {"name": "old", "at_ns": 0, "size_bytes": 1},
        {"name": "never", "at_ns": S_NS + 1_000_000, "size_bytes": 1},
        {"name": "new", "at_ns": S_NS + 1_100_000, "size_bytes": 1},
        {"name": "broken", "at_ns": S_NS + 500 * MS_NS, "fault": "corrupt"},
        {"name": "strange", "at_ns": S_NS + 600 * MS_NS, "fault": "unknown-format"},
    )
    told = run.simulate(asked, textbook(), host=False).meta["model_stream"]
    counted = {key: told[key] for key in ("sent", "models_received", "loaded", "load_failures", "superseded", "swaps")}
    assert list(counted.values()) == [5, 5, 3, 2, 1, 2]
    assert told["types"]["record"]["name"] == "new"
    assert told["types"]["record"]["version"] == 3
    assert told["types"]["record"]["usage"] in (98, 99, 100)


def test_each_type_has_its_own_model_and_poison_is_counted() -> None:
    asked = of_messages({"name": "red", "type": "red", "at_ns": 0}, {"name": "white", "type": "white", "at_ns": S_NS})
    payload = replace(asked.workload.payload, types={"red": 3.0, "white": 1.0}, poison=(50, 150))
    result = run.simulate(replace(asked, workload=replace(asked.workload, payload=payload)), textbook(), host=False)
    accounting, told = result.meta["accounting"], result.meta["model_stream"]
    assert accounting["bad"] == told["bad"] == 2
    early = result.records["created"] < S_NS
    dropped = result.records["outcome"] == OUTCOMES.index("dropped_no_model")
    assert 10 < np.count_nonzero(dropped & early) < 45  # a quarter of a hundred
    assert set(told["types"]) == {"red", "white"}
    assert told["types"]["red"]["usage"] + told["types"]["white"]["usage"] == accounting["scored"]
    assert accounting["sent"] == accounting["scored"] + accounting["dropped_no_model"] + 2


def test_the_life_of_a_stream_of_models() -> None:
    result = run.simulate(load.load(ROOM / "lifecycle.yaml"), textbook(), host=False)
    told, accounting = result.meta["model_stream"], result.meta["accounting"]
    assert accounting["sent"] == 4_797
    assert abs(accounting["dropped_no_model"] - 50) <= 2
    assert (accounting["bad"], told["load_failures"], told["superseded"]) == (1, 2, 1)
    assert told["models_received"] == told["sent"] == 13
    assert told["swaps"] == 10
    scored = result.records["score_begin"][result.records["outcome"] == OUTCOMES.index("scored")]
    assert (np.diff(scored) > 0).all()  # in order


# Kills


def killed(restore: str = "latest", state: str = "none", restart_ns: int | None = S_NS, **fields: Any) -> Scenario:
    """Two instances, four models in ten seconds, one of the instances killed in the middle."""
    scenario = load.from_resolved(
        {
            "workload": {"arrival": {"rate": "400 /s"}, "warmup": "0 s", "duration": "10 s", "drain": "10 s"},
            "broker": {"partitions": 4},
            "engine": {"kind": "python", "parallelism": 2, "commit_interval": "500 ms"},
            "model_stream": {
                "first": "0 s",
                "every": "1500 ms",
                "messages": [{"name": f"m{k}", "model": "wine-linear", "size": "2 KB"} for k in range(4)],
                "instances": 2,
                "restore": restore,
                "state": {"kind": state},
            },
        }
    )
    fault = Fault(5_200 * MS_NS, "instance-0", "kill", restart_ns)
    return replace(scenario, **{"faults": (fault,), **fields})


@pytest.mark.parametrize(
    ("restore", "state", "restored"), [("latest", "none", 0), ("earliest", "none", 3), ("snapshot", "snapshot", 1)]
)
def test_nothing_is_lost_and_models_come_back(restore: str, state: str, restored: int) -> None:
    result = run.simulate(killed(restore, state), textbook(), host=False)
    accounting, told = result.meta["accounting"], result.meta["model_stream"]
    assert accounting["sent"] == 4_000
    assert accounting["lost"] == accounting["in_flight"] == 0
    assert accounting["duplicates"] <= 0.5 * 200 + 20  # what came since the last commit
    assert (accounting["duplicates"] > 0) == (restore != "latest")  # without a model nothing is scored again
    at = result.records["created"]
    dropped = result.records["outcome"] == OUTCOMES.index("dropped_no_model")
    # All models were sent by 4.5 s: with `latest` the worker that was killed never has one again.
    assert (np.count_nonzero(dropped & (at > 5_500 * MS_NS)) > 800) == (restore == "latest")
    first = told["workers"][0]
    assert first["models_received"] == 4 + (4 if restore == "earliest" else 0)
    assert first["restored"] == (1 if restore == "snapshot" else 0)
    assert told["workers"][1]["swaps"] == 4
    if restore != "latest":
        assert first["types"]["record"]["name"] == "m3"
        assert first["types"]["record"]["usage"] > 1_000  # counted from before the kill on, or from the replay


def test_latency_of_a_kill_is_the_wait_for_the_restart() -> None:
    result = run.simulate(killed("snapshot", "snapshot"), textbook(), host=False)
    records = result.records
    took = (records["out_appended"] - records["created"]) / MS_NS
    mine, during = records["partition"] < 2, (records["created"] > 5_210 * MS_NS) & (records["created"] < 6_190 * MS_NS)
    assert (took[mine & during] > 5).all()
    assert took[mine & during].max() == pytest.approx(1_000, rel=0.05)
    assert took[~mine].max() < 50


def test_a_worker_that_never_starts_again() -> None:
    result = run.simulate(killed(restart_ns=None), textbook(), host=False)
    accounting = result.meta["accounting"]
    left, records = accounting["in_flight"], result.records
    missed = (records["partition"] < 2) & (records["created"] > 5_200 * MS_NS)
    assert 0 <= left - np.count_nonzero(missed) <= 10
    assert accounting["sent"] == accounting["scored"] + left


def test_without_models_a_worker_may_be_killed_too() -> None:
    asked = replace(killed(), model_stream=None)
    asked = replace(asked, workload=replace(asked.workload, payload=replace(asked.workload.payload, format="json")))
    asked = replace(
        asked, faults=(Fault(5 * S_NS, "worker-1", restart_ns=S_NS), Fault(8 * S_NS, "worker-1", restart_ns=0))
    )
    result = run.simulate(asked, textbook(), host=False)
    assert "model_stream" not in result.meta
    accounting = result.meta["accounting"]
    assert accounting["scored"] == accounting["sent"] == 4_000
    assert accounting["duplicates"] > 0
    both: list[Execution] = [LoopExecution(s := system.build(asked, textbook())), ReferenceExecution(s)]
    for execution in both:
        execution.advance(s.horizon_ns)
    assert_equal_so_far(*both)


# Refusals, and what is said


def build(asked: Scenario) -> System:
    return system.build(asked, textbook())


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (killed(faults=(Fault(0, "broker"),)), "faults[0].target: broker: the simulator kills workers and instances"),
        (killed(faults=(Fault(0, "generator-0"),)), "faults[0].target: generator-0"),
        (
            of_messages({"name": "x", "model": "nobody", "size_bytes": None}),
            "model_stream.messages[0].size: how large x",
        ),
    ],
)
def test_what_is_not_modelled_is_refused(asked: Scenario, says: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        build(asked)
    assert says in str(caught.value)


def test_a_thread_is_not_killed_out_of_its_process() -> None:
    asked = scale_out("broadcast", "task", 2)
    with pytest.raises(UnsupportedError, match="it shares a process with others; kill instance-1"):
        build(replace(asked, faults=(Fault(0, "worker-9"),)))
    build(replace(asked, faults=(Fault(0, "instance-1"),)))


@pytest.mark.parametrize("kind", ["spark", "ray", "standalone"])
def test_engines_that_are_no_poll_loops_refuse(kind: str) -> None:
    asked = replace(killed(), model_stream=None)
    with pytest.raises(UnsupportedError, match="faults: the simulator has it for poll loops only"):
        build(replace(asked, engine=replace(asked.engine, kind=kind)))


def test_the_trust_line_says_what_was_not_measured() -> None:
    said = store.trust(killed(state="changelog"), store.load("two-cores"))["outside"]
    assert any("keeping models not measured" in each for each in said)
    assert not [each for each in store.trust(killed(), textbook())["outside"] if "loading" in each]
