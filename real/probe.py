"""What the host itself does: how fast n busy threads go, how long a slice is, how late a sleeper and a timer wake.

Each probe is a few hundred short measurements by small processes of its own; nothing else should run meanwhile.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from scenarios.spec import Model

#: Quantiles are reported at 0, 1/16, ..., 1.
QUANTILES = np.linspace(0.0, 1.0, 17)
_GAP_NS = 200_000  # a spinner that did not see the clock for so long was not running
_SPAWN = multiprocessing.get_context("spawn")


def quantiles(values: Any) -> list[float]:
    """17 evenly spaced quantiles of a sample."""
    return [float(q) for q in np.quantile(np.asarray(values, dtype=np.float64), QUANTILES)]


def probe_host(
    seconds: float = 1.0, samples: int = 400, progress: Callable[[str, float | None], None] | None = None
) -> dict[str, Any]:
    """Measures the host.

    Args:
        seconds: How long each set of spinners spins.
        samples: Wake-ups and timers measured.
        progress: Told what is measured.

    Returns:
        `cores`; `curve` (work of n spinners in cores, n = 1 to cores + 1); `slice_ns` (median stretch a spinner runs
        while one more spins than there are cores); `wake_ns` and `timer_ns` (17 quantiles each).
    """
    tell = progress or (lambda _text, _share: None)
    cores = len(os.sched_getaffinity(0))
    done: list[float] = []
    slice_ns: float | None = None
    for n in range(1, cores + 2):
        tell(f"probing the host: {n} busy threads", None)
        counts, stretches = _spin(n, seconds)
        done.append(float(sum(counts)))
        if n == cores + 1:
            full = [s for s in stretches if s > _GAP_NS]
            slice_ns = float(np.median(full)) if full else None
    tell("probing the host: wake-ups and timers", None)
    return {
        "cores": cores,
        "curve": [d / done[0] for d in done],
        "slice_ns": slice_ns,
        "wake_ns": quantiles(_wakes(samples)),
        "timer_ns": quantiles(_timers(samples)),
    }


def _spinner(start_at: float, seconds: float, out: Any) -> None:
    while time.monotonic() < start_at:
        pass
    clock = time.perf_counter_ns
    last = begin = clock()
    end = last + int(seconds * 1e9)
    stretches: list[int] = []
    turns = 0
    while last < end:
        now = clock()
        if now - last > _GAP_NS:
            stretches.append(last - begin)
            begin = now
        last = now
        turns += 1
    out.send((turns, stretches))


def _spin(n: int, seconds: float) -> tuple[list[int], list[int]]:
    start_at = time.monotonic() + 0.5 + 0.1 * n
    children = []
    for _ in range(n):
        mine, theirs = _SPAWN.Pipe()
        child = _SPAWN.Process(target=_spinner, args=(start_at, seconds, theirs), daemon=True)
        child.start()
        children.append((child, mine))
    results = [mine.recv() for _, mine in children]
    for child, _ in children:
        child.join()
    return [turns for turns, _ in results], [s for _, stretches in results for s in stretches]


def _sleeper(inbox: Any, out: Any) -> None:
    while (sent := inbox.recv_bytes()) != b"":
        out.send(time.perf_counter_ns() - int.from_bytes(sent, "little"))


def _wakes(samples: int) -> list[int]:
    """From writing to a pipe to running behind it in another process, on an idle host."""
    inbox, feed = _SPAWN.Pipe(duplex=False)
    answers, out = _SPAWN.Pipe(duplex=False)
    child = _SPAWN.Process(target=_sleeper, args=(inbox, out), daemon=True)
    child.start()
    late: list[int] = []
    for _ in range(samples):
        time.sleep(0.002)
        feed.send_bytes(time.perf_counter_ns().to_bytes(8, "little"))
        late.append(answers.recv())
    feed.send_bytes(b"")
    child.join()
    return late[samples // 10 :]


def _timers(samples: int) -> list[int]:
    late: list[int] = []
    for _ in range(samples):
        due = time.perf_counter_ns() + 2_000_000
        time.sleep(0.002)
        late.append(max(0, time.perf_counter_ns() - due))
    return late[samples // 10 :]


def probe_scoring(
    model: Model,
    runtime: str,
    payload_format: str,
    points: tuple[int, ...],
    seed: int,
    model_dir: str,
    seconds: float = 0.25,
) -> dict[int, dict[str, float]]:
    """CPU ns of parsing, scoring and encoding one record of so many points, hot, on this thread.

    Returns:
        points -> `decode_ns`, `score_ns`, `encode_ns` (medians of blocks), `input_bytes`, `output_bytes`.
    """
    import dataclasses

    from models import payload
    from models.scorer import load_scorer
    from scenarios.spec import Payload, Scenario, Workload

    result = {}
    scorer = load_scorer(model, runtime, model_dir, seed)
    for n in points:
        workload = Workload(points=n, payload=dataclasses.replace(Payload(), format=payload_format, pool=4), seed=seed)  # type: ignore[arg-type]
        pool = payload.payload_pool(Scenario(workload=workload, model=model))
        rows: list[tuple[int, int, int]] = []
        end = time.monotonic() + seconds
        size_out = 0
        cpu = time.thread_time_ns
        while time.monotonic() < end or len(rows) < 8:
            data = pool[len(rows) % len(pool)]
            a = cpu()
            message = payload.parse_input(payload_format, data)
            b = cpu()
            prediction = scorer.score(message.values)
            c = cpu()
            encoded = payload.encode_output(payload_format, message, prediction)
            d = cpu()
            size_out = len(encoded)
            rows.append((b - a, c - b, d - c))
        medians = np.median(np.asarray(rows[len(rows) // 4 :]), axis=0)
        result[n] = {
            "decode_ns": float(medians[0]),
            "score_ns": float(medians[1]),
            "encode_ns": float(medians[2]),
            "input_bytes": float(np.mean([len(x) for x in pool])),
            "output_bytes": float(size_out),
        }
    return result
