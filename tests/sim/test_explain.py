"""Where time goes, what is busiest, what relieves it.

The instants are compared with those that the reference passes through, which nothing here reads stamps from.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from scenarios.load import load
from scenarios.spec import MS_NS, S_NS, Arrival, Bound, Broker, Engine, ProducerSettings, Scenario, Serving, Workload
from sim import costs, explain, explain_changes, explain_parts, store, system
from sim.__main__ import app
from sim.costs import Calibration, HostCosts
from sim.explain_stages import Timeline, timeline
from sim.reference import ReferenceExecution
from sim.reference_parts import Thread
from sim.system import Int64s, System
from sim.warm import small_calibration

ROOM = Path(__file__).resolve().parents[2] / "scenarios" / "engines"
SHIPPED = sorted(ROOM.glob("*.yaml"))
SHORT = ("workload.warmup=100 ms", "workload.duration=900 ms", "workload.drain=1 s")
#: Settings under which queues, batches and buffers fill.
BUSY = (*SHORT, "workload.arrival.rate=3000 /s", "broker.producer.linger=3 ms", "broker.producer.batch_bytes=9000 B")
ENGINES = pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
LOADS = pytest.mark.parametrize("sets", [SHORT, BUSY], ids=["calm", "busy"])


def shipped(path: Path, sets: tuple[str, ...]) -> tuple[Scenario, Calibration]:
    if path.stem in ("standalone", "graph"):
        sets = tuple(text for text in sets if not text.startswith("broker."))
    scenario = load(path, list(sets))
    return scenario, store.choose(scenario)


def scoring(
    score_ms: float, rate: float, *, parallelism: int = 1, serving: Serving | None = None
) -> tuple[Scenario, Calibration]:
    """A pipeline in which scoring takes nearly all the time."""
    scenario = Scenario(
        name="scoring",
        workload=Workload(Arrival("poisson", rate_per_s=rate), warmup_ns=S_NS, duration_ns=8 * S_NS),
        broker=Broker(partitions=8, producer=ProducerSettings(linger_ns=MS_NS)),
        engine=Engine(parallelism=parallelism),
        serving=serving or Serving(),
    )
    calibration = replace(small_calibration(cores=16), score_table={1: score_ms * MS_NS})
    return scenario, calibration


class Witness(ReferenceExecution):
    """The reference, which notes when each record passes where."""

    def __init__(self, sys: System) -> None:
        self.seen: dict[str, Int64s] = defaultdict(lambda: np.full(sys.records, -1, dtype=np.int64))
        self._began_to_poll: dict[Thread, int] = {}
        super().__init__(sys)
        self.advance(sys.horizon_ns)

    def _note(self, instant: str, *records: int) -> None:
        for record in records:
            self.seen[instant][record] = self._clock.now

    def _generates(self, me: Thread) -> bool:
        return me.number in self.system.generators

    def _enqueue(self, me: Thread, *operands: int) -> Any:
        self._note("enqueued" if self._generates(me) else "out_enqueued", me.record)
        return super()._enqueue(me, *operands)

    def _put(self, me: Thread, *operands: int) -> Any:
        first = self.seen["put", me.number][me.record] < 0  # type: ignore[index]
        outcome = super()._put(me, *operands)
        name = "enqueued" if self._generates(me) else "scored" if me.number in self.system.workers else "handed"
        if first:
            self._note(name, me.record)
            self.seen["put", me.number][me.record] = 0  # type: ignore[index]
        if outcome is None and name == "handed":
            self._note("through", me.record)
        return outcome

    def _get(self, me: Thread, *operands: int) -> Any:
        outcome = super()._get(me, *operands)
        if outcome is None:
            self._note("got" if me.number in self.system.workers else "taken_out", me.record)
        return outcome

    def _call(self, me: Thread, *operands: int) -> Any:
        self._note("enqueued" if self._generates(me) else "called", me.record)
        return super()._call(me, *operands)

    def _recv(self, me: Thread, *operands: int) -> Any:
        outcome = super()._recv(me, *operands)
        if outcome is None and me.number in self.system.workers:
            self._note("answered", me.record)
        return outcome

    def _take(self, me: Thread, *operands: int) -> Any:
        outcome = super()._take(me, *operands)
        if outcome is None:
            self._note("served", *(request.record for request in me.taken))
        return outcome

    def _arrives_at_service(self, m: Any) -> None:
        self._note("came", m.record)
        super()._arrives_at_service(m)

    def _next(self, me: Thread, *operands: int) -> Any:
        outcome = super()._next(me, *operands)
        if outcome is None:
            self._note("begun", me.record)
        return outcome

    def _next_task(self, me: Thread, *operands: int) -> Any:
        outcome = super()._next_task(me, *operands)
        if outcome is None:
            self._note("begun", me.record)
        return outcome

    def _poll(self, me: Thread, *operands: int) -> Any:
        self._began_to_poll.setdefault(me, self._clock.now)
        outcome = super()._poll(me, *operands)
        if outcome is None:
            began = self._began_to_poll.pop(me)
            if me.name != "collector.app":
                self.seen["polls from"][list(me.polled)] = began
        return outcome

    def _produce_next(self, me: Thread, *operands: int) -> Any:
        assert me.producer is not None
        before = [list(lane.records) for lane in me.producer.lanes]
        outcome = super()._produce_next(me, *operands)
        if outcome is None and me.message is not None:
            ((log, taken),) = me.message.batches
            held = next(records for records in before if records and records[0][0] == taken[0])
            # Ready when the records it held came to a whole batch, or with the first one's linger.
            due = held[0][1] + self.system.linger_ns
            for n, (_, at) in enumerate(held, start=1):
                if n >= self.system.batch_records or n * log.record_bytes >= self.system.batch_bytes:
                    due = min(due, at)
            times = dict(held)
            name = "ready" if me.name.startswith("generator") else "out_ready"
            for record in taken:
                self.seen[name][record] = max(due, times[record])
        return outcome


@LOADS
@ENGINES
def test_the_stages_are_a_records_whole_way(path: Path, sets: tuple[str, ...]) -> None:
    found = timeline(system.build(*shipped(path, sets)))
    whole, at = found.whole, found.instants
    assert whole.sum() > 200
    for name, ns in found.spans:
        assert ns[whole].min() >= 0, name
    assert np.array_equal(sum(ns[whole] for _, ns in found.spans), (at["out_appended"] - at["created"])[whole])


@LOADS
@ENGINES
def test_every_instant_is_the_one_that_the_reference_passes(path: Path, sets: tuple[str, ...]) -> None:
    scenario, calibration = shipped(path, sets)
    sys = system.build(scenario, calibration)
    found, witness = timeline(sys), Witness(sys)
    whole = found.whole
    compared = [name for name in found.instants if name in witness.seen]
    expected = {"enqueued"}
    if scenario.engine.kind != "graph":
        expected |= {"begun", "ready", "out_ready"} if sys.broker_threads else {"got", "taken_out"}
    assert expected <= set(compared)
    for name in compared:
        assert np.array_equal(found.instants[name][whole], witness.seen[name][whole]), name
    if "free" in found.instants and not sys.micro_batch:
        at = found.instants
        free = np.minimum(np.maximum(at["appended"], witness.seen["polls from"]), at["fetched"])
        assert np.array_equal(at["free"][whole], free[whole])


def test_the_time_of_a_stage_is_of_the_records_of_the_window() -> None:
    scenario, calibration = shipped(ROOM / "python.yaml", SHORT)
    found = timeline(system.build(scenario, calibration))
    stages, records, left = explain.stage_times(scenario, found)
    created, out = found.instants["created"], found.instants["out_appended"]
    inside = (created >= 100 * MS_NS) & (created < 1000 * MS_NS)
    assert (records, left) == (int(inside.sum()), 0)
    assert sum(s.mean_ms for s in stages) == pytest.approx((out - created)[inside].mean() / MS_NS, rel=1e-9)
    assert sum(s.share for s in stages) == pytest.approx(1.0)


def test_in_a_graph_the_way_that_ended_last_counts() -> None:
    lone = ("workload.arrival.rate=2 /s", "workload.arrival.kind=constant", "workload.warmup=0 s")
    scenario, calibration = shipped(ROOM / "graph.yaml", ("workload.duration=40 s", *lone))
    found = timeline(system.build(scenario, calibration))
    ms = {name: ns[found.whole] / MS_NS for name, ns in found.spans}
    at_work = {name.partition(":")[0]: values for name, values in ms.items() if name.endswith("at work")}
    forked = at_work["report"] > 0
    assert 20 < forked.sum() < 60
    # One record alone: a vehicle takes 5 + 1 ms, a person 3 + 2 ms, at once; so the vehicle's answer is waited for.
    assert np.all((at_work["vehicle"] > 6) == forked)
    assert not at_work["person"].any()
    assert np.all(at_work["vehicle"][forked] < 6.2)
    read_aloud = at_work["speech"] > 0
    assert np.all(at_work["speech"][read_aloud] > 12)
    assert not (forked & read_aloud).any()
    # A lone record waits for the batch that does not fill.
    assert np.all(ms["detect: queue, batch delay included"] >= 2)
    assert np.all(at_work["detect"] > 5)


def test_a_backlog_alone_is_explained_too() -> None:
    scenario, calibration = shipped(ROOM / "python.yaml", ("workload.backlog.records=2000", *SHORT))
    alone = replace(scenario.workload, arrival=Arrival("constant", rate_per_s=0.0))
    scenario = replace(scenario, workload=alone)
    found, rows = explain.measured(scenario, calibration)
    _, records, left = explain.stage_times(scenario, found)
    assert (records, left) == (2000, 0)
    assert explain_parts.bottleneck(rows).utilisation > 0.5


def occupied(found: Timeline, rows: list[explain_parts.Busy], name: str) -> explain_parts.Busy:
    assert found.system.threads
    return next(row for row in rows if row.name == name)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_scoring_tasks_are_as_busy_as_their_load(load: float) -> None:
    scenario, calibration = scoring(2.0, load * 500)
    found, rows = explain.measured(scenario, calibration)
    row, created = occupied(found, rows, "scoring tasks"), found.instants["created"]
    arrived = np.count_nonzero((created >= S_NS) & (created < 9 * S_NS)) / 8
    # Scoring takes 2 ms of a record, decoding, encoding and producing 10 us each, times 1 on average.
    assert row.utilisation == pytest.approx(arrived * 2.03e-3, rel=0.05)
    assert explain_parts.bottleneck(rows) == row


def test_a_task_that_waits_for_a_server_is_occupied_and_not_at_work() -> None:
    scenario, calibration = scoring(2.0, 300.0, serving=Serving("external", workers=2))
    found, rows = explain.measured(scenario, calibration)
    row = occupied(found, rows, "scoring tasks")
    assert row.occupied is not None
    assert row.cpu < 0.1
    assert 0.6 < row.occupied < 0.9
    assert explain_parts.bottleneck(rows) == row
    server = occupied(found, rows, "server")
    assert server.pool
    assert server.utilisation == pytest.approx(300 * 2.02e-3 / 2, rel=0.1)


def best(asked: tuple[Scenario, Calibration], tmp_path: Path) -> explain.Explanation:
    scenario, calibration = asked
    return explain.explain(scenario, calibration, repeats=2, root=tmp_path, processes=1)


def test_what_relieves_a_scoring_task_is_another(tmp_path: Path) -> None:
    found = best(scoring(2.0, 440.0), tmp_path)
    assert found.bottleneck.name == "scoring tasks"
    assert found.effects[0].name in ("twice the scoring tasks", "twice tasks and partitions")
    assert found.effects[0].helps
    assert max(found.stages, key=lambda s: s.share).name == "queue: reader busy with earlier records"


def test_what_relieves_a_server_is_more_workers(tmp_path: Path) -> None:
    found = best(scoring(2.0, 440.0, parallelism=8, serving=Serving("external", workers=1)), tmp_path)
    assert found.bottleneck.name == "server"
    assert found.bottleneck.utilisation == pytest.approx(440 * 2.02e-3, rel=0.05)
    assert found.effects[0].name == "twice the server's workers"
    assert max(found.stages, key=lambda s: s.share).name.startswith("server queue")
    gains = [effect.gain for effect in found.effects if effect.gain is not None]
    assert gains == sorted(gains, reverse=True)


def test_half_the_linger_takes_half_of_it_away(tmp_path: Path) -> None:
    scenario, calibration = scoring(0.05, 40.0)
    scenario = replace(scenario, broker=replace(scenario.broker, producer=ProducerSettings(linger_ns=80 * MS_NS)))
    found = explain.explain(scenario, calibration, metric="latency_acked_mean", repeats=2, root=tmp_path, processes=1)
    linger = {stage.name: stage for stage in found.stages}
    # Few records share a batch: those that open one wait the whole linger.
    assert linger["linger: batch fills"].p95_ms == pytest.approx(80, abs=0.01)
    effect = next(effect for effect in found.effects if effect.name == "half the linger")
    assert effect == found.effects[0]
    assert effect.change is not None
    assert -80 < effect.change < -60


def test_a_change_without_effect_has_none_in_any_pair(tmp_path: Path) -> None:
    found = best(scoring(0.05, 100.0), tmp_path)
    cores = next(effect for effect in found.effects if effect.name == "twice the cores")
    assert (cores.change, cores.lo, cores.hi, cores.spread) == (0.0, 0.0, 0.0, 0.0)
    assert cores.spread_unpaired is not None
    assert cores.spread_unpaired > 0
    assert not cores.helps


def test_an_overloaded_pipeline_is_asked_for_its_throughput(tmp_path: Path) -> None:
    scenario, calibration = scoring(4.0, 400.0)
    found = best((replace(scenario, workload=replace(scenario.workload, drain_ns=S_NS)), calibration), tmp_path)
    assert found.metric == "throughput"
    assert found.before == pytest.approx(250, rel=0.05)
    assert found.effects[0].relative is not None
    assert found.effects[0].relative > 0.4
    assert found.left > 0


def test_two_hosts_in_one_have_twice_the_capacity_at_twice_the_threads() -> None:
    curve = (1.0, 1.9, 2.4, 2.6)
    doubled = explain_changes.twice(curve)
    assert len(doubled) == 8
    for n in range(1, 5):
        assert doubled[2 * n - 1] == pytest.approx(2 * curve[n - 1])
    assert list(doubled) == sorted(doubled)


def test_more_cores_relieve_a_host_that_shares_two(tmp_path: Path) -> None:
    scenario, calibration = scoring(2.0, 400.0, parallelism=4)
    few = HostCosts(1, (1.0,), "ps", 3 * MS_NS)
    found = best((scenario, replace(calibration, host=few)), tmp_path)
    assert found.bottleneck.name == "cores"
    assert found.effects[0].name == "twice the cores"


def test_the_command_says_it_in_json_and_in_tables(tmp_path: Path) -> None:
    file = tmp_path / "small.json"
    costs.write(small_calibration(), file)
    scenario = tmp_path / "small.yaml"
    scenario.write_text(
        "name: small\nworkload: {arrival: {kind: poisson, rate: 400 /s}, warmup: 0 s, duration: 3 s, drain: 1 s}\n"
    )
    words = ["explain", str(scenario), "--calibration", str(file), "-o", str(tmp_path), "--jobs", "1"]
    traced = tmp_path / "trace.json"
    told = CliRunner().invoke(app, [*words, "--json", "--trace", str(traced), "--trace-ms", "50"])
    assert told.exit_code == 0, told.output
    said = json.loads(told.stdout)
    assert said["metric"] == "latency_p99"
    assert sum(stage["share"] for stage in said["stages"]) == pytest.approx(1.0)
    assert {"name", "utilisation", "saturated"} <= said["bottleneck"].keys()
    assert said["trace"]["events"] == len(json.loads(traced.read_text())["traceEvents"])
    assert CliRunner().invoke(app, [*words, "--json"]).stdout == json.dumps({**said, "trace": None}) + "\n"
    text = CliRunner().invoke(app, words)
    assert text.exit_code == 0, text.output
    for heading in ("where a record's time goes", "how busy", "what changes latency_p99", "bottleneck: "):
        assert heading in text.stdout
    assert CliRunner().invoke(app, [*words, "--metric", "nothing"]).exit_code == 2
    wrong = CliRunner().invoke(app, [*words, "--trace", str(tmp_path / "none" / "trace.json")])
    message = f"{tmp_path / 'none' / 'trace.json'}: cannot be written: No such file or directory\n"
    assert (wrong.exit_code, wrong.stdout, wrong.stderr) == (2, "", message)


def test_the_asked_metric_is_the_slos(tmp_path: Path) -> None:
    scenario, calibration = scoring(0.05, 100.0)
    with_slo = replace(scenario, slo=(Bound("latency_p90", "<", 50.0),))
    assert explain.explain(with_slo, calibration, repeats=1, root=tmp_path, processes=1).metric == "latency_p90"
