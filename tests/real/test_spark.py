"""Spark Structured Streaming: whole runs on a real broker, what it commits, its death, and what it refuses."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.runs import Run, read_run
from models.payload import decode_output
from real.brokers.jars import java
from real.engines import engine
from real.engines.jvm import JvmEngine, module
from real.errors import RefusedError
from real.processes import Supervisor
from real.session import Session
from scenarios.spec import Scenario
from sim.library import simulate
from tests.real.checks import sound
from tests.real.conftest import Harness, Make
from tests.real.test_jvm_engines import answer_as_the_model, committed, outputs, until_acknowledged
from tests.real.test_supervision import died, gone

SPARK = ("engine.kind=spark", "broker.kind=kafka", "workload.drain=60 s", "deadline=300 s")
MAIN = "weir.spark.Main"
NO_SASL = "the engine spark has no SASL here"


def whole(run: Run, *, parallelism: int) -> None:
    """Batches of one task a partition, each in one slot; counters of every worker."""
    counters = run.meta["counters"]
    assert len(counters["workers"]) == parallelism
    assert set(run.records["worker"]) <= set(range(parallelism))
    tasks = run.records.groupby(["batch", "partition"])
    assert (tasks["worker"].nunique() == 1).all()  # a task has a slot to itself
    assert counters["engine"]["cpu_ns"] > 0
    for jar in ("spark-sql_2.13", "spark-sql-kafka-0-10_2.13", "kafka-clients"):
        assert f"{jar} (engine)" in run.meta["versions"]


def as_simulated(run: Run, scenario: Scenario) -> None:
    """The simulator fills the same columns for the same workers."""
    simulated = simulate(scenario, calibration="textbook", backend="simpy")
    assert set(run.records.columns) == set(simulated.records.columns)
    assert len(run.meta["counters"]["workers"]) == len(simulated.meta["counters"]["workers"])
    real, predicted = (
        {name for name in frame.columns if name != "outcome" and (frame[name] >= 0).all()}
        for frame in (run.records, simulated.records)
    )
    assert real == predicted


@pytest.mark.kafka
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_paced_run_is_whole_and_its_answers_are_the_model_s(
    make: Make, kafka: Session, monkeypatch: pytest.MonkeyPatch, parallelism: int
) -> None:
    scenario = make(*SPARK, f"engine.parallelism={parallelism}", "workload.warmup=1 s", "workload.duration=5 s")
    answers, positions = outputs(kafka, scenario, monkeypatch), committed(kafka, monkeypatch)
    run = sound(kafka.run(scenario), sent=1200)
    whole(run, parallelism=parallelism)
    as_simulated(run, scenario)
    assert sum(positions[0].values()) == 1200
    answer_as_the_model(answers(), scenario, 1200)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("parallelism", [1, 2])
def test_half_a_minute_is_whole(make: Make, kafka: Session, parallelism: int) -> None:
    load = ("workload.warmup=0 s", "workload.duration=30 s")
    run = sound(kafka.run(make(*SPARK, f"engine.parallelism={parallelism}", *load)), sent=6000)
    whole(run, parallelism=parallelism)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("points", [1, 32, 128])
def test_records_of_many_points(make: Make, kafka: Session, monkeypatch: pytest.MonkeyPatch, points: int) -> None:
    load = ("workload.arrival.rate=20 /s", f"workload.points={points}", "workload.duration=4 s")
    scenario = make(*SPARK, "engine.parallelism=2", *load)
    answers = outputs(kafka, scenario, monkeypatch)
    sound(kafka.run(scenario), sent=90)
    assert len(answers()) == 90
    for data in answers().values():
        prediction = decode_output("json", data).prediction
        assert prediction is not None
        assert prediction.shape == (points, 10)


@pytest.mark.kafka
@pytest.mark.slow
def test_bursts(make: Make, kafka: Session) -> None:
    bursty = "{kind: bursty, rate: 50 /s, low_factor: 0.7, high_factor: 1.1, low: 1 s, high: 1 s}"
    run = read_run(kafka.run(make(*SPARK, f"workload.arrival={bursty}", "workload.duration=6 s")))
    sound(run.path, sent=run.meta["accounting"]["sent"])


@pytest.mark.kafka
def test_a_binary_backlog_in_batches_waits_for_the_start_and_stubs_are_bad(make: Make, kafka: Session) -> None:
    """2,000 records in batches of at most 600 over four partitions; two of them cannot be parsed."""
    load = ("workload.backlog.records=2000", "workload.arrival.rate=0 /s", "workload.payload.format=binary")
    sets = (*SPARK, *load, "engine.parallelism=2", "engine.max_offsets_per_trigger=600")
    run = read_run(kafka.run(make(*sets), poison=[5, 1999]))
    counts, records = run.meta["accounting"], run.records
    assert run.meta["verdict"] != "INVALID", run.meta["verdict_reason"]
    assert (counts["sent"], counts["scored"], counts["bad"]) == (2000, 1998, 2)
    assert counts["lost"] == counts["duplicates"] == counts["in_flight"] == 0
    assert list(records[records["outcome"] == "bad"]["sequence"]) == [5, 1999]
    assert (records["fetched"] > 0).all()
    sizes = records.groupby("batch").size()
    assert sizes.max() <= 600
    assert len(sizes) >= 4


@pytest.mark.kafka
@pytest.mark.slow
def test_a_batch_that_is_broken_off_is_in_flight(make: Make, kafka: Session) -> None:
    load = ("workload.backlog.records=20000", "workload.arrival.rate=0 /s", "workload.warmup=0 s")
    sets = (*SPARK, *load, "workload.drain=0 s", "workload.duration=0.5 s", "engine.trigger_interval=100 ms")
    meta = read_run(kafka.run(make(*sets))).meta
    counts = meta["accounting"]
    assert meta["verdict"] == "BACKLOGGED", meta["verdict_reason"]
    assert counts["in_flight"] > 0
    assert counts["lost"] == counts["duplicates"] == 0
    assert counts["scored"] + counts["in_flight"] == 20000


def started_with(harness: Callable[..., Harness]) -> Harness:
    options = [f"--set={each}" for each in (*SPARK, "engine.parallelism=2", "workload.duration=120 s")]
    started = harness("--broker", "kafka", *options)
    started.until_loaded(180)
    return started


def listening(pid: int) -> set[str]:
    """Addresses that a process listens on."""
    import psutil

    return {each.laddr.ip for each in psutil.Process(pid).net_connections("inet") if each.status == "LISTEN"}


@pytest.mark.kafka
@pytest.mark.slow
def test_a_killed_jvm_ends_the_run(harness: Callable[..., Harness]) -> None:
    started = started_with(harness)
    until_acknowledged(started, 120)
    found = died(started, MAIN, b"engine")
    assert (found.records["acked"] >= 0).any()  # the side files are mapped


@pytest.mark.kafka
def test_a_killed_harness_leaves_no_jvm_and_no_files(harness: Callable[..., Harness]) -> None:
    started = started_with(harness)
    family, jvm = started.family(), started.child(MAIN)
    assert jvm in family
    assert {ip.removeprefix("::ffff:") for ip in listening(jvm)} <= {"127.0.0.1", "::1"}
    started.popen.kill()
    assert gone(family, 5.0) == []
    end = time.monotonic() + 60
    while list(started.temporary.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    assert list(started.temporary.iterdir()) == []


@pytest.mark.kafka
def test_without_tokens_nobody_signs_in_and_secrets_are_blanked() -> None:
    with Supervisor() as supervisor:
        lib = module("spark", "the jars", "engine.kind", supervisor, print)
    given = [
        "a=1 weir.polls=C",
        "security.protocol=SSL ssl.key.password=p",
        "security.protocol=SASL_SSL",
        "sasl.x=jaas",
    ]
    source = Path(__file__).parent / "jvm" / "Tokens.java"
    command = [java("engine.kind", "spark"), "-Xmx256m", "-cp", f"{lib}/*", str(source), *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    kept = "{security.protocol=SSL, set=1, ssl.key.password=p}"
    assert done.stdout.splitlines() == [
        "executor {a=1, interceptor.classes=C, set=1}",
        "source {a=1, set=1}",
        "[(a,1), (weir.polls,C)]",
        f"executor {kept}",
        f"source {kept}",
        "[(security.protocol,SSL), (ssl.key.password,*********(redacted))]",
        f"executor refused: security.protocol SASL_SSL: {NO_SASL}",
        f"source refused: security.protocol SASL_SSL: {NO_SASL}",
        "[(security.protocol,SASL_SSL)]",
        f"executor refused: sasl.x: {NO_SASL}",
        f"source refused: sasl.x: {NO_SASL}",
        "[(sasl.x,*********(redacted))]",
    ], done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("broker.kind=mock", r"broker\.kind: mock; engine spark needs a real broker"),
        ("broker.client=librdkafka-2", r"broker\.client: librdkafka-2; real's clients of engine spark are"),
        ("engine.commit_interval=1 s", r"engine\.commit_interval: Spark commits each batch when it is done"),
        ("engine.trigger_interval=1500 us", r"engine\.trigger_interval: Spark knows whole milliseconds"),
        ("faults=[{at: 1 s, target: broker, kind: kill, restart: 1 s}]", r"faults: engine spark runs without, here"),
        ("engine.poll_delay=1500 us", r"engine\.poll_delay: Spark knows whole milliseconds"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(make: Make, change: str, message: str) -> None:
    scenario = make(*SPARK, change)
    with pytest.raises(RefusedError, match=message):
        engine("spark").refuse(scenario)


def test_its_workers_are_its_task_slots(make: Make) -> None:
    spark = engine("spark")
    assert isinstance(spark, JvmEngine)
    assert spark.workers(make(*SPARK, "engine.parallelism=2")) == 2
    assert spark.workers(make(*SPARK, "engine.parallelism=2", "engine.task_slots=5")) == 5


@pytest.mark.kafka
@pytest.mark.slow
def test_more_slots_than_parallelism_are_workers_too(make: Make, kafka: Session) -> None:
    run = sound(kafka.run(make(*SPARK, "engine.task_slots=3", "workload.duration=2 s")), sent=500)
    whole(run, parallelism=3)
