"""How an external server is called: the fields, what they refuse, and the way there and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.errors import ScenarioError
from scenarios.load import from_resolved, load, resolved
from scenarios.registry import SERVERS
from scenarios.spec import MS_NS, S_NS, Scenario, ServingClient


def made(folder: Path, serving: str) -> Scenario:
    path = folder / "s.yaml"
    path.write_text(f"workload: {{arrival: {{rate: 5 /s}}}}\nserving: {{{serving}}}\n")
    return load(path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert made(tmp_path, "kind: external").serving.client == ServingClient("blocking", 16, S_NS, 0, None)
    client = "{mode: async, in_flight: 64, timeout: 50 ms, retries: 2, protocol: oip-grpc}"
    for word in SERVERS:
        scenario = made(tmp_path, f"kind: external, runtime: {word}, client: {client}")
        assert scenario.serving.client == ServingClient("async", 64, 50 * MS_NS, 2, "oip-grpc")
        assert from_resolved(resolved(scenario)) == scenario
    blocking = made(tmp_path, "kind: external, client: {retries: 1}")
    assert from_resolved(resolved(blocking)) == blocking


@pytest.mark.parametrize(
    ("serving", "message"),
    [
        ("client: {retries: 1}", r"serving\.client: only an external server has client"),
        ("kind: external, client: {in_flight: 4}", r"serving\.client\.in_flight: a blocking client has one call"),
        ("kind: external, client: {mode: asinc}", r"serving\.client\.mode: .*async"),
        ("kind: external, client: {mode: async, in_flight: 0}", r"serving\.client\.in_flight: .*1"),
        ("kind: external, client: {timeout: 0 s}", r"serving\.client\.timeout: "),
        ("kind: external, client: {retries: 101}", r"serving\.client\.retries: .*100"),
        ("kind: external, runtime: mlsever", r"serving\.runtime: .*did you mean 'mlserver'"),
        ("runtime: torchserve", r"serving\.runtime: torchserve is a server; write kind: external"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, serving: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        made(tmp_path, serving)
