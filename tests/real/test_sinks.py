"""Metrics of runs and model servers in real InfluxDB and Prometheus servers, in files, and on dashboards."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from models.messages import Descriptor, encode_descriptor
from real.dashboards import make
from real.errors import RefusedError
from real.processes import Supervisor
from real.servers.base import free_ports
from real.session import Session
from real.sinks import KINDS, Sinks, influxdb
from real.sinks.debian import program, start_influxdb, start_prometheus
from real.sinks.influxdb import InfluxSink, Target, query_url, target
from real.sinks.points import Point, as_json, line
from real.sinks.prometheus import PrometheusSink
from real.sinks.served import calculated
from scenarios.load import load
from tests.real.streams import onnx_model

pytestmark = pytest.mark.measures

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0


def until(found: Callable[[], Any]) -> Any:
    """Waits until something is there."""
    end = time.monotonic() + LIMIT_S
    while not (value := found()):
        assert time.monotonic() < end, value
        time.sleep(0.05)
    return value


def had(package: str, inside: str) -> Path:
    """A program of a Debian package; skips where it cannot be had."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip(f"{package} comes from a Debian package, and there is no apt-get or dpkg-deb here")
    try:
        return program(package, inside)
    except RefusedError as error:
        pytest.skip(f"{package} cannot be had here: {error}")


@pytest.fixture(scope="module")
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as found:
        yield found


@pytest.fixture(scope="module")
def influx(supervisor: Supervisor) -> str:
    had("influxdb", "usr/bin/influxd")
    return start_influxdb(supervisor)


def values(url: str, database: str, query: str) -> list[list[Any]]:
    with urllib.request.urlopen(query_url(url, database, query), timeout=30) as answer:
        found = json.load(answer)
    for result in found["results"]:
        assert "error" not in result, (query, result)
    return [row for result in found["results"] for series in result.get("series", []) for row in series["values"]]


def series(url: str, query: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/api/v1/query?query={quote(query)}", timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


# -- points -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "text"),
    [
        (
            Point("serving", {"engine": "W", "model": "m"}, {"d": 0.5, "n": 2}, 7),
            "serving,engine=W,model=m d=0.5,n=2i 7",
        ),
        (Point("a b,c", {"k =": "v,w x"}, {"f": True}, 1), r"a\ b\,c,k\ \==v\,w\ x f=true 1"),
        (Point("m", {"k": "two\nlines\\"}, {"f": 'say "so"\\'}, 1), r'm,k=two\ lines f="say \"so\"\\" 1'),
        (Point("m", {"empty": ""}, {"f": math.nan, "g": 1e300, "h": 1 << 70}, 1), "m g=1e+300 1"),
        (Point("m", {}, {"f": math.inf}, 1), None),
    ],
)
def test_a_point_in_line_protocol(point: Point, text: str | None) -> None:
    assert line(point) == text
    assert (as_json(point) is None) == (text is None)


def test_a_prediction_is_one_number() -> None:
    assert calculated([[5.5]]) == 5.5
    assert calculated([[0.1, 0.7, 0.2]]) == 1.0
    assert math.isnan(calculated([]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("grafana:x", "none of prometheus:, influxdb:, file:"),
        ("file", "none of"),
        ("file:", "names no file"),
        ("file:/absent-folder/m", "cannot be written"),
        ("influxdb://127.0.0.1:99999999/db", "no port"),
        ("influxdb://127.0.0.1/db?retain=x", "retain"),
        ("influxdb://127.0.0.1/db?duration=long", "no duration"),
        ("influxdb://me:secret@127.0.0.1/db", "INFLUXDB_USER"),
        ("prometheus://127.0.0.1:0/path", "is not prometheus"),
        ("prometheus://0.0.0.0:0", "WEIR_METRICS_TOKEN"),
    ],
)
def test_what_is_asked_wrongly_is_refused(text: str, words: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(words)):
        Sinks([text])


def test_a_server_that_does_not_answer_is_refused_before_the_run() -> None:
    (port,) = free_ports(1)
    with pytest.raises(RefusedError, match="does not answer"):
        Sinks([f"influxdb://127.0.0.1:{port}"])
    assert set(KINDS) == {"prometheus", "influxdb", "file"}


def test_the_seeds_defaults() -> None:
    assert target("influxdb://h") == Target("http://h:8086", "serving", "default", "1d", "30m", None)
    assert (influxdb.BATCH_POINTS, influxdb.BATCH_S) == (2_000, 0.1)


