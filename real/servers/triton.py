"""Triton Inference Server with its Python backend, by NVIDIA's PyTriton: the Open Inference Protocol v2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from real.processes import Supervisor
from real.servers.base import Ask, Running, Say, Server, free_ports
from real.servers.ours import start_ours

_BACKEND: Final = "triton_python_backend_stub"
_COPY: Final = re.compile(r"/tmp/folder\w{6}/1/model\.py")
_MEMORY: Final = "pytrtion"  # so it is spelt


class Triton(Server):
    """See the module."""

    word = "triton"
    title = "Triton by PyTriton, Open Inference Protocol v2"
    protocols: Sequence[str] = ("oip-http", "oip-grpc")
    module = "pytriton"
    package = "nvidia-pytriton"

    def missing(self) -> str | None:
        """See `Server.missing`; it is no extra: it wants NumPy 1, and fails on some builds of CPython 3.11."""
        if self.environment.lacks(self.module, "") is None:
            return None
        return f"pytriton is not in {self.environment.python}: name a Python that has it in {self.environment.variable}"

    def start(self, ask: Ask, supervisor: Supervisor, say: Say) -> Running:
        """See `Server.start`."""
        say("starting Triton")
        http, grpc, metrics = free_ports(3)
        more = {"ports": {"oip-http": http, "oip-grpc": grpc}, "metrics_port": metrics}
        running = start_ours(self, "real.servers.hosts.triton_app", ask, supervisor, more)
        for path in _elsewhere(running.pids()):
            supervisor.remove_too(path)
            running.leaves.append(path)
        return running


def _elsewhere(pids: Sequence[int]) -> list[Path]:
    """What tritonserver keeps where nobody can tell it not to: the model's copy in /tmp, its shared memory.

    Both stay when it is killed; the processes of its Python backend are started with their names.
    """
    found = []
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if Path(words[0]).name == _BACKEND:
            found += [Path(word).parents[1] for word in words[1:2] if _COPY.fullmatch(word)]
            found += [Path("/dev/shm") / word for word in words[2:3] if word.startswith(_MEMORY)]
    return found


SERVER = Triton()
