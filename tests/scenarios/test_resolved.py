"""`from_resolved(resolved(s)) == s`, through JSON, for any scenario that can be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.errors import ScenarioError
from scenarios.load import from_resolved, resolved
from scenarios.metric_names import METRIC_NAMES, PARTS
from scenarios.spec import (
    S_NS,
    Arrival,
    Bound,
    Broker,
    Check,
    ConsumerSettings,
    Engine,
    Hosts,
    HostSpec,
    Model,
    Payload,
    ProducerSettings,
    Profile,
    Scenario,
    Serving,
    Workload,
)

rates = st.floats(1e-6, 900.0)
durations = st.integers(0, 100 * S_NS)
steps = st.integers(1_000_000, 100 * S_NS)
counts = st.integers(1, 4_096)


def arrivals() -> st.SearchStrategy[Arrival]:
    def of(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Arrival]:
        return st.builds(Arrival, kind=st.just(kind), **fields)

    return st.one_of(
        of("constant", rate_per_s=rates),
        of("poisson", rate_per_s=rates),
        of("gamma", rate_per_s=rates, cv=st.floats(0.01, 100)),
        of(
            "bursty",
            rate_per_s=rates,
            low_factor=st.floats(0.1, 2),
            high_factor=st.floats(0.1, 2),
            low_ns=steps,
            high_ns=steps,
            limiter_credit_ns=durations,
        ),
        of("ramp", rate_per_s=rates, to_rate_per_s=rates),
        of("square", rate_per_s=rates, to_rate_per_s=rates, period_ns=steps),
        of(
            "trace",
            path=st.just("elsewhere/trace.csv"),
            trace_kind=st.sampled_from(["counts", "gaps"]),
            interval_ns=steps,
            scale=st.floats(0.1, 10),
        ),
    )


@st.composite
def hosts(draw: st.DrawFn) -> Hosts:
    if draw(st.booleans()):
        return Hosts(predicts_this_host=draw(st.booleans()))
    own = draw(st.lists(st.sampled_from(PARTS), unique=True))
    specs = {part: HostSpec(draw(counts)) for part in own}
    if draw(st.booleans()):
        specs["default"] = HostSpec(draw(counts))
    places = {part: part for part in own}
    for part in PARTS:
        if part not in own and draw(st.booleans()):
            places[part] = draw(st.sampled_from([*own, "default"]))
    return Hosts(hosts=specs, parts=places)


def engines() -> st.SearchStrategy[Engine]:
    def of(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Engine]:
        return st.builds(Engine, kind=st.just(kind), parallelism=counts, commit_interval_ns=steps, **fields)

    return st.one_of(
        *(of(kind) for kind in ("python", "kafka-streams", "flink", "standalone")),
        of(
            "flink",
            chained=st.just(False),
            source_parallelism=st.none() | counts,
            sink_parallelism=st.none() | counts,
            buffer_timeout_ns=durations,
            buffer_bytes=counts,
            buffer_capacity=st.none() | st.integers(0, 1000),
        ),
        of("spark", trigger_interval_ns=durations, poll_delay_ns=steps, max_offsets_per_trigger=st.none() | counts),
        of(
            "ray", cpus_per_actor=st.floats(0, 4), total_cpus=st.none() | st.floats(0, 512), mailbox=st.integers(0, 999)
        ),
    )


def servings() -> st.SearchStrategy[Serving]:
    external = {"workers": counts, "batch_records": st.integers(2, 64), "batch_delay_ns": durations}
    return st.just(Serving()) | st.builds(Serving, kind=st.just("external"), **external)


@st.composite
def bounds(draw: st.DrawFn) -> tuple[Bound, ...]:
    metrics = draw(
        st.lists(st.sampled_from([m for m in METRIC_NAMES if METRIC_NAMES[m].unit in ("/s", "")]), unique=True)
    )
    value = st.integers(0, 10_000).map(float)
    return tuple(Bound(m, draw(st.sampled_from(["<", "<=", ">", ">=", "=="])), draw(value)) for m in metrics)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    kind = draw(st.sampled_from(["kafka", "mock", "external"]))
    threads = st.just(Broker()) if kind == "mock" else st.builds(Broker, io_threads=counts, network_threads=counts)
    base = draw(threads)
    model = draw(st.sampled_from(["ffnn", "noop"]))
    broker = Broker(
        kind=kind,  # type: ignore[arg-type]
        partitions=draw(counts),
        io_threads=base.io_threads,
        network_threads=base.network_threads,
        producer=draw(
            st.builds(
                ProducerSettings,
                linger_ns=durations,
                batch_bytes=counts,
                max_in_flight=counts,
                acks=st.sampled_from(["0", "1", "all"]),
                compression=st.sampled_from(["none", "lz4"]),
            )
        ),
        consumer=draw(st.builds(ConsumerSettings, max_poll_records=counts, queued_bytes=st.integers(1024, 10**9))),
        bootstrap="a.example:9092,b.example:9093" if kind == "external" else None,
    )
    engine = draw(engines())
    workload = Workload(
        arrival=draw(arrivals()),
        points=draw(counts),
        warmup_ns=draw(durations),
        duration_ns=draw(st.integers(1, 100 * S_NS)),
        drain_ns=draw(durations),
        records=draw(st.none() | counts),
        backlog_records=0 if engine.kind == "standalone" else draw(st.integers(0, 1000)),
        producers=draw(counts),
        collectors=1 if engine.kind == "standalone" else draw(counts),
        partitioner=draw(st.sampled_from(["random", "round-robin"])),
        payload=Payload(
            format=draw(st.sampled_from(["json", "binary"])), pad_bytes=draw(counts) if model == "noop" else 0
        ),
        seed=draw(st.integers(0, 2**63 - 1)),
    )
    return Scenario(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", fullmatch=True)),
        workload=workload,
        broker=broker,
        engine=engine,
        serving=draw(servings()),
        model=Model(model),
        hosts=draw(hosts()),
        slo=draw(bounds()),
        expect=draw(bounds()),
        sweep=draw(st.just({}) | st.just({"engine.parallelism": [1, 2], "workload.arrival.rate": ["5 /s"]})),
        repeats=draw(st.integers(1, 20)),
        calibration=draw(st.none() | st.just("somewhere-2024")),
        profile=draw(
            st.none()
            | st.builds(
                Profile,
                quick=st.booleans(),
                lingers_ns=st.lists(durations, min_size=1).map(tuple),
                rates_per_s=st.lists(rates, min_size=1).map(tuple),
            )
        ),
        check=draw(
            st.none()
            | st.builds(Check, rates_per_s=st.lists(rates).map(tuple), max_error=st.just({"throughput": 0.15}))
        ),
        deadline_ns=draw(st.none() | steps),
    )


@given(scenarios())
def test_a_scenario_comes_back_equal(scenario: Scenario) -> None:
    assert from_resolved(json.loads(json.dumps(resolved(scenario)))) == scenario


@given(st.sampled_from(list(METRIC_NAMES)), st.integers(0, 10**9))
def test_a_bound_comes_back_equal_to_the_nanosecond(metric: str, value_ns: int) -> None:
    value = float(value_ns) if METRIC_NAMES[metric].unit in ("/s", "") else METRIC_NAMES[metric].read(f"{value_ns} ns")
    scenario = Scenario(workload=Workload(arrival=Arrival(rate_per_s=1)), slo=(Bound(metric, "<", value),))
    assert from_resolved(json.loads(json.dumps(resolved(scenario)))) == scenario


def test_the_resolved_form_reads_like_a_file() -> None:
    scenario = Scenario(workload=Workload(arrival=Arrival(rate_per_s=30_000)), slo=(Bound("latency_p99", "<=", 100.0),))
    text = resolved(scenario)
    assert text["workload"]["arrival"] == {"kind": "constant", "rate": "30000 /s"}
    assert text["workload"]["warmup"] == "5 s"
    assert text["broker"]["producer"]["linger"] == "5 ms"
    assert text["slo"] == {"latency_p99": "<= 100 ms"}


def test_a_resolved_form_that_is_wrong_is_told() -> None:
    text = resolved(Scenario(workload=Workload(arrival=Arrival(rate_per_s=1))))
    text["engine"]["paralelism"] = 3
    with pytest.raises(ScenarioError) as caught:
        from_resolved(text, "run.json")
    assert str(caught.value).startswith("run.json: engine.paralelism: unknown key")
