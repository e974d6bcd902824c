"""A process of a run, seen from inside: its configuration, its orders on stdin, its reports on stdout.

Orders and reports are lines of JSON.  When stdin ends the harness is gone, and so is the process, at once.  Whatever a
library prints goes to stderr, where the harness looks for last words.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

_PR_SET_NAME, _PR_SET_TIMERSLACK = 15, 29


class Child:
    """The inside of a process of the run.

    Attributes:
        config: What the harness gave it.
        t0_ns: The run's start, nanoseconds of the real-time clock; 0 until the harness said it.
        stopping: Set once the harness asked for the end.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.directory = Path(config["directory"])
        self.t0_ns = 0
        self.started, self.stopping = threading.Event(), threading.Event()
        self._go: dict[str, threading.Event] = {}
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def say(self, event: str, **fields: Any) -> None:
        """Reports to the harness."""
        self._out.write(orjson.dumps({"event": event, **fields}) + b"\n")

    def order(self, name: str) -> threading.Event:
        """An order that the process waits for by its own name."""
        return self._go.setdefault(name, threading.Event())

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            order = orjson.loads(line)
            if order["order"] == "start":
                self.t0_ns = order["t0_ns"]
                self.started.set()
            elif order["order"] == "stop":
                self.stopping.set()
                self.started.set()
            self.order(order["order"]).set()
        os._exit(1)  # the harness is gone


def main(body: Callable[[Child], None]) -> None:
    """Runs a process of the run: `python -m MODULE CONFIG.json`."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the harness decides what an interruption means
    child = Child(orjson.loads(Path(sys.argv[1]).read_bytes()))
    try:
        body(child)
    except BaseException:  # noqa: BLE001 - the last words of the process, whatever ended it
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stderr.flush()
    os._exit(0)  # not through the clients' destructors: the body closed what matters


def settle() -> None:
    """Before the load: what start-up allocated is never looked at again by the garbage collector."""
    gc.collect()
    gc.freeze()


def exact_timers() -> None:
    """Lets this thread's sleeps end within a microsecond of their time instead of the kernel's 50."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)


def thread_ids() -> set[int]:
    """Threads of this process."""
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def settled_threads(quiet_s: float = 0.05, limit_s: float = 2.0) -> set[int]:
    """Threads of this process once none has come for a while."""
    end = time.monotonic() + limit_s
    known = thread_ids()
    while time.monotonic() < end:
        time.sleep(quiet_s)
        now = thread_ids()
        if now == known:
            break
        known = now
    return known


class RequestLog:
    """Requests a client sent, by kind, from its own statistics: samples of (real-time ns, count) for each kind."""

    def __init__(self, *kinds: str) -> None:
        self.samples: dict[str, list[tuple[int, int]]] = {kind: [] for kind in kinds}

    def __call__(self, text: str) -> None:
        """The client's statistics callback."""
        stats = orjson.loads(text)
        at = stats["ts"] * 1_000 + time.time_ns() - time.monotonic_ns()
        brokers = stats["brokers"].values()
        for kind, samples in self.samples.items():
            samples.append((at, sum(broker.get("req", {}).get(kind, 0) for broker in brokers)))
