"""The fields of engines, servers and their clients: what each kind reads, what it refuses, how it comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios import profiles, registry, schema
from scenarios.errors import ScenarioError
from scenarios.load import expand, from_resolved, load, resolved
from scenarios.spec import MS_NS, Engine, Scenario, Serving

SENT = "workload: {arrival: {rate: 5 /s}}\n"
UNCHAINED = "engine: {kind: flink, chained: false, source_parallelism: 3, buffer_timeout: 20 ms, buffer_capacity: 0}\n"
SERVED = "serving: {kind: external, workers: 4, batch: 8, batch_delay: 2 ms}\n"


def made(tmp_path: Path, text: str, *sets: str) -> Scenario:
    path = tmp_path / "s.yaml"
    path.write_text(SENT + text, encoding="utf-8")
    return load(path, sets)


def wrong(tmp_path: Path, text: str, *sets: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        made(tmp_path, text, *sets)
    return str(caught.value)


def test_fields_reach_the_spec(tmp_path: Path) -> None:
    flink = made(tmp_path, UNCHAINED).engine
    assert (flink.chained, flink.source_parallelism, flink.sink_parallelism) == (False, 3, None)
    assert (flink.buffer_timeout_ns, flink.buffer_bytes, flink.buffer_capacity) == (20 * MS_NS, 32_768, 0)
    spark = made(tmp_path, "engine: {kind: spark, trigger_interval: 1 s, max_offsets_per_trigger: 9}\n").engine
    assert (spark.trigger_interval_ns, spark.poll_delay_ns, spark.max_offsets_per_trigger) == (1_000 * MS_NS, 10**7, 9)
    assert made(tmp_path, "engine: {kind: spark, task_slots: 60}\n").engine == Engine("spark", task_slots=60)
    ray = made(tmp_path, "engine: {kind: ray, cpus_per_actor: 0.5, total_cpus: 12}\n").engine
    assert (ray.cpus_per_actor, ray.total_cpus) == (0.5, 12.0)
    served = made(tmp_path, SERVED + "hosts: {server: {cores: 4}}\n")
    assert served.serving == Serving("external", workers=4, batch_records=8, batch_delay_ns=2 * MS_NS)
    assert served.hosts.parts == {"server": "server"}


@pytest.mark.parametrize(
    "text",
    [
        UNCHAINED,
        SERVED,
        "engine: {kind: flink}\n",
        "engine: {kind: spark, max_offsets_per_trigger: 9}\n",
        "engine: {kind: ray, cpus_per_actor: 0.25, total_cpus: 3}\n",
        "engine: {kind: standalone, parallelism: 3}\n",
        "engine: {kind: kafka-streams}\nhosts: {engine: {cores: 8}, collector: {on: engine}}\n",
        "engine: {kind: spark}\nbroker: {client: kafka-java-4, consumer: {max_poll_records: 7}}\n",
    ],
)
def test_it_comes_back_equal(tmp_path: Path, text: str) -> None:
    scenario = made(tmp_path, text)
    assert from_resolved(json.loads(json.dumps(resolved(scenario)))) == scenario


def test_the_resolved_form_holds_what_the_engine_reads(tmp_path: Path) -> None:
    def fields(text: str) -> set[str]:
        return set(resolved(made(tmp_path, text))["engine"]) - set(schema.ENGINE_COMMON)

    assert fields("") == fields("engine: {kind: standalone}\n") == set()
    assert fields("engine: {kind: flink}\n") == {"chained", "delivery"}
    assert fields(UNCHAINED) >= {"chained", "buffer_timeout", "buffer_bytes", "buffer_capacity", "source_parallelism"}
    assert fields("engine: {kind: spark}\n") == {"trigger_interval", "poll_delay"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("engine: {kind: spark, chained: false}\n", "engine.chained: the engine spark has no chained (only flink)"),
        ("engine: {trigger_interval: 1 s}\n", "engine.trigger_interval: the engine python has no trigger_interval"),
        (
            "engine: {kind: flink, sink_parallelism: 3}\n",
            "engine.sink_parallelism: chained operators have no sink_parallelism; write chained: false beside it",
        ),
        ("engine: {kind: flink, async_capacity: 3}\n", "engine.async_capacity: asynchronous calls are not modelled"),
        ("serving: {workers: 2}\n", "serving.workers: only an external server has workers"),
        ("serving: {kind: external, batch_delay: 1 ms}\n", "serving.batch_delay: a batch of one request is complete"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(tmp_path: Path, text: str, message: str) -> None:
    assert message in wrong(tmp_path, text)


def test_without_a_broker_there_is_no_backlog(tmp_path: Path) -> None:
    backlog = ("engine.kind=standalone", "workload.backlog.records=5")
    assert "has no broker, so no topic that could hold one" in wrong(tmp_path, "", *backlog)


def test_another_kind_leaves_the_fields_of_the_one_before_behind(tmp_path: Path) -> None:
    scenario = made(tmp_path, UNCHAINED, "engine.kind=spark", "engine.parallelism=6")
    assert scenario.engine == Engine("spark", parallelism=6)
    (tmp_path / "base.yaml").write_text(SENT + UNCHAINED, encoding="utf-8")
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\nengine: {kind: ray, cpus_per_actor: 1}\n", encoding="utf-8")
    assert load(child).engine == Engine("ray", cpus_per_actor=1.0)
    swept = tmp_path / "swept.yaml"
    swept.write_text("extends: base.yaml\nsweep: {engine.kind: [python, flink, standalone]}\n", encoding="utf-8")
    kinds = [point.engine for _, point in expand(swept)]
    assert kinds[0] == Engine("python")
    assert kinds[1].source_parallelism == 3
    assert kinds[2] == Engine("standalone")
    (tmp_path / "served.yaml").write_text(SENT + SERVED + "sweep: {serving.kind: [embedded, external]}\n")
    assert [point.serving.workers for _, point in expand(tmp_path / "served.yaml")] == [None, 4]


@pytest.mark.parametrize(
    ("kind", "client", "linger_ms", "poll"),
    [
        ("python", "librdkafka-2", 5, 500),
        ("ray", "librdkafka-2", 5, 500),
        ("flink", "kafka-java-3", 0, 500),
        ("spark", "kafka-java-3", 0, 500),
        ("kafka-streams", "kafka-streams-3", 100, 1_000),
    ],
)
def test_an_engine_has_the_defaults_of_its_own_client(
    tmp_path: Path, kind: str, client: str, linger_ms: int, poll: int
) -> None:
    broker = made(tmp_path, f"engine: {{kind: {kind}}}\n").broker
    assert broker.client_profile == client
    assert broker.producer.linger_ns == linger_ms * MS_NS
    assert broker.consumer.max_poll_records == poll
    named = made(tmp_path, f"engine: {{kind: {kind}}}\nbroker: {{client: kafka-java-4}}\n").broker
    assert (named.client_profile, named.producer.linger_ns) == ("kafka-java-4", 5 * MS_NS)


def test_java_clients_call_back_and_send_small_batches() -> None:
    for name in ("kafka-java-3", "kafka-java-4", "kafka-streams-3"):
        profile = profiles.PROFILES[name]
        assert profile.calls_back
        assert (profile.producer.batch_bytes, profile.producer.max_in_flight) == (16_384, 5)
    assert not profiles.PROFILES["librdkafka-2"].calls_back


def test_every_engine_says_which_fields_it_reads() -> None:
    assert set(schema.ENGINE_FIELDS) == set(registry.ENGINES)
    read = {name for names in schema.ENGINE_FIELDS.values() for name in names}
    assert read | set(schema.ENGINE_COMMON) == set(schema.Engine.model_fields)
