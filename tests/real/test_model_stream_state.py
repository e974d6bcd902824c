"""Where models lie, the store of a worker, what is kept of it and told of it, and how intervals are written."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.messages import Descriptor
from real.errors import RefusedError
from real.model_stream.kept import Snapshot
from real.model_stream.loaders import Loaded, Rules, load
from real.model_stream.location import LocationError, allowed, fetch_folder, read
from real.model_stream.prepare import prepare
from real.model_stream.publish import interval_s
from real.model_stream.state_http import StateServer, configured_address
from real.model_stream.store import ALL, Journal, StateError, Store
from real.model_stream.wire import EVENT, EVENT_ROWS, Count
from real.plan import refuse_elsewhere
from tests.real.streams import scenario

# -- by reference -----------------------------------------------------------------------------------------------


def test_only_what_lies_below_a_root_is_read(tmp_path: Path) -> None:
    root, outside = tmp_path / "models", tmp_path / "models-of-others"
    root.mkdir()
    outside.mkdir()
    (root / "m").write_bytes(b"m")
    (outside / "m").write_bytes(b"secret")
    (root / "link").symlink_to(outside / "m")
    roots = [str(root)]
    for location in (str(root / "m"), (root / "m").as_uri(), f"file://localhost{root}/m"):
        assert read(location, roots, 100) == b"m"
    refused = (
        str(outside / "m"),
        str(root / "link"),
        f"{root}/../models-of-others/m",
        f"file://{root}/%2e%2e/models-of-others/m",
        str(root),
        f"file://elsewhere{root}/m",
        "http://127.0.0.1/m",
        "s3://bucket/m",
        f"{root}/m\0",
        "",
        f"file://{root}/m?x=1",
    )
    for location in refused:
        with pytest.raises(LocationError):
            read(location, roots, 100)
    with pytest.raises(LocationError, match="none is configured"):
        read(str(root / "m"), [], 100)
    with pytest.raises(LocationError, match="cannot be read"):
        read(str(root / "absent"), roots, 100)


def test_a_bucket_is_no_folder_and_a_prefix_ends_at_a_slash() -> None:
    roots = ["s3://bucket/models"]
    assert allowed("s3://bucket/models/a/b.onnx", roots) == ("s3", "bucket/models/a/b.onnx")
    for location in (
        *("s3://bucket/models-of-others/b", "s3://other/models/b", "s3://bucket/models", "s3:///models/b"),
        *("s3://bucket/models/../secret", "s3://bucket/models//b", "s3://bucket/models/./b"),
    ):
        with pytest.raises(LocationError):
            allowed(location, roots)


def test_a_folder_is_copied_whole_and_bounded(tmp_path: Path) -> None:
    root, into = tmp_path / "root", tmp_path / "into"
    (root / "saved" / "variables").mkdir(parents=True)
    into.mkdir()
    (root / "saved" / "saved_model.pb").write_bytes(b"12345")
    (root / "saved" / "variables" / "v").write_bytes(b"678")
    copy = fetch_folder(str(root / "saved"), [str(root)], 8, into)
    assert {str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file()} == {"saved_model.pb", "variables/v"}
    with pytest.raises(LocationError, match="larger"):
        fetch_folder(str(root / "saved"), [str(root)], 7, tmp_path / "again")
    (tmp_path / "secret").write_bytes(b"s")
    (root / "saved" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(LocationError, match="below a root"):
        fetch_folder(str(root / "saved"), [str(root)], 100, tmp_path / "third")


# -- the store --------------------------------------------------------------------------------------------------


class Sum:
    def score(self, x: Any) -> Any:
        return x.sum(axis=1, keepdims=True)


def a_model(name: str, version: int, kind: str = "wine") -> Loaded:
    return Loaded(Descriptor(name, f"about {name}", kind, "onnx", name.encode(), None, version), Sum())


@pytest.fixture
def store() -> Store:
    return Store(Journal([0] * Count.SIZE, bytearray(EVENT.size * EVENT_ROWS), lambda: 0))


def test_the_last_of_two_updates_wins_and_the_other_is_counted(store: Store) -> None:
    slots = store.journal.slots
    assert store.current(ALL, "wine") is None
    for version, name in enumerate(("a", "b", "c"), 1):
        store.offer(ALL, a_model(name, version), (0, version))
    served = store.current(ALL, "wine")
    assert served is not None
    assert served.model.which == ("c", 3)
    assert (slots[Count.SUPERSEDED], slots[Count.SWAPS]) == (2, 1)
    store.offer(ALL, a_model("other", 4, "beer"), (0, 4))
    assert store.current(ALL, "wine") is served  # a model of another type is none of its business
    assert slots[Count.SWAPS] == 1
    assert store.current(1, "wine") is None  # nor is another task's


def test_usage_begins_anew_with_a_swap(store: Store) -> None:
    store.offer(ALL, a_model("a", 1), (0, 0))
    served = store.current(ALL, "wine")
    assert served is not None
    for took in (30, 10, 20):
        served.scored(took)
    about = store.told()["wine"]
    assert [about[key] for key in ("usage", "total_ns", "min_ns", "max_ns")] == [3, 60, 10, 30]
    store.offer(ALL, a_model("b", 2), (0, 1))
    assert store.told()["wine"]["name"] == "a"  # it serves until the next record
    store.current(ALL, "wine")
    assert [store.told()["wine"][key] for key in ("name", "usage", "min_ns")] == ["b", 0, 0]


def test_a_state_comes_back_whole(store: Store) -> None:
    store.offer(ALL, a_model("a", 1), (0, 0))
    served = store.current(ALL, "wine")
    assert served is not None
    served.scored(5)
    store.offer(ALL, a_model("b", 2), (0, 1))
    data = store.stored({0: 2}, {3: 40})
    other = Store(Journal([0] * Count.SIZE, bytearray(EVENT.size * EVENT_ROWS), lambda: 0))
    positions = other.restore(data, lambda found: Loaded(found, Sum()))
    assert positions == ({0: 2}, {3: 40})
    assert other.told() == store.told()  # name, description, version, since and usage, each in its own place
    assert other.told()["wine"]["description"] == "about a"
    next_one = other.current(ALL, "wine")
    assert next_one is not None
    assert next_one.model.which == ("b", 2)
    for bad in (b"\xff", data[:-3], b"\x08\x07"):
        with pytest.raises(StateError):
            other.restore(bad, lambda found: Loaded(found, Sum()))


def test_a_model_of_a_kept_state_that_cannot_be_loaded_is_counted(store: Store) -> None:
    store.offer(ALL, a_model("a", 1), (0, 0))
    store.current(ALL, "wine")
    data = store.stored({}, {})
    other = Store(Journal([0] * Count.SIZE, bytearray(EVENT.size * EVENT_ROWS), lambda: 0))
    other.restore(data, lambda found: load(found, Rules()))
    assert other.journal.slots[Count.LOAD_FAILURES] == 1
    assert other.told() == {}


def test_a_snapshot_is_whole_or_the_one_before(tmp_path: Path) -> None:
    kept = Snapshot(tmp_path / "kept")
    assert kept.read() == []
    kept.write("", b"one")
    kept.write("", b"two")
    (tmp_path / ".kept.tmp").write_bytes(b"cut sho")  # a death while the third was written
    assert Snapshot(tmp_path / "kept").read() == [b"two"]


# -- what is told -----------------------------------------------------------------------------------------------

WINE = {
    "name": "m",
    "description": "d",
    "format": "pmml",
    "version": 4,
    "size_bytes": 9,
    "since": 1_700_000_000_123,
    "usage": 4,
    "total_ns": 6_000_000,
    "min_ns": 500_000,
    "max_ns": 2_500_000,
}


def get(url: str, token: str | None = None, method: str = "GET") -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, headers=headers, method=method, data=b"x" if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def told() -> dict[str, Any]:
    return {"instance": 3, "swaps": 7, "bad": 1, "types": {"wine": dict(WINE)}}


@pytest.fixture
def server(told: dict[str, Any], tmp_path: Path) -> Iterator[StateServer]:
    found = StateServer(lambda: told, tmp_path)
    yield found
    found.close()


def test_lightbends_paths_have_their_fields(server: StateServer, told: dict[str, Any]) -> None:
    base = f"http://{server.host}:{server.port}"
    common = {"name": "m", "description": "d", "since": 1_700_000_000_123, "duration": 6.0, "min": 0.5, "max": 2.5}
    akka, streams = {**common, "modelType": "pmml", "usage": 4}, {**common, "invocations": 4}
    listed = [{"host": "127.0.0.1", "port": server.port, "storeNames": ["modelStore"]}]
    expected: dict[str, Any] = {
        "/stats": akka,
        "/state": akka,
        "/state/wine": akka,
        "/state/value": streams,
        "/state/modelStore/value": streams,
        "/state/modelstore/value": streams,
        "/models": ["wine"],
        "/processors": {"models": ["wine"]},
        "/state/instances": listed,
        "/state/instances/modelStore": listed,
        "/state/instances/other": [],
        "/v1/state": told,
        "/v1/state/wine": WINE,
        "/v1/instances": listed,
    }
    for path, body in expected.items():
        status, text = get(base + path)
        assert (status, json.loads(text)) == (200, body), path
    for path in ("/", "/state/beer", "/v1", "/v1/state/beer", "/../etc/passwd", "/state/other/value"):
        assert get(base + path)[0] == 404, path
    told["types"] = {}
    assert json.loads(get(f"{base}/stats")[1]) == {
        "name": "None",
        "description": "None",
        "modelType": "None",
        "since": 0,
        "usage": 0,
        "duration": 0,
        "min": 0,
        "max": 0,
    }


def test_metrics_are_prometheus(server: StateServer) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    status, text = get(f"http://{server.host}:{server.port}/metrics")
    assert status == 200
    found = {sample.name: sample for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found["weir_swaps_total"].value == 7
    assert found["weir_bad_total"].labels == {"instance": "3"}
    assert found["weir_model_usage_total"].labels == {"instance": "3", "type": "wine", "model": "m"}
    assert found["weir_model_score_seconds_total"].value == pytest.approx(0.006)
    assert found["weir_model_version"].value == 4


def test_the_state_is_read_only(server: StateServer) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert get(f"http://{server.host}:{server.port}/v1/state", method=method)[0] == 405


def test_beyond_loopback_a_token_is_needed(
    told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RefusedError, match="WEIR_STATE_TOKEN"):
        StateServer(lambda: told, tmp_path, "0.0.0.0")
    server = StateServer(lambda: told, tmp_path, "0.0.0.0", token="secret")
    try:
        url = f"http://127.0.0.1:{server.port}/metrics"
        assert [get(url, token)[0] for token in (None, "wrong", "secret")] == [401, 401, 200]
    finally:
        server.close()
    monkeypatch.setenv("WEIR_STATE_ADDRESS", "127.0.0.1:7000")
    monkeypatch.setenv("WEIR_STATE_TOKEN", "t")
    assert configured_address(2) == ("127.0.0.1", 7002, "t")
    for text in ("7000", "host:", "host:x", "h:65535"):
        monkeypatch.setenv("WEIR_STATE_ADDRESS", text)
        with pytest.raises(RefusedError, match="no host:port"):
            configured_address(1)


# -- publishing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1 second", 1), ("5 minutes", 300), ("100 ms", 0.1), ("2s", 2), ("250", 0.25), ("1 hour", 3600), ("0", 0)],
)
def test_intervals_are_read_as_lightbends_configuration_writes_them(text: str, seconds: float) -> None:
    assert interval_s("--every", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1 s", "1 fortnight", "1 s 2 s"])
def test_an_interval_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="--every"):
        interval_s("--every", text)


def test_roots_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from real.model_stream.location import configured_roots

    assert os.environ.get("WEIR_MODEL_ROOTS") is None
    assert configured_roots() == []
    monkeypatch.setenv("WEIR_MODEL_ROOTS", " /srv/models, s3://bucket/m ,")
    assert configured_roots() == ["/srv/models", "s3://bucket/m"]


@pytest.mark.parametrize(
    ("sets", "key"),
    [
        (["engine.parallelism=2"], r"model_stream\.instances"),
        (["workload.points=2"], r"workload\.points"),
        (["faults=[{at: 1 s, target: broker}]"], r"faults\[0\]\.target"),
        (["faults=[{at: 1 s, target: generator-0}]"], r"faults\[0\]\.target"),
    ],
)
def test_what_a_stream_of_models_cannot_have_for_real_is_refused(tmp_path: Path, sets: list[str], key: str) -> None:
    messages = ("name: a, path: sum.onnx, type: wine",)
    with pytest.raises(RefusedError, match=key):
        refuse_elsewhere(scenario(tmp_path, messages, sets=sets))


def test_a_state_that_all_could_reach_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_STATE_ADDRESS", "0.0.0.0:5500")
    with pytest.raises(RefusedError, match="WEIR_STATE_TOKEN"):
        refuse_elsewhere(scenario(tmp_path, ("name: a, path: sum.onnx, type: wine",)))


def test_a_model_that_cannot_be_exported_is_refused_by_its_place(tmp_path: Path) -> None:
    messages = ("name: a, path: sum.onnx, type: wine", "name: b, model: wine-nothing, type: wine")
    asked = scenario(tmp_path, messages).model_stream
    with pytest.raises(RefusedError, match=r"model_stream\.messages\[1\]: no model 'wine-nothing'"):
        prepare(asked, 10**10, 1, tmp_path / "stream", tmp_path / "models")
