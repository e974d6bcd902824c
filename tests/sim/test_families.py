"""How each engine family is laid out, and what it does where it can be said by hand; a run's folder of every family.

Both executors; that their stamps equal each other and the pipelines written by hand is `test_family_equality`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analysis.columns import STAMP_COLUMNS
from analysis.runs import read_run
from scenarios.draws import PURPOSE_FLUSH, draw
from scenarios.load import load
from scenarios.registry import ENGINES
from scenarios.spec import (
    MS_NS,
    S_NS,
    US_NS,
    Arrival,
    Broker,
    Engine,
    Hosts,
    HostSpec,
    ProducerSettings,
    Scenario,
    Serving,
    Workload,
)
from sim import capacity, costs, integers, pipelines, programs, store, system
from sim.costs import Calibration, CpuCost
from sim.run import execute, simulate, write
from sim.system import COST_BITS, Int64s, System, UnsupportedError
from tests.oracle.cases import calibration, cost
from tests.sim.pipelines import assert_loop_is_reference, assert_same_stamps

ROOM = Path(__file__).resolve().parents[2] / "scenarios" / "engines"
SHIPPED = sorted(ROOM.glob("*.yaml"))
BACKENDS = pytest.mark.parametrize("backend", ["loop", "simpy"])
SCORE_NS = 50 * US_NS


def scenario(kind: str, rate: float = 100.0, serving: Serving | None = None, **engine: Any) -> Scenario:
    """Half a second of load at a constant rate, no linger."""
    return Scenario(
        name="family",
        workload=Workload(Arrival(rate_per_s=rate), warmup_ns=0, duration_ns=500 * MS_NS, drain_ns=S_NS, seed=3),
        broker=Broker(partitions=4, io_threads=2, producer=ProducerSettings(linger_ns=0)),
        engine=Engine(kind, **engine),
        serving=serving or Serving(),
    )


def costing(**ns: float) -> Calibration:
    """Costs by name, `_` for `.`, in ns; scoring takes 50 us; nothing else takes time."""
    found = {name.replace("_", ".", 1): cost(value) for name, value in ns.items()}
    return calibration(found, score={1: float(SCORE_NS)})


def stamps_of(sys: System, backend: str) -> dict[str, Int64s]:
    execution = execute(sys, backend)
    execution.advance(sys.horizon_ns)
    return execution.stamps()


def names(sys: System) -> list[str]:
    return [t.name for t in sys.threads]


# ------------------------------------------------------------ layouts

AROUND = ["generator.0.app", "generator.0.client", "broker.0", "broker.1"], ["collector.consumer", "collector.app"]


def loops(n: int) -> list[str]:
    return [f"worker.{w}.{role}" for w in range(n) for role in ("consumer", "app", "producer")]


@pytest.mark.parametrize(
    ("engine", "threads"),
    [
        ({"kind": "python", "parallelism": 2}, loops(2)),
        ({"kind": "kafka-streams", "parallelism": 2}, loops(2)),
        ({"kind": "flink", "parallelism": 2}, loops(2)),
        (
            {"kind": "flink", "parallelism": 3, "chained": False, "source_parallelism": 2, "sink_parallelism": 1},
            [
                *("source.0.consumer", "source.0.app", "source.1.consumer", "source.1.app"),
                *("worker.0.app", "worker.1.app", "worker.2.app", "sink.0.app", "sink.0.producer"),
            ],
        ),
        (
            {"kind": "spark", "parallelism": 2},
            ["driver.app", "worker.0.app", "worker.0.producer", "worker.1.app", "worker.1.producer"],
        ),
        (
            {"kind": "ray", "parallelism": 2},
            [f"worker.{w}.{role}" for w in (0, 1) for role in ("consumer", "source", "app", "sink", "producer")],
        ),
    ],
)
@pytest.mark.parametrize("servers", [0, 2])
def test_threads_are_numbered_in_the_order_agreed(engine: dict[str, Any], threads: list[str], servers: int) -> None:
    serving = Serving("external", workers=servers) if servers else None
    sys = system.build(scenario(**engine, serving=serving), costing())
    before, after = AROUND
    assert names(sys) == [*before, *threads, *(f"server.{k}" for k in range(servers)), *after]
    assert [names(sys)[i] for i in sys.workers] == [f"worker.{w}.app" for w in range(engine["parallelism"])]
    assert len(sys.services) == (1 if servers else 0)
    assert all(s.threads == tuple(i for i, t in enumerate(sys.threads) if t.part == "server") for s in sys.services)
    for w, i in enumerate(sys.workers):
        assert sys.threads[i].index == w


def test_slots_and_servers_are_as_many_as_the_parallelism_unless_told() -> None:
    sys = system.build(scenario("spark", parallelism=3, serving=Serving("external")), costing())
    assert (len(sys.workers), len(sys.services[0].threads)) == (3, 3)
    told = scenario("spark", parallelism=3, task_slots=5, serving=Serving("external", workers=2))
    sys = system.build(told, costing())
    assert (len(sys.workers), len(sys.services[0].threads)) == (5, 2)


def test_without_a_broker_there_are_generators_tasks_and_sinks() -> None:
    base = scenario("standalone", parallelism=2)
    sys = system.build(replace(base, workload=replace(base.workload, producers=2)), costing())
    assert names(sys) == [
        *("generator.0.app", "generator.1.app", "worker.0.app", "worker.1.app", "sink.0.app", "sink.1.app")
    ]
    assert (sys.broker_threads, sys.producers, sys.consumers) == ((), (), ())
    assert [(x.writers, x.readers) for x in sys.exchanges] == [((0, 1), (2, 3)), ((2, 3), (4, 5))]
    with pytest.raises(UnsupportedError, match=r"workload\.backlog: .* no broker"):
        system.build(replace(base, workload=replace(base.workload, backlog_records=5)), costing())


def test_unchained_operators_have_one_source_and_sink_a_partition_and_flinks_buffers() -> None:
    sys = system.build(scenario("flink", parallelism=2, chained=False), costing())  # records of 1,000 bytes
    to_scoring, to_sinks = sys.exchanges
    assert (len(to_scoring.writers), to_scoring.readers) == (4, sys.workers)
    assert (to_sinks.writers, len(to_sinks.readers)) == (sys.workers, 4)
    assert (to_scoring.flush_ns, to_scoring.buffer_records) == (100 * MS_NS, 32)
    assert to_scoring.capacity == (3 * 4 + 8) * 32_768 // 1_000
    assert to_sinks.capacity == (3 * 2 + 8) * 32_768 // 1_000
    sinks = [p for p in sys.producers if p.application in to_sinks.readers]
    assert all((p.first_partition, p.partitions) == (0, 4) for p in sinks)
    bounded = system.build(
        scenario("flink", chained=False, buffer_capacity=0, buffer_timeout_ns=0, buffer_bytes=10), costing()
    )
    assert (bounded.exchanges[0].capacity, bounded.exchanges[0].flush_ns) == (0, 0)
    assert bounded.exchanges[0].buffer_records == 1


@pytest.mark.parametrize(
    ("engine", "working", "unscheduled"),
    [
        ({"parallelism": 4}, 4, 0),  # nothing reserved
        ({"parallelism": 4, "cpus_per_actor": 1.0, "total_cpus": 12.0}, 4, 0),
        ({"parallelism": 4, "cpus_per_actor": 1.0, "total_cpus": 11.0}, 3, 1),
        ({"parallelism": 4, "cpus_per_actor": 1.0, "total_cpus": 10.9}, 3, 2),
        ({"parallelism": 4, "cpus_per_actor": 0.1, "total_cpus": 0.3}, 1, 9),
        ({"parallelism": 2, "cpus_per_actor": 2.0, "total_cpus": 5.0}, 0, 4),
        ({"parallelism": 8, "cpus_times_parallelism": 0.33, "total_cpus": 50.0}, 8, 0),  # 2.64: two each
        ({"parallelism": 8, "cpus_times_parallelism": 0.33, "total_cpus": 47.0}, 7, 1),
        ({"parallelism": 2, "cpus_times_parallelism": 0.25, "total_cpus": 2.0}, 1, 2),  # half a CPU each
        ({"parallelism": 100, "cpus_per_actor": 1.0}, 85, 300 - 256),  # the host has 256 cores
    ],
)
def test_actors_are_scheduled_as_long_as_there_are_cpus(engine: dict[str, Any], working: int, unscheduled: int) -> None:
    sys = system.build(scenario("ray", **engine), costing())
    actors = 3 * engine["parallelism"]
    assert sys.facts == {"actors": actors, "actors_unscheduled": unscheduled, "replicas_working": working}
    assert len(sys.workers) == working
    assert bool(sys.notes) == bool(unscheduled)
    reading = [c for c in sys.consumers if c.topic == system.INPUT]
    assert len(reading) == working
    assert sum(c.partitions for c in reading) == (4 if working else 0)


def test_one_task_reads_nothing_more_than_the_python_engine_whatever_it_is_called() -> None:
    found = [
        stamps_of(system.build(scenario(kind, rate=2_000.0, parallelism=3), costing(worker_decode=9_000)), "loop")
        for kind in ("python", "kafka-streams", "flink")
    ]
    for other in found[1:]:
        assert_same_stamps(found[0], other)


def test_a_server_costs_by_the_size_of_its_batch() -> None:
    external = scenario("python", serving=Serving("external", workers=1, batch_records=4))
    external = replace(external, workload=replace(external.workload, points=2))
    known = replace(costing(), score_table={1: 1.0, 2: 1_000.0, 4: 3_000.0, 6: 4_000.0, 8: 5_000.0})

    def by_size(c: Calibration) -> list[float]:
        return [k.fixed / (1 << COST_BITS) for k in system.build(external, c).costs[programs.FIRST_SERVER_SCORE_COST :]]

    assert by_size(known) == [1_000, 3_000, 4_000, 5_000]
    assert by_size(replace(known, server_table={2: 10.0, 8: 40.0})) == pytest.approx([10, 20, 30, 40], abs=1e-3)
    noop = replace(external, model=replace(external.model, name="noop"))
    assert {k.fixed for k in system.build(noop, known).costs[programs.FIRST_SERVER_SCORE_COST :]} == {0}
    assert len(system.build(scenario("python"), known).costs) == programs.FIRST_SERVER_SCORE_COST


def test_shares_follow_the_curve() -> None:
    assert integers.shares((1.0, 1.5), 4) == (256, 192, 128, 96)
    assert integers.shares((1.0, 2.0, 3.0), 4, cores=2) == (256, 256, 170, 128)
    assert integers.shares((1.0,), 600)[-1] == 1  # never nothing
    base = replace(costing(), host=replace(costing().host, cores=4, curve=(1.0, 1.8), discipline="ps"))
    base = replace(base, curves={"engine": (0.5, 0.75)})
    parts = {"engine": "engine", "broker": "broker"}
    split = Hosts(hosts={"engine": HostSpec(8), "broker": HostSpec(2)}, parts=parts)
    sys = system.build(replace(scenario("flink"), hosts=split), base)
    shares = {host.name: host.shares for host in sys.hosts}
    assert shares == {
        "broker": (256, 256),
        "default": (256, 230, 153, 115),  # two threads of the generator, two of the collector
        "engine": (128, 96, 64),
    }
    assert all(h.shares is None for h in system.build(scenario("flink"), costing()).hosts)
    with pytest.raises(UnsupportedError, match="discipline: fair"):
        system.build(scenario("flink"), replace(base, host=replace(base.host, discipline="fair")))


def test_a_calibration_keeps_its_server_table_and_curves() -> None:
    c = replace(costing(), server_table={1: 2.0, 8: 9.0}, curves={"server": (1.0, 1.9)})
    assert costs.from_json(json.loads(json.dumps(costs.to_json(c)))) == c
    assert "curves" not in costs.to_json(costing())


def test_every_engine_word_has_a_layout_and_one_from_elsewhere_brings_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(pipelines.ENGINES) == set(ENGINES)
    with pytest.raises(UnsupportedError, match=r"engine\.kind: mine: the simulator has no programs for it"):
        pipelines.layout_of("mine")

    def entry_points(group: str, name: str) -> list[Any]:
        module = {"mine": "sim.pipelines.python", "theirs": "sim.costs"}[name]
        return [SimpleNamespace(value=f"{module}:Engine")] if group == "weir.engines" else []

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    mine = system.build(scenario("mine", parallelism=2), costing())
    assert names(mine) == names(system.build(scenario("python", parallelism=2), costing()))
    with pytest.raises(UnsupportedError, match="no programs for it"):  # a module without a layout
        system.build(scenario("theirs"), costing())


# ------------------------------------------------------------ what can be said by hand


@BACKENDS
def test_without_a_broker_a_record_takes_the_sum_of_its_costs(backend: str) -> None:
    c = costing(generator_record=10_000, exchange_get=3_000, exchange_put=2_000, worker_encode=4_000)
    c = replace(c, latency={**c.latency, "wake": costs.Latency((7_000.0,))})
    stamps = stamps_of(system.build(scenario("standalone", parallelism=2), c), backend)
    begin = stamps["created"] + 10_000 + 7_000 + 3_000
    expected = {"score_begin": begin, "score_end": begin + SCORE_NS}
    for column in ("sent", "appended", "fetched"):
        expected[column] = stamps["created"]
    for column in ("produced", "acked", "out_appended"):
        expected[column] = begin + SCORE_NS + 2_000 + 7_000 + 3_000 + 4_000
    for column, values in expected.items():
        np.testing.assert_array_equal(stamps[column], values, column)
    np.testing.assert_array_equal(stamps["worker"], np.arange(50) % 2)
    assert set(stamps["batch"]) == {-1}


@BACKENDS
def test_a_record_waits_in_each_buffer_for_its_writers_next_tick(backend: str) -> None:
    tick = 20 * MS_NS
    sys = system.build(
        scenario("flink", parallelism=2, chained=False, buffer_timeout_ns=tick, source_parallelism=3), costing()
    )
    stamps = stamps_of(sys, backend)
    number = {name: i for i, name in enumerate(names(sys))}
    source_of = {q: k for k, (first, n) in enumerate(((0, 2), (2, 1), (3, 1))) for q in range(first, first + n)}
    assert (stamps["out_appended"] >= 0).all()
    for r in range(sys.records):
        source = number[f"source.{source_of[int(sys.partition[r])]}.app"]
        scoring = number[f"worker.{stamps['worker'][r]}.app"]
        passed_on = after(stamps["fetched"][r], draw(sys.seed, source, 0, PURPOSE_FLUSH, 0) % tick, tick)
        # Records of one tick are scored one after the other.
        assert passed_on <= stamps["score_begin"][r] < passed_on + 10 * SCORE_NS
        ticked = after(stamps["score_end"][r], draw(sys.seed, scoring, 0, PURPOSE_FLUSH, 0) % tick, tick)
        assert stamps["produced"][r] == ticked


def after(now: int, phase: int, every: int) -> int:
    """The first instant after now that is phase + j * every."""
    return int(phase + ((now - phase) // every + 1) * every)


@BACKENDS
def test_micro_batches_begin_as_often_as_they_may(backend: str) -> None:
    engine: dict[str, Any] = {"parallelism": 2, "trigger_interval_ns": 40 * MS_NS, "poll_delay_ns": 2 * MS_NS}
    sys = system.build(scenario("spark", rate=2_000.0, **engine), costing(batch_plan=3 * MS_NS, task_start=MS_NS))
    stamps = stamps_of(sys, backend)
    first = {int(b): int(stamps["fetched"][stamps["batch"] == b].min()) for b in set(stamps["batch"])}
    begins = np.array([first[b] for b in sorted(first)])
    # A plan, then the start of a task; four tasks on two executors.
    np.testing.assert_array_equal(np.diff(begins[:-1]), 40 * MS_NS)
    assert sorted(first) == list(range(len(first)))
    for b in sorted(first)[1:-1]:
        mine = stamps["batch"] == b
        planned = first[b] - MS_NS
        assert stamps["appended"][mine].max() <= planned
        assert planned - 40 * MS_NS <= stamps["appended"][mine].min()
        starts = sorted(set(stamps["fetched"][mine]))
        assert len(starts) <= 4
        assert starts[0] == first[b]


@BACKENDS
def test_a_micro_batch_holds_no_more_than_its_limit(backend: str) -> None:
    engine: dict[str, Any] = {"parallelism": 2, "max_offsets_per_trigger": 7}
    sys = system.build(scenario("spark", rate=2_000.0, **engine), costing(batch_plan=5 * MS_NS))
    stamps = stamps_of(sys, backend)
    sizes = np.bincount(stamps["batch"][stamps["batch"] >= 0])
    assert sizes.max() == 7
    assert set(sizes[5:50]) == {7}  # ten records come in the time one plan takes


@BACKENDS
def test_an_actors_sink_waits_for_each_delivery(backend: str) -> None:
    sys = system.build(scenario("ray", rate=5_000.0, cpus_per_actor=0.0), costing(broker_produce=300_000))
    stamps = stamps_of(sys, backend)
    order = np.argsort(stamps["produced"], kind="stable")
    order = order[stamps["acked"][order] >= 0]
    assert len(order) > 100
    assert (stamps["produced"][order][1:] >= stamps["acked"][order][:-1]).all()


@BACKENDS
@pytest.mark.parametrize("kind", ["python", "spark", "ray", "standalone", "flink"])
def test_a_lone_call_waits_for_the_delay_of_its_batch(backend: str, kind: str) -> None:
    serving = Serving("external", workers=2, batch_records=4, batch_delay_ns=5 * MS_NS)
    c = costing(call_request=11_000, call_response=13_000, server_request=17_000)
    c = replace(c, latency={**c.latency, "network": costs.Latency((100_000.0,))})
    stamps = stamps_of(system.build(scenario(kind, serving=serving), c), backend)
    took = stamps["score_end"] - stamps["score_begin"]
    alone = 11_000 + 100_000 + 5 * MS_NS + 17_000 + SCORE_NS + 100_000 + 13_000
    assert len(took) == 50
    assert set(took.tolist()) == {alone}


@BACKENDS
def test_calls_that_come_together_are_scored_together(backend: str) -> None:
    serving = Serving("external", workers=1, batch_records=4, batch_delay_ns=5 * MS_NS)
    c = replace(costing(server_request=20_000), score_table={1: 50_000.0, 2: 60_000.0, 4: 80_000.0})
    base = scenario("standalone", serving=serving, parallelism=4)
    # Four generators, a record of each every 40 ms, at one instant.
    apart = system.build(replace(base, workload=replace(base.workload, producers=4)), c)
    together = replace(apart, created=(apart.created // (40 * MS_NS)) * 40 * MS_NS)
    stamps = stamps_of(together, backend)
    took = stamps["score_end"] - stamps["score_begin"]
    assert set(took[:48].tolist()) == {20_000 + 80_000}
    assert set(took[48:].tolist()) == {5 * MS_NS + 20_000 + 60_000}  # two are left


# ------------------------------------------------------------ runs


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_a_shipped_engine_runs_and_its_folder_is_whole(path: Path, tmp_path: Path) -> None:
    asked = load(path, ["workload.warmup=500 ms", "workload.duration=2 s"])
    result = simulate(asked, store.choose(asked))
    run = read_run(write(result, tmp_path))
    assert run.meta["verdict"] == "STABLE", run.meta["verdict_reason"]
    counts, counters = run.meta["accounting"], run.meta["counters"]
    assert counts["sent"] == counts["scored"] == len(run.records) > 500
    reached = np.array([np.asarray(run.records[c]) for c in STAMP_COLUMNS])
    assert (reached >= 0).all()
    if asked.engine.kind == "standalone":
        assert set(run.records["partition"]) == {-1}
        assert run.meta["append_clock"] == "collector"
        assert "broker" not in counters
    inside = (run.records["score_end"] >= 500 * MS_NS) & (run.records["score_end"] < 2_500 * MS_NS)
    workers = run.records["worker"][inside].value_counts()
    count = asked.stages[0].workers if asked.stages else asked.engine.parallelism
    assert [w["records"] for w in counters["workers"]] == [workers.get(w, 0) for w in range(count)]
    for part in ("generator", "engine", *(["server"] if asked.serving.kind == "external" else [])):
        assert run.meta["metrics"][f"cpu_us_per_record_{part}"] > 0


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_a_shipped_engine_is_the_same_in_the_loop_and_in_the_reference(path: Path) -> None:
    asked = load(path, ["workload.warmup=0 s", "workload.duration=300 ms", "workload.arrival.rate=1000 /s"])
    textbook = store.choose(asked)
    assert_loop_is_reference(system.build(asked, textbook))
    few = replace(textbook, host=replace(textbook.host, cores=2, discipline="slices"))
    assert_loop_is_reference(system.build(replace(asked, hosts=Hosts()), few))


def test_actors_without_a_cpu_are_told(tmp_path: Path) -> None:
    asked = load(ROOM / "ray.yaml", ["engine.total_cpus=5", "workload.warmup=0 s", "workload.duration=2 s"])
    run = read_run(write(simulate(asked, store.choose(asked)), tmp_path))
    assert run.meta["notes"] == [
        "1 of 6 actors are not scheduled: each reserves 1 of 5 CPUs; 1 of 2 replicas work",
    ]
    assert run.meta["metrics"]["actors_unscheduled"] == 1.0
    assert run.meta["counters"]["engine"]["replicas_working"] == 1
    assert run.meta["accounting"]["scored"] == run.meta["accounting"]["sent"]


def test_textbook_costs_are_every_cost_there_is() -> None:
    textbook = store.load("textbook")
    assert set(textbook.cpu) | {"worker.score"} == {*costs.CPU_COSTS, *costs.MODEL_COSTS}
    assert all(isinstance(c, CpuCost) for c in textbook.cpu.values())
    assert "round numbers" in textbook.fingerprint["note"]


def test_without_a_broker_nothing_is_drained_and_the_search_goes_on(tmp_path: Path) -> None:
    asked = load(ROOM / "standalone.yaml", ["workload.warmup=0 s", "workload.duration=1 s"])
    textbook = store.choose(asked)
    found = capacity.capacity(capacity.Job({}, asked, textbook, "loop", 1, tmp_path))
    assert found.drain.rate_per_s is None
    # 53.7 us of one record's scoring and hand-overs on each of two threads; a short window forgives a tenth.
    assert found.sustainable.rate_per_s == pytest.approx(2 / 53.7e-6, rel=0.15)
