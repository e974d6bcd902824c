"""Renders the Helm chart: `python deploy/render.py`; needs helm 3 in PATH (or its path in WEIR_HELM).

What comes out lies in `helm/rendered/`, each file with the digest of the chart it was rendered from, so that a chart
that changed without them is noticed where there is no helm.  `--digest` prints that digest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HELM = Path(__file__).resolve().parent / "helm"
CHART, RENDERED, ALL = HELM / "weir", HELM / "rendered", HELM / "all.yaml"
CASES: dict[str, list[str]] = {
    "least": ["--set", "kafka.bootstrap=kafka:9092", "--set", "modelServer.token.value=change-me"],
    "all": ["--values", str(ALL)],
}


def digest() -> str:
    """Of the chart's files, and of the values that are rendered."""
    found = hashlib.sha256()
    for path in sorted([*(each for each in CHART.rglob("*") if each.is_file()), ALL]):
        found.update(f"{path.relative_to(HELM)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def helm() -> str | None:
    """The program; None: there is none."""
    return os.environ.get("WEIR_HELM") or shutil.which("helm")


def rendered(case: str) -> str:
    """What helm makes of a case."""
    program = helm()
    if program is None:
        raise SystemExit("deploy/render.py: there is no helm in PATH, and WEIR_HELM names none")
    command = [program, "template", "release", str(CHART), "--kube-version", "1.29.0", *CASES[case]]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return f"# helm template of chart sha256:{digest()}\n{done.stdout}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--digest"]:
        print(digest())
        raise SystemExit(0)
    RENDERED.mkdir(exist_ok=True)
    for name in CASES:
        (RENDERED / f"{name}.yaml").write_text(rendered(name), encoding="utf-8")
        print(RENDERED / f"{name}.yaml")
