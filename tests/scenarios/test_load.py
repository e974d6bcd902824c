"""What a file means: defaults, extends, --set, sweeps, hosts and bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scenarios.errors import ScenarioError
from scenarios.load import expand, from_resolved, load, resolved
from scenarios.profiles import PROFILES
from scenarios.spec import MS_NS, S_NS, Bound, Broker, Hosts, HostSpec, Scenario, Workload
from scenarios.sweeps import keys_of

SENT = "workload: {arrival: {rate: 5 /s}}\n"


def write(folder: Path, text: str, name: str = "s.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str, *sets: str) -> Scenario:
    return load(write(folder, text), sets)


def test_defaults_are_the_specs(tmp_path: Path) -> None:
    scenario = read(tmp_path, SENT)
    assert scenario.name == "s"
    assert scenario.broker == Broker()
    assert scenario.workload.duration_ns == Workload().duration_ns
    assert scenario.workload.arrival.rate_per_s == 5.0


def test_the_client_profile_gives_what_is_left_out(tmp_path: Path) -> None:
    profile = PROFILES["librdkafka-2"]
    scenario = read(tmp_path, SENT + "broker: {producer: {acks: 1}, consumer: {fetch_min: 1 KiB}}\n")
    assert (scenario.broker.producer.acks, scenario.broker.producer.linger_ns) == ("1", profile.producer.linger_ns)
    assert scenario.broker.consumer.fetch_min_bytes == 1024
    assert scenario.broker.consumer.queued_records == profile.consumer.queued_records == 100_000


def test_the_specs_defaults_are_librdkafkas() -> None:
    assert PROFILES["librdkafka-2"].producer == Broker().producer
    assert PROFILES["librdkafka-2"].consumer == Broker().consumer


def test_every_unit_arrives_in_base_units(tmp_path: Path) -> None:
    scenario = read(
        tmp_path,
        "workload: {arrival: {kind: bursty, rate: 60 /min, low: 2 min, high: 500 ms}, backlog: {records: 9},"
        " payload: {pad: 3 KiB, serialise: each}, drain: 0 s, records: 7, seed: 3}\n"
        "broker: {producer: {linger: 0 ms, batch_bytes: 16 KiB}, consumer: {fetch_max_wait: 5 ms, queued: 1 MiB}}\n"
        "model: {name: noop}\ndeadline: 2 min\n",
    )
    arrival = scenario.workload.arrival
    assert (arrival.rate_per_s, arrival.low_ns, arrival.high_ns) == (1.0, 120 * S_NS, 500 * MS_NS)
    assert (scenario.workload.backlog_records, scenario.workload.payload.pad_bytes) == (9, 3072)
    assert (scenario.workload.drain_ns, scenario.workload.records, scenario.workload.seed) == (0, 7, 3)
    assert (scenario.broker.producer.linger_ns, scenario.broker.producer.batch_bytes) == (0, 16_384)
    assert (scenario.broker.consumer.fetch_max_wait_ns, scenario.broker.consumer.queued_bytes) == (5 * MS_NS, 1 << 20)
    assert scenario.deadline_ns == 120 * S_NS


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("this", Hosts(predicts_this_host=True)),
        ("{}", Hosts()),
        (
            "{engine: {cores: 64}, broker: {cores: 16}, collector: {on: broker}}",
            Hosts(
                hosts={"engine": HostSpec(64), "broker": HostSpec(16)},
                parts={"engine": "engine", "broker": "broker", "collector": "broker"},
            ),
        ),
        (
            "{default: {cores: 2}, engine: {on: default}}",
            Hosts(hosts={"default": HostSpec(2)}, parts={"engine": "default"}),
        ),
        ("{box: {cores: 8}, engine: {on: box}}", Hosts(hosts={"box": HostSpec(8)}, parts={"engine": "box"})),
    ],
)
def test_hosts(tmp_path: Path, text: str, hosts: Hosts) -> None:
    assert read(tmp_path, SENT + f"hosts: {text}\n").hosts == hosts


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("latency_p99: < 50 ms", [("latency_p99", "<", 50.0)]),
        ("latency_acked_p50: 100 us", [("latency_acked_p50", "<=", 0.1)]),
        ("throughput: '>= 1000 /s'", [("throughput", ">=", 1000.0)]),
        ("throughput: 60 /min", [("throughput", ">=", 1.0)]),
        ("loss: 0", [("loss", "<=", 0.0)]),
        ("loss: '== 0'", [("loss", "==", 0.0)]),
        ("loss: < 1 %", [("loss", "<", 0.01)]),
        ("cpu_per_record_engine: 1 ms", [("cpu_per_record_engine", "<=", 1000.0)]),
        ("lag_slope: < 5 /s", [("lag_slope", "<", 5.0)]),
        ("latency_p50: ['> 1 ms', '< 2 ms']", [("latency_p50", ">", 1.0), ("latency_p50", "<", 2.0)]),
    ],
)
def test_bounds(tmp_path: Path, text: str, bounds: list[tuple[str, Any, float]]) -> None:
    for section in ("slo", "expect"):
        scenario = read(tmp_path, SENT + f"{section}:\n  {text}\n")
        assert getattr(scenario, section) == tuple(Bound(*bound) for bound in bounds)


def test_extends_merges_replaces_and_removes(tmp_path: Path) -> None:
    write(
        tmp_path,
        "name: base\nworkload: {arrival: {kind: gamma, rate: 5 /s, cv: 2}, points: 3}\nslo: {loss: 0}\n"
        "engine: {parallelism: 2}\nsweep: {engine.parallelism: [1, 2], workload.points: [1], repeats: 3}\n",
        "base.yaml",
    )
    scenario = read(
        tmp_path,
        "extends: base.yaml\nworkload: {arrival: {kind: poisson}}\nslo: null\nsweep: {workload.points: null}\n",
    )
    assert scenario.name == "s"  # a file without a name of its own has its file's, not its base's
    assert (scenario.workload.points, scenario.engine.parallelism, scenario.repeats) == (3, 2, 3)
    assert (scenario.workload.arrival.kind, scenario.workload.arrival.rate_per_s) == ("poisson", 5.0)
    assert scenario.workload.arrival.cv is None  # a field the new kind has not stays behind
    assert scenario.slo == ()
    assert scenario.sweep == {"engine.parallelism": [1, 2]}


def test_extends_is_relative_to_the_file_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, SENT, "base.yaml")
    (tmp_path / "t.csv").write_text("1\n2\n", encoding="utf-8")
    write(tmp_path, "workload: {arrival: {kind: trace, path: t.csv}}\n", "traced.yaml")
    assert load(write(tmp_path / "deep", "extends: ../base.yaml\n")).workload.arrival.rate_per_s == 5.0
    path = load(write(tmp_path / "deep", "extends: ../traced.yaml\n")).workload.arrival.path
    assert path == str((tmp_path / "t.csv").resolve())


def test_a_set_goes_over_the_file_in_order(tmp_path: Path) -> None:
    scenario = read(
        tmp_path,
        SENT + "model: ffnn\nslo: {loss: 0}\n",
        "engine.parallelism=3",
        "engine.parallelism=4",
        "model.name=noop",
        "workload.payload.pad=2 KiB",
        "workload.arrival.kind=gamma",
        "workload.arrival.cv=0.5",
        "slo.latency_p99=< 5 ms",
        "broker={kind: mock}",
    )
    assert (scenario.engine.parallelism, scenario.model.name, scenario.broker.kind) == (4, "noop", "mock")
    assert (scenario.workload.arrival.kind, scenario.workload.arrival.rate_per_s) == ("gamma", 5.0)
    assert scenario.slo == (Bound("loss", "<=", 0.0), Bound("latency_p99", "<", 5.0))


def test_the_grid_goes_as_written_with_the_last_key_fastest(tmp_path: Path) -> None:
    text = SENT + "sweep: {workload.arrival.rate: [6 /s, 7 /s], engine.parallelism: [1, 2], repeats: 5}\n"
    points = expand(write(tmp_path, text))
    assert [tuple(keys.values()) for keys, _ in points] == [("6 /s", 1), ("6 /s", 2), ("7 /s", 1), ("7 /s", 2)]
    assert list(points[0][0]) == ["workload.arrival.rate", "engine.parallelism"]
    assert [(s.workload.arrival.rate_per_s, s.engine.parallelism) for _, s in points] == [
        (6, 1),
        (6, 2),
        (7, 1),
        (7, 2),
    ]
    assert all(s.sweep == {} and s.repeats == 5 for _, s in points)
    whole = load(write(tmp_path, text))
    assert whole.sweep == {"workload.arrival.rate": ["6 /s", "7 /s"], "engine.parallelism": [1, 2]}
    assert whole.workload.arrival.rate_per_s == 5.0  # the file's own value


def test_a_key_that_only_the_sweep_sets_takes_its_first_value(tmp_path: Path) -> None:
    assert read(tmp_path, "sweep: {workload.arrival.rate: [6 /s, 7 /s]}\n").workload.arrival.rate_per_s == 6.0


ZIPPED = (
    SENT + "sweep: {zip: {engine.parallelism: [1, 2, 4], broker.partitions: [4, 8, 16]}, "
    "workload.points: [1, 8], repeats: 3}\n"
)


def settings(points: list[tuple[dict[str, Any], Any]]) -> list[tuple[int, int, int]]:
    return [(s.engine.parallelism, s.broker.partitions, s.workload.points) for _, s in points]


def test_zipped_keys_change_together(tmp_path: Path) -> None:
    path = write(tmp_path, ZIPPED)
    points = expand(path)
    assert settings(points) == [(1, 4, 1), (1, 4, 8), (2, 8, 1), (2, 8, 8), (4, 16, 1), (4, 16, 8)]
    assert points[2][0] == {"engine.parallelism": 2, "broker.partitions": 8, "workload.points": 1}
    assert list(points[2][0]) == ["engine.parallelism", "broker.partitions", "workload.points"]
    assert all(s.sweep == {} and s.repeats == 3 for _, s in points)
    whole = load(path)
    assert (whole.engine.parallelism, whole.repeats) == (1, 3)
    assert keys_of(whole.sweep) == list(points[0][0])
    again = from_resolved(json.loads(json.dumps(resolved(whole))))
    assert again == whole
    assert list(again.sweep) == list(whole.sweep) == ["zip", "workload.points"]


def test_several_groups_are_an_axis_each_where_zip_stands(tmp_path: Path) -> None:
    text = (
        "sweep:\n  workload.points: [1, 8]\n  zip:\n    - {engine.parallelism: [1, 2]}\n"
        "    - {broker.partitions: [4, 8], workload.seed: [5, 6]}\n"
    )
    points = expand(write(tmp_path, SENT + text))
    assert settings(points) == [(n, p, k) for k in (1, 8) for n in (1, 2) for p in (4, 8)]
    assert [s.workload.seed for _, s in points] == [5, 6] * 4


def test_zipped_values_need_to_fit_only_together(tmp_path: Path) -> None:
    text = "sweep: {zip: {model: [noop, ffnn], workload.payload.pad: [1 KiB, 0 B]}}\n"
    points = expand(write(tmp_path, SENT + text))
    assert [(s.model.name, s.workload.payload.pad_bytes) for _, s in points] == [("noop", 1024), ("ffnn", 0)]
    with pytest.raises(ScenarioError, match="pad sets the size"):
        expand(write(tmp_path, SENT + text.replace("{zip: {", "{").replace("}}", "}")))


def test_a_set_pins_a_zipped_key_or_changes_its_list(tmp_path: Path) -> None:
    path = write(tmp_path, ZIPPED)
    assert settings(expand(path, ["engine.parallelism=8"]))[::2] == [(8, 4, 1), (8, 8, 1), (8, 16, 1)]
    both = ["engine.parallelism=8", "broker.partitions=32"]
    assert settings(expand(path, both)) == [(8, 32, 1), (8, 32, 8)]
    assert load(path, both).sweep == {"workload.points": [1, 8]}
    assert len(expand(path, ["sweep.zip=null"])) == 2
    assert len(expand(path, ["sweep.zip.broker.partitions=[4, 8, 12]", "workload.points=1"])) == 3
    with pytest.raises(ScenarioError, match=r"^--set: sweep.zip.broker.partitions: lists that are zipped"):
        expand(path, ["sweep.zip.broker.partitions=[4]"])
    one, two = "[{engine.parallelism: [1, 2]}, {broker.partitions: [4, 8]}]", "engine.parallelism=3"
    assert len(expand(write(tmp_path, SENT + f"sweep: {{zip: {one}}}\n"), [two])) == 2


def test_a_set_pins_a_swept_key(tmp_path: Path) -> None:
    path = write(tmp_path, SENT + "sweep: {engine.parallelism: [1, 2], workload.points: [1, 2]}\n")
    points = expand(path, ["engine.parallelism=8"])
    assert [(keys, s.engine.parallelism) for keys, s in points] == [
        ({"workload.points": 1}, 8),
        ({"workload.points": 2}, 8),
    ]
    assert load(path, ["engine.parallelism=8"]).sweep == {"workload.points": [1, 2]}
    assert len(expand(path, ["sweep=null"])) == 1
    assert len(expand(path, ["sweep.engine.parallelism=[1, 2, 3]"])) == 6


def test_no_sweep_is_one_point(tmp_path: Path) -> None:
    ((keys, scenario),) = expand(write(tmp_path, SENT))
    assert keys == {}
    assert scenario == load(tmp_path / "s.yaml")


def test_equal_values_in_a_sweep_are_points_of_their_own(tmp_path: Path) -> None:
    assert len(expand(write(tmp_path, SENT + "sweep: {workload.seed: [1, 1, 2]}\n"))) == 3


def test_whole_sections_can_be_swept(tmp_path: Path) -> None:
    text = (
        SENT
        + "sweep:\n  workload.arrival:\n    - {kind: constant, rate: 5 /s}\n    - {kind: gamma, rate: 6 /s, cv: 2}\n"
        "  model: [ffnn, noop]\n  hosts.engine.cores: [1, 2]\n"
    )
    points = expand(write(tmp_path, text))
    assert len(points) == 8
    assert points[-1][1].workload.arrival.cv == 2.0
    assert points[-1][1].model.name == "noop"
    assert points[-1][1].hosts.hosts == {"engine": HostSpec(2)}
