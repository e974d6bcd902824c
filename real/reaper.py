"""The process that outlives a harness killed without warning, and ends what it left.

It is started first, in a session of its own, and holds the reading end of a pipe from the harness.  The harness writes
what it starts (`group PGID`, `dir PATH`); however the harness ends, the pipe ends with it.  Then every group is killed,
and every process that carries the harness' token in its environment (so one that was being started, and whatever a
child started in a group of its own, is found too), and the folders are removed.  Imports nothing of ours: it must be
small and start fast.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

TOKEN = "WEIR_HARNESS"
_SHARED = "/dev/shm/psm_"
_SCANS, _PAUSE_S, _LIMIT_S = 2, 0.1, 5.0


def marked(token: str) -> list[int]:
    """Processes whose environment carries the token."""
    wanted = f"{TOKEN}={token}\0".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if wanted in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue  # ended, or another user's
    return found


def shared(pids: Iterable[int]) -> set[str]:
    """Blocks of Python's shared memory that these processes have mapped: killed, nobody would remove them."""
    found = set()
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except OSError:
            continue
        found |= {path for line in lines if (path := line.rpartition(" ")[2]).startswith(_SHARED)}
    return found


def end(token: str, groups: set[int], folders: list[str]) -> None:
    """Kills the groups and the marked processes, then removes the folders."""
    folders = [*folders, *shared(marked(token))]
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            continue
    clean, limit = 0, time.monotonic() + _LIMIT_S
    while clean < _SCANS and time.monotonic() < limit:
        found = marked(token)
        clean = 0 if found else clean + 1
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        for folder in folders:
            remove(folder)
        time.sleep(_PAUSE_S)
    for folder in folders:
        remove(folder)


def remove(path: str) -> None:
    """Removes a folder, or a file."""
    if Path(path).is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        Path(path).unlink(missing_ok=True)


def main() -> None:
    """`python reaper.py TOKEN`, orders on stdin."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    folders: list[str] = []
    for line in sys.stdin:
        what, _, value = line.rstrip("\n").partition(" ")
        if what == "group":
            groups.add(int(value))
        elif what == "ended":
            groups.discard(int(value))
        elif what == "dir":
            folders.append(value)
    end(sys.argv[1], groups, folders)


if __name__ == "__main__":
    main()
