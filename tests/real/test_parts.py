"""The harness' smaller parts, each by itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.fingerprint import fingerprint
from real import brokers, procfs, settings
from real.brokers import jars
from real.clean import abandoned
from real.counters import requests_between
from real.engines import module_of
from real.errors import BrokerError, RefusedError
from real.plan import plan, refuse_elsewhere
from real.processes import Supervisor
from real.wire import Slots
from scenarios.spec import S_NS, Broker, ConsumerSettings, Hosts, HostSpec, ProducerSettings
from tests.real.conftest import ROOT, Harness, Make

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("hosts", "key"),
    [
        (Hosts(hosts={"engine": HostSpec(CORES)}, parts={"engine": "engine"}), "hosts.engine"),
        (Hosts(hosts={"default": HostSpec(CORES + 1)}), "hosts.default.cores"),
        (Hosts(parts={"broker": "big"}), "hosts.broker.on"),
    ],
)
def test_another_host_is_refused_by_its_key(make: Make, hosts: Hosts, key: str) -> None:
    with pytest.raises(RefusedError) as caught:
        refuse_elsewhere(replace(make(), hosts=hosts))
    assert caught.value.key == key


@pytest.mark.parametrize(
    "hosts",
    [
        Hosts(),
        Hosts(predicts_this_host=True),
        Hosts(hosts={"default": HostSpec(CORES)}),
        Hosts(hosts={socket.gethostname(): HostSpec(CORES)}, parts={"engine": socket.gethostname()}),
    ],
)
def test_this_host_is_not_refused(make: Make, hosts: Hosts) -> None:
    refuse_elsewhere(replace(make(), hosts=hosts))


def test_a_plan_has_its_window(make: Make) -> None:
    planned = plan(make())
    assert planned.window_ns == (S_NS // 2, 3 * S_NS)
    assert (planned.load_end_ns, planned.stop_ns) == (3 * S_NS, 8 * S_NS)
    assert len(planned.due) == len(planned.partition) == 600
    assert set(planned.partition) == {0, 1, 2, 3}


def test_records_end_the_window_one_gap_after_the_last(make: Make) -> None:
    planned = plan(make("workload.records=200"))
    assert planned.by_records
    assert planned.window_ns == (S_NS // 2, S_NS)


def test_a_backlog_comes_first_and_has_no_fixed_window(make: Make) -> None:
    planned = plan(make("workload.backlog.records=10"))
    assert list(planned.due[:11]) == [0] * 11
    assert planned.window_ns is None
    assert len(planned.due) == 610


def test_requests_are_interpolated_to_the_edges() -> None:
    samples = [(0, 0), (100, 10), (200, 40)]
    assert requests_between(samples, 50, 150) == 20
    assert requests_between(samples, 0, 200) == 40
    assert requests_between([], 0, 1) is None


def test_settings_are_the_scenarios() -> None:
    producer = settings.producer("b:1", ProducerSettings(linger_ns=1_500_000, acks="1", compression="lz4"))
    assert (producer["linger.ms"], producer["acks"], producer["compression.type"]) == (1.5, "1", "lz4")
    assert producer["socket.nagle.disable"] is True
    consumer = settings.consumer("b:1", ConsumerSettings(fetch_max_wait_ns=20_000_000), "g")
    assert consumer["fetch.wait.max.ms"] == 20
    assert consumer["enable.auto.commit"] is False


def test_threads_and_processes_are_read() -> None:
    own = procfs.threads(os.getpid())
    assert own[os.getpid()].cpu_ns > 0
    before, end = procfs.process_cpu_ns(os.getpid()), time.monotonic() + 0.05
    while time.monotonic() < end:
        pass
    after = procfs.process_cpu_ns(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before > 10_000_000
    assert procfs.rss_bytes(os.getpid()) > 1_000_000
    assert len(procfs.cores().used_ns) == os.cpu_count()


def test_what_is_gone_reads_as_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    pid = int(done.stdout)
    assert procfs.threads(pid) == {}
    assert (procfs.rss_bytes(pid), procfs.start_time(pid), procfs.process_cpu_ns(pid)) == (-1, None, None)


def test_slots_are_seen_by_another_process(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "slots", 4, create=True)
    code = f"from real.wire import Slots; Slots({str(tmp_path / 'slots')!r}, 4).values[2] = 7"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert slots.copy() == [0, 0, 7, 0]


def test_a_topic_of_a_dead_harness_is_told_from_a_living_one() -> None:
    host = "".join(c for c in socket.gethostname() if c.isalnum() and c.isascii())
    own = procfs.start_time(os.getpid())
    assert not abandoned(f"weir-{host}-{os.getpid()}-{own}-abcdef-in")
    assert abandoned(f"weir-{host}-{os.getpid()}-1-abcdef-out")
    assert not abandoned(f"weir-elsewhere9-{os.getpid()}-1-abcdef-out")
    assert not abandoned("orders")


def test_unknown_words_are_refused() -> None:
    with pytest.raises(RefusedError, match=r"engine\.kind"):
        module_of("nonesuch")
    with Supervisor() as supervisor, pytest.raises(RefusedError, match=r"broker\.kind"):
        brokers.make(replace(Broker(), kind="nonesuch"), supervisor, print)  # type: ignore[arg-type]


def test_without_java_the_mock_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with Supervisor() as supervisor, pytest.raises(RefusedError, match="--broker mock"):
        brokers.make(Broker(), supervisor, print)


def test_without_maven_the_mock_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with Supervisor() as supervisor, pytest.raises(RefusedError, match="mvn"):
        jars.jars("broker", supervisor, print)


def test_a_failed_fetch_tells_what_maven_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho no route to anywhere >&2\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Supervisor() as supervisor, pytest.raises(BrokerError, match="no route to anywhere"):
        jars.jars("broker", supervisor, print)
    assert list((tmp_path / "cache" / "weir" / "jars").iterdir()) == []


def test_the_fingerprint_names_the_machine() -> None:
    found = fingerprint()
    assert found["cores"] == CORES
    assert found["memory_bytes"] > 0
    assert found["cpu_model"]


def test_an_external_broker_that_is_not_there_is_an_error(harness: Callable[..., Harness]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = harness("--bootstrap", f"127.0.0.1:{port}")
    _, err = started.popen.communicate(timeout=40)
    assert started.popen.returncode == 1
    assert b"does not answer" in err


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--set", "nonesuch=1"), 2, b"nonesuch"),
        (("--set", "hosts.engine.cores=999"), 2, b"hosts.engine"),
        (("--set", "expect.throughput=100000 /s", "--json"), 3, b"expect: throughput"),
        (("--set", "workload.backlog.records=4000", "--set", "workload.arrival.rate=0 /s"), 1, b"backlog-lost"),
    ],
)
def test_exit_codes(harness: Callable[..., Harness], options: tuple[str, ...], code: int, words: bytes) -> None:
    started = harness(*options)
    out, err = started.popen.communicate(timeout=60)
    assert started.popen.returncode == code, err
    assert words in out + err
