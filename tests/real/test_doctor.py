"""`real doctor`: what it reads from a kernel's files, what it makes of it, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from real import doctor, host
from real.processes import Supervisor
from tests.real.conftest import ROOT

pytestmark = pytest.mark.measures


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_limits_of_control_groups_of_version_two(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            "sys/fs/cgroup/outer/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/outer/inner/cpu.max": "max 100000\n",
            "sys/fs/cgroup/outer/inner/memory.max": "1073741824\n",
            "sys/fs/cgroup/outer/memory.max": "max\n",
            "sys/fs/cgroup/outer/cpu.stat": "nr_periods 9\nnr_throttled 4\n",
        },
    )
    assert host.limits(root) == host.Limits(1.5, 1 << 30, 4)


def test_limits_of_control_groups_of_version_one(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/a\n1:cpu,cpuacct:/a\n0::/\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert host.limits(root) == host.Limits(0.5, None, None)


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/self/cgroup": "0::/not/visible/here\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"})
    assert host.limits(root).cpus == 2.0
    assert host.limits(tmp_path / "nothing") == host.Limits(None, None, None)


def test_governors_and_memory(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
            "proc/meminfo": "MemTotal: 100 kB\nMemAvailable: 40 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\n",
        },
    )
    assert host.governors(root) == ["performance", "powersave"]
    assert host.memory(root) == (102400, 40960, 30720)
    assert host.governors(tmp_path / "nothing") == []
    assert host.clock_resolution_ns() > 0


def test_a_quota_below_the_cores_is_warned_of_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "limits", lambda: host.Limits(0.5, None, 7))
    found = doctor.control_groups()
    assert (found.state, "stopped in 7 periods" in found.found) == (doctor.WARN, True)
    assert "quota" in found.remedy
    monkeypatch.setattr(host, "limits", lambda: host.Limits(None, None, None))
    assert doctor.control_groups().state == doctor.OK


def test_a_governor_that_moves_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    for used, state in ((["powersave"], doctor.WARN), (["performance"], doctor.OK), ([], doctor.OK)):
        monkeypatch.setattr(host, "governors", lambda used=used: used)
        found = doctor.governor()
        assert found.state == state
        assert bool(found.remedy) == (state != doctor.OK)


def test_little_memory_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    for values, state in (
        ((8 << 30, 1 << 30, 0), "warn"),
        ((8 << 30, 4 << 30, 1 << 30), "warn"),
        ((8 << 30, 4 << 30, 0), "ok"),
    ):
        monkeypatch.setattr(host, "memory", lambda values=values: values)
        assert doctor.machine_memory().state == state


def test_a_disk_that_cannot_be_written_fails(tmp_path: Path) -> None:
    found = doctor.disk(tmp_path / "nothing")
    assert found.state == doctor.FAIL
    assert "TMPDIR" in found.remedy
    assert doctor.disk(tmp_path).values["sync_ms"] >= 0


def test_busy_neighbours_are_seen() -> None:
    spinning = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        assert spinning.stdout is not None
        spinning.stdout.readline()
        found = doctor.quiet(1.0)
        assert found.state == doctor.WARN
        assert found.values["others_cores"] > 0.15
        assert found.remedy
    finally:
        spinning.kill()
        spinning.communicate()


def test_no_java_and_no_maven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.java().state == doctor.FAIL
    assert "no java on the PATH" in doctor.java().found
    assert doctor.maven().state == doctor.WARN
    with Supervisor() as supervisor:
        found = doctor.start_broker("kafka", supervisor)
        assert found.state == doctor.FAIL
        assert doctor.start_broker("mock", supervisor).state == doctor.OK


@pytest.mark.kafka
def test_a_real_broker_starts() -> None:
    with Supervisor() as supervisor:
        found = doctor.start_broker("kafka", supervisor)
    assert found.state == doctor.OK
    assert found.values["start_s"] > 0


def test_the_command(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "real", "doctor", *options]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)

    done = run("--broker", "mock", "--json")
    told = json.loads(done.stdout)
    states = {row["what"]: row["state"] for row in told["findings"]}
    assert {
        "cores",
        "control group",
        "governor",
        "clock",
        "memory",
        "disk",
        "java",
        "GPU",
        "broker",
        "noise floor",
    } <= set(states)
    assert done.returncode == (1 if "fail" in states.values() else 0)
    assert all(row["remedy"] for row in told["findings"] if row["state"] != "ok")
    assert {"cpu_model", "governor", "cpu_limit", "clock_resolution_ns"} <= set(told["host"])
    assert list(tmp_path.iterdir()) == []
    wrong = run("--broker", "rabbit")
    assert (wrong.returncode, wrong.stderr) == (2, "error: --broker: no broker 'rabbit'; there are kafka, mock, none\n")
    plain = run("--broker", "none", "--no-noise")
    assert "cores" in plain.stdout
    assert "noise floor" not in plain.stdout
