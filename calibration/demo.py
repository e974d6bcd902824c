"""`make demo`: the whole loop on this machine, quickly: measure, fit, predict, run, compare, report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scenarios.cli import DIES_WITH_PARENT

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"
CALIBRATION = "demo.local"
#: Seconds that warming the broker may take, twice: a demonstration has three minutes in all.
_WARM_S = "5"


def demo(out: Path, broker: str | None = None) -> None:
    """Runs the demonstration; each step is a command that the user could give.

    Args:
        out: Folder of runs.
        broker: kafka or mock; None: kafka where Java and Maven are found, else mock.

    Raises:
        SystemExit: A step failed; its own message stands above, its exit code is ours.
    """
    began = time.monotonic()
    kind, why = _broker(broker)
    _say(began, f"broker: {kind} ({why})")
    _say(began, "measuring one worker on this machine (a quick profile; every line is a real run's verdict)")
    profile = _command(
        "real", "profile", str(SCENARIOS / "profile/quick.yaml"), "--out", str(out), "--broker", kind, "--warm", _WARM_S
    )
    _say(began, "fitting the cost model")
    _command("calibration", "fit", profile[-1], "-o", CALIBRATION)
    _say(began, "predicting a sweep")
    _command("sim", "sweep", str(SCENARIOS / "demo.yaml"), "--calibration", CALIBRATION, "--fresh", show=True)
    _say(began, "checking points that are not in the fit against real runs")
    # The mock broker keeps a few MB a partition: its backlogs are small.
    sets = ["--set", "check.backlog.records=1200"] if kind == "mock" else []
    check = _command(
        "calibration", "check", str(SCENARIOS / "check/quick.yaml"), "--calibration", CALIBRATION, "--out", str(out),
        "--broker", kind, "--warm", _WARM_S, "--fresh", *sets, show=True,
    )  # fmt: skip
    folder = Path(check[-1])
    data: dict[str, Any] = json.loads((folder / "check.json").read_text())
    runs = [str(folder / r["run"]) for r in data["runs"].values()]
    report = _command("analysis", "report", *runs, "--check", str(folder / "check.json"), "-o", str(out / "demo.html"))
    _say(began, "done")
    print("\nTwo repeats are too few for a noise ceiling: how far reality strays from itself is not known here.")
    print(f"report:            {report[-1]}")
    print("the full profile:  python -m real profile scenarios/profile/ffnn.yaml   (about six minutes)")
    print("then:              python -m calibration fit runs/<profile> -o mine")


def _broker(asked: str | None) -> tuple[str, str]:
    if asked is not None:
        return asked, "as asked"
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        return (
            "mock",
            f"{' and '.join(missing)} not found; librdkafka's mock cluster stands in: no ground for real costs",
        )
    return "kafka", "Java and Maven are here: a real Apache Kafka broker on loopback"


def _say(began: float, text: str) -> None:
    print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)


def _command(room: str, *arguments: str, show: bool = False) -> list[str]:
    """Runs a command of ours; its stderr passes through, its stdout is returned in lines (and shown)."""
    environment = {**os.environ, DIES_WITH_PARENT: str(os.getpid())}
    command = [sys.executable, "-m", room, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if show or done.returncode:
        print(done.stdout, end="", flush=True)
    if done.returncode:
        print(f"error: python -m {room} {arguments[0]} ended with exit code {done.returncode}", file=sys.stderr)
        raise SystemExit(done.returncode)
    return done.stdout.splitlines()
