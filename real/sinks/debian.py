"""Prometheus and InfluxDB as Debian packages them, unpacked into the per-user cache: no root, nothing installed.

Needs apt-get and dpkg-deb, and once the package's archive; then the cache is enough.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from real.brokers.jars import cache_root
from real.errors import DeadlineError, RefusedError
from real.processes import Process, Supervisor
from real.servers.base import free_ports

_FETCH_S, _READY_S = 300.0, 60.0


def program(package: str, inside: str) -> Path:
    """The path of a program of a package.

    Args:
        package: Debian's name.
        inside: Path of the program in it.

    Raises:
        RefusedError: It cannot be had here.
    """
    folder = cache_root() / "debian" / package
    found = folder / inside
    if found.exists():
        return found
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise RefusedError(package, f"it comes as a Debian package, and there is no {tool} in PATH")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{package}-") as name:
        fetched = Path(name)
        _run(["apt-get", "-q", "download", package], fetched, package)
        archives = list(fetched.glob("*.deb"))
        if len(archives) != 1:
            raise RefusedError(package, f"apt-get download brought {len(archives)} archives")
        _run(["dpkg-deb", "-x", archives[0].name, "tree"], fetched, package)
        if not (fetched / "tree" / inside).exists():
            raise RefusedError(package, f"holds no {inside}")
        try:
            (fetched / "tree").rename(folder)
        except OSError:
            if not found.exists():  # else another process was faster
                raise
    return found


def _run(command: Sequence[str], folder: Path, package: str) -> None:
    try:
        done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=_FETCH_S)
    except subprocess.TimeoutExpired:
        raise RefusedError(package, f"{command[0]} took longer than {_FETCH_S:.0f} s") from None
    if done.returncode:
        raise RefusedError(package, f"{' '.join(command)}: {done.stderr.strip()[-500:]} (apt-get update?)")


def start_prometheus(supervisor: Supervisor, targets: Sequence[str], every: str = "1s") -> str:
    """Starts a Prometheus that scrapes `host:port` targets; its own `http://host:port`."""
    binary = program("prometheus", "usr/bin/prometheus")
    (port,) = free_ports(1)
    folder = Path(tempfile.mkdtemp(dir=supervisor.directory, prefix="prometheus-"))
    listed = ", ".join(f'"{each}"' for each in targets)
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: {every}}}\n"
        f"scrape_configs:\n  - job_name: weir\n    static_configs: [{{targets: [{listed}]}}]\n"
    )
    command = [
        str(binary),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = supervisor.spawn("prometheus", command)
    url = f"http://127.0.0.1:{port}"
    _wait(process, f"{url}/-/ready")
    return url


def start_influxdb(supervisor: Supervisor) -> str:
    """Starts an InfluxDB; its `http://host:port`."""
    binary = program("influxdb", "usr/bin/influxd")
    http, backup = free_ports(2)
    folder = Path(tempfile.mkdtemp(dir=supervisor.directory, prefix="influxdb-"))
    (folder / "influxdb.conf").write_text(
        f"""reporting-disabled = true
bind-address = "127.0.0.1:{backup}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
"""
    )
    process = supervisor.spawn("influxdb", [str(binary), "-config", str(folder / "influxdb.conf")])
    url = f"http://127.0.0.1:{http}"
    _wait(process, f"{url}/ping")
    return url


def _wait(process: Process, url: str) -> None:
    """Waits until it answers."""
    end = time.monotonic() + _READY_S
    while True:
        if not process.alive():
            raise process.died()
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status < 300:
                    return
        except OSError:
            if time.monotonic() > end:
                raise DeadlineError(f"{process.name} is not ready after {_READY_S:.0f} s") from None
        time.sleep(0.05)