def test_the_seeds_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INFLUXDB_HOST", "INFLUXDB_PORT", "GRAFANA_HOST", "GRAFANA_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert influxdb.from_environment() == []
    monkeypatch.setenv("GRAFANA_HOST", "g")
    assert influxdb.from_environment() == []
    monkeypatch.setenv("INFLUXDB_HOST", "http://influx.example")
    (asked,) = influxdb.from_environment()
    assert target(asked) == Target("http://influx.example:8086", grafana="http://g:3000")
    monkeypatch.setenv("INFLUXDB_PORT", "tcp://10.0.0.1:8086")
    with pytest.raises(RefusedError, match="no port"):
        influxdb.from_environment()


def test_a_command_refuses_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "real", "run", "scenarios/model_stream/lifecycle.yaml", "--metrics", "file:"]
    done = subprocess.run([*command, "-o", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


# -- a run, told to all three -----------------------------------------------------------------------------------


@dataclass
class Told:
    influx: str
    prometheus: str
    file: Path
    meta: dict[str, Any]


@pytest.fixture(scope="module")
def told(influx: str, supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A run with a stream of models, and what the servers hold of it."""
    had("prometheus", "usr/bin/prometheus")
    folder = tmp_path_factory.mktemp("told")
    (port,) = free_ports(1)
    prometheus = start_prometheus(supervisor, [f"127.0.0.1:{port}"], "200ms")
    file = folder / "metrics.lp"
    metrics = [f"influxdb://{influx.removeprefix('http://')}", f"prometheus://127.0.0.1:{port}", f"file:{file}"]
    # Each model serves for more than two points: a rate needs two.
    sets = ["workload.duration=7 s", "model_stream.every=3 s"]
    scenario = load(ROOT / "scenarios" / "model_stream" / "lifecycle.yaml", sets)
    with Session(out=folder, broker="mock", warm_s=0, metrics=metrics) as session:
        path = session.run(scenario)
        meta = json.loads((path / "run.json").read_text())
        out = meta["accounting"]["scored"]
        until(lambda: [x for x in series(prometheus, "weir_run_out_total") if x["value"][1] == str(out)])
    assert [(sink.lost, sink.sent > 0) for sink in session.sinks.all] == [(0, True)] * 3
    return Told(influx, prometheus, file, meta)


TOTALS = {
    "sent_total": ("accounting", "sent"),
    "out_total": ("accounting", "scored"),
    "dropped_no_model_total": ("accounting", "dropped_no_model"),
    "bad_total": ("accounting", "bad"),
    "models_received_total": ("model_stream", "models_received"),
    "load_failures_total": ("model_stream", "load_failures"),
    "swaps_total": ("model_stream", "swaps"),
}


@pytest.mark.parametrize("field", TOTALS)
def test_the_last_totals_are_the_runs(told: Told, field: str) -> None:
    section, key = TOTALS[field]
    expected = told.meta[section][key]
    assert values(told.influx, "serving", f"SELECT last({field}) FROM weir_run")[0][1] == expected
    (found,) = series(told.prometheus, f"max_over_time(weir_run_{field}[10m])")
    assert float(found["value"][1]) == expected
    last = [text for text in told.file.read_text().splitlines() if text.startswith("weir_run")][-1]
    assert f"{field}={expected}i" in last


def test_latencies_are_those_of_the_records(told: Told) -> None:
    rows = values(told.influx, "serving", "SELECT latency_acked_ms_p50, latency_acked_ms_p99 FROM weir_run")
    assert rows
    assert all(0 < p50 <= p99 for _, p50, p99 in rows)
    p50s = sorted(p50 for _, p50, _ in rows)
    assert p50s[0] <= told.meta["metrics"]["latency_acked_ms_p50"] <= p50s[-1]


def test_every_model_that_served_a_while_is_told(told: Told) -> None:
    found = {row[1] for row in values(told.influx, "serving", 'SHOW TAG VALUES FROM weir_model WITH KEY = "model"')}
    assert len(found) >= 2
    swapped = {each["labels"]["model"] for each in _exposed(told) if each["name"] == "weir_model_version"}
    assert len(swapped) <= 1  # only what serves at the end is still told


def _exposed(told: Told) -> list[dict[str, Any]]:
    found = series(told.prometheus, "weir_model_version")
    return [{"name": each["metric"]["__name__"], "labels": each["metric"]} for each in found]


def test_database_and_retention_are_made_and_then_left_alone(told: Told) -> None:
    policies = values(told.influx, "serving", "SHOW RETENTION POLICIES ON serving")
    assert [(row[0], row[1], row[-1]) for row in policies] == [("default", "24h0m0s", True)]
    again = InfluxSink(Target(told.influx, duration="2d"))
    again.close()
    assert again.made == []
    assert values(told.influx, "serving", "SHOW RETENTION POLICIES ON serving") == policies
    own = InfluxSink(Target(told.influx, 'a "b', "weekly", "7d", "1d"))
    own.put([Point("m", {}, {"f": 1}, time.time_ns())])
    own.close()
    assert (own.made, own.sent, own.lost) == (["database", "retention"], 1, 0)
    assert values(told.influx, 'a "b', "SELECT count(f) FROM m")[0][1] == 1


@pytest.mark.parametrize("kind", make.KINDS)
def test_a_dashboards_queries_find_what_a_run_told(told: Told, kind: str) -> None:
    """Run by the servers themselves; what only a model server tells may be empty here."""
    empty = []
    for panel in make.dashboard(kind)["panels"]:
        for each in panel["targets"]:
            if kind == "influxdb":
                query = each["query"].replace("$timeFilter", "time > now() - 1h").replace("$__interval", "1s")
                found: list[Any] = values(told.influx, "serving", query)
            else:
                name = each["expr"].replace("$__rate_interval", "10m")
                found = series(told.prometheus, f"last_over_time(({name})[10m:200ms])")
            if not found:
                empty.append(panel["title"])
    assert set(empty) <= {"Model servers: records", "Serving result", "Execution time"}


# -- batches and faults -----------------------------------------------------------------------------------------


def test_many_points_arrive_in_few_batches(influx: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = InfluxSink(Target(influx, "many"))
    asked: list[int] = []
    write = sink._write

    def counted(batch: list[str]) -> list[str] | None:
        asked.append(len(batch))
        return write(batch)

    monkeypatch.setattr(sink, "_write", counted)
    now = time.time_ns()
    sink.put([Point("m", {}, {"f": i}, now + i) for i in range(5_000)])
    sink.close()
    assert (sink.sent, sink.lost) == (5_000, 0)
    assert (max(asked), len(asked)) == (2_000, 3)
    assert values(influx, "many", "SELECT count(f) FROM m")[0][1] == 5_000


def test_points_that_are_refused_are_lost_and_the_next_are_not(influx: str) -> None:
    sink = InfluxSink(Target(influx, "refused"))
    now = time.time_ns()
    sink.put([Point("m", {}, {"f": 1.5}, now)])
    until(lambda: sink.sent == 1)
    sink.put([Point("m", {}, {"f": "text"}, now + 1)])  # a field keeps its first type
    until(lambda: sink.lost == 1)
    sink.put([Point("m", {}, {"f": 2.5}, now + 2)])
    sink.close()
    assert (sink.sent, sink.lost) == (2, 1)


def test_a_server_that_went_away_costs_points_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    had("influxdb", "usr/bin/influxd")
    monkeypatch.setattr(influxdb, "_CLOSE_S", 0.5)
    with Supervisor() as own:
        sink = InfluxSink(Target(start_influxdb(own)))
        own.kill(list(own.processes))
        sink.put([Point("m", {}, {"f": i}, i + 1) for i in range(10)])
        sink.close()
    assert (sink.sent, sink.lost) == (0, 10)


def test_a_server_that_halts_for_a_while_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    had("influxdb", "usr/bin/influxd")
    monkeypatch.setattr(influxdb, "_ANSWER_S", 0.5)
    with Supervisor() as own:
        url = start_influxdb(own)
        sink = InfluxSink(Target(url))
        failed: list[int] = []
        write = sink._write

        def watched(batch: list[str]) -> list[str] | None:
            kept = write(batch)
            failed.extend([1] if kept else [])
            return kept

        monkeypatch.setattr(sink, "_write", watched)
        os.kill(own.processes[0].pid, signal.SIGSTOP)
        sink.put([Point("m", {}, {"f": i}, time.time_ns() + i) for i in range(10)])
        until(lambda: failed)
        os.kill(own.processes[0].pid, signal.SIGCONT)
        monkeypatch.setattr(influxdb, "_ANSWER_S", 30.0)
        until(lambda: sink.sent == 10)
        sink.close()
        assert sink.lost == 0
        assert values(url, "serving", "SELECT count(f) FROM m")[0][1] == 10  # what came twice is once there


# -- Prometheus' own eyes -----------------------------------------------------------------------------------------


def scraped(sink: PrometheusSink, token: str | None = None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(sink.where, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_exposition_passes_prometheus_own_lint() -> None:
    promtool = had("prometheus", "usr/bin/promtool")
    sink = PrometheusSink()
    try:
        tags = {"scenario": 'a "b"\\', "odd-tag": "x"}
        sink.put([Point("weir_run", tags, {"sent_total": 3, "lag": 1.5, "text": "no series"}, 1)])
        status, text = scraped(sink)
    finally:
        sink.close()
    assert status == 200
    assert 'weir_run_sent_total{odd_tag="x",scenario="a \\"b\\"\\\\"} 3.0' in text
    assert "weir_run_text" not in text
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_beyond_loopback_a_token_is_needed() -> None:
    sink = PrometheusSink("127.0.0.1", 0, "secret")
    try:
        sink.put([Point("m", {}, {"f": 1}, 1)])
        assert [scraped(sink, token)[0] for token in (None, "wrong", "secret")] == [401, 401, 200]
        sink.forget("m")
        assert "m_f" not in scraped(sink, "secret")[1]
    finally:
        sink.close()


# -- dashboards -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", make.KINDS)
def test_a_dashboard_is_as_it_is_made(kind: str) -> None:
    assert make.path(kind).read_text() == make.text(kind), "python -m real.dashboards.make"
    found = json.loads(make.text(kind))
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(0 <= x < 24 for x, _ in cells)
    for panel in panels:
        refs = [each["refId"] for each in panel["targets"]]
        assert len(refs) == len(set(refs)) > 0
        assert {each["datasource"]["type"] for each in (panel, *panel["targets"])} == {kind}
        words = "expr" if kind == "prometheus" else "query"
        assert all(each[words] for each in panel["targets"])
    for asked in ("Throughput", "Latency", "Lag", "Model versions", "Dropped"):
        assert any(panel["title"].startswith(asked) for panel in panels)
    (variable,) = found["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", kind)


# -- a model server ---------------------------------------------------------------------------------------------


@pytest.mark.kafka
def test_a_model_server_tells_each_record_as_lightbends_did(kafka: Session, influx: str, tmp_path: Path) -> None:
    from confluent_kafka import Producer

    broker = kafka.broker(load(ROOT / "scenarios" / "model_stream" / "lifecycle.yaml").broker)
    file = tmp_path / "metrics.jsonl"
    rows = [[1.0] * 11, [2.0] * 11]
    (tmp_path / "rows.csv").write_text("".join(f"{','.join(map(str, row))}\n" for row in rows))
    options = ["--bootstrap", broker.bootstrap, "--port", "0", "--records", "sink-r", "--models", "sink-m"]
    metrics = [f"influxdb://{influx.removeprefix('http://')}/served", f"file:{file}"]
    command = [sys.executable, "-m", "real", "model-server", *options, "--restore", "earliest", "--group", "sink-g"]
    for each in metrics:
        command += ["--metrics", each]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        state = server.stdout.readline().partition("state at ")[2].strip()
        assert state, server.communicate()[1]
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        producer.produce("sink-m", encode_descriptor(Descriptor("m", "d", "wine", "onnx", onnx_model(), None, 1)))
        assert producer.flush(30) == 0

        def told() -> dict[str, Any]:
            with urllib.request.urlopen(state, timeout=30) as answer:
                found: dict[str, Any] = json.load(answer)
            return found

        try:
            until(lambda: told()["loaded"])
        except AssertionError:
            server.send_signal(signal.SIGINT)
            pytest.fail(f"{told()}\n{server.communicate(timeout=60)}")
        publish = [sys.executable, "-m", "real", "publish", "records", "--bootstrap", broker.bootstrap]
        publish += ["--directory", str(tmp_path), "--filename", "rows.csv", "--topic", "sink-r", "--every", "1 ms"]
        done = subprocess.run([*publish, "--count", "20"], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        until(lambda: told()["records"] >= 20)
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=60)
    finally:
        server.kill()
        server.communicate()
    points = [json.loads(text) for text in file.read_text().splitlines()]
    single = [each for each in points if each["measurement"] == "serving"]
    totals = [each for each in points if each["measurement"] == "weir_server"][-1]["fields"]
    assert (totals["records_total"], totals["scored_total"], totals["bad_total"]) == (20, len(single), 0), said
    assert totals["scored_total"] + totals["dropped_no_model_total"] + totals["failed_total"] == 20
    assert len(single) == 20
    assert {tuple(each["tags"].items()) for each in single} == {(("engine", "Weir"), ("model", "m"))}
    assert all(each["fields"]["duration"] > 0 for each in single)
    assert [each["fields"]["calculated"] for each in single] == [11.0, 22.0] * 10
    found = values(influx, "served", 'SELECT calculated, "duration" FROM serving')
    assert [row[1] for row in found] == [each["fields"]["calculated"] for each in single]
