"""`python -m scenarios`: exit codes, where messages go, and that the defaults are every setting."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from scenarios.cli import reported
from scenarios.cluster_schema import ClusterFile
from scenarios.defaults import defaults_yaml
from scenarios.errors import ScenarioError
from scenarios.json_schema import json_schema
from scenarios.load import load, load_any
from scenarios.schema import dotted_keys

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scenarios", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_validate_tells_good_from_bad(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("engine: {paralelism: 4}\n", encoding="utf-8")
    done = run("validate", "scenarios/scalability.yaml", str(bad), "--set", "sweep.repeats=5")
    assert done.returncode == 2
    assert done.stdout == "scenarios/scalability.yaml: ok: scalability, 6 points x 5 repeats = 30 runs\n"
    assert done.stderr.splitlines()[0].startswith(f"{bad}:1:10: engine.paralelism: unknown key")
    assert "Traceback" not in done.stderr
    assert run("validate", "scenarios/first_light.yaml").returncode == 0


def test_schema_and_defaults_are_printed() -> None:
    schema = run("schema")
    assert schema.returncode == 0
    assert json.loads(schema.stdout)["$defs"]["ScenarioFile"]["additionalProperties"] is False
    defaults = run("defaults")
    assert (defaults.returncode, defaults.stdout) == (0, defaults_yaml())
    clusters = run("defaults", "--cluster")
    assert (clusters.returncode, clusters.stdout) == (0, defaults_yaml(cluster=True))


def test_the_schema_says_what_may_be_zipped() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="to hold files against the schema: pip install jsonschema")
    schema = json_schema()

    def fits(sweep: Any) -> bool:
        return bool(jsonschema.Draft202012Validator(schema).is_valid({"sweep": sweep}))

    group = {"engine.parallelism": [1, 2], "broker.partitions": [4, 8]}
    assert fits({"zip": group, "workload.points": [1, 8], "repeats": 3})
    assert fits({"zip": [group, {"workload.points": [1, 8]}, {"hosts.box.cores": [1]}]})
    zips: list[Any] = [[1], {"engine.paralelism": [1]}, {"repeats": 3}, []]
    assert not any(fits({"zip": wrong}) for wrong in zips)


def uncommented(text: str) -> str:
    return "\n".join(line.removeprefix("# ") for line in text.splitlines()[2:])


def flat(data: dict[str, Any], prefix: str = "") -> set[str]:
    keys: set[str] = set()
    for key, value in data.items():
        keys.add(prefix + key)
        if isinstance(value, dict):
            keys |= flat(value, f"{prefix}{key}.")
    return keys


def test_defaults_hold_every_setting_and_load(tmp_path: Path) -> None:
    yaml = YAML(typ="safe")
    everything = flat(yaml.load(uncommented(defaults_yaml())))
    assert everything == {key for key in dotted_keys() if not key.startswith("hosts.")}
    path = tmp_path / "d.yaml"
    path.write_text(defaults_yaml(), encoding="utf-8")
    plain = tmp_path / "p.yaml"
    plain.write_text("name: unnamed\nworkload: {arrival: {rate: 5 /s}}\n", encoding="utf-8")
    assert load(path, ["workload.arrival.rate=5 /s"]) == load(plain)


def test_defaults_of_a_cluster_hold_every_setting_and_load(tmp_path: Path) -> None:
    everything = flat(YAML(typ="safe").load(uncommented(defaults_yaml(cluster=True))))
    assert everything == set(dotted_keys(ClusterFile))
    needed = "workload: {trace: t.csv}\njobs: {}\n"
    (tmp_path / "t.csv").write_text("job,minute,rate\n0,0,5\n", encoding="utf-8")
    path, plain = tmp_path / "d.yaml", tmp_path / "p.yaml"
    path.write_text(defaults_yaml(cluster=True) + needed, encoding="utf-8")
    plain.write_text("name: unnamed\n" + needed, encoding="utf-8")
    assert load_any(path) == load_any(plain)


def test_reported_gives_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, reported():
        raise ScenarioError("f.yaml", 3, 4, "engine.kind", "no")
    assert caught.value.code == 2
    assert capsys.readouterr().err == "f.yaml:3:4: engine.kind: no\n"
    with pytest.raises(SystemExit) as caught, reported():
        raise KeyboardInterrupt
    assert caught.value.code == 130
    with pytest.raises(ZeroDivisionError), reported():
        _ = 1 // 0
