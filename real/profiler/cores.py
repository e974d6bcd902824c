"""Which cores are whose: reserved ones, the driver's, and the models'; none has two owners unless that is allowed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from real.errors import RefusedError

_MOST = 1 << 16


@dataclass(frozen=True, slots=True)
class Pinning:
    """The cores of a profile, each group ascending."""

    reserved: tuple[int, ...]
    driver: tuple[int, ...]
    model: tuple[int, ...]

    def of_replicas(self, replicas: int, each: int) -> list[tuple[int, ...]]:
        """The cores of each replica: the next `each` of the models', so that no two replicas share one."""
        return [self.model[k * each : (k + 1) * each] for k in range(replicas)]


def parse(option: str, text: str) -> tuple[int, ...]:
    """Cores as the kernel writes them: `0-3,8`.

    Args:
        option: For the message.
        text: Empty means none.

    Raises:
        RefusedError: It is no such list, or names a core twice.
    """
    found: list[int] = []
    for part in text.replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not first.isascii() or not first.isdigit() or (dash and not (last.isascii() and last.isdigit())):
            raise RefusedError(option, f"{part!r} is neither a core nor a range of cores; write 0-3,8")
        begin, end = int(first), int(last or first)
        if not begin <= end < _MOST:
            raise RefusedError(option, f"{part!r} is no range of cores from 0 to {_MOST - 1}, ascending")
        found += range(begin, end + 1)
    if len(set(found)) < len(found):
        raise RefusedError(option, f"{text!r} names a core twice")
    return tuple(sorted(found))


def pinning(
    reserved: tuple[int, ...],
    driver: tuple[int, ...] | None,
    model: tuple[int, ...] | None,
    *,
    allow_overlap: bool,
    available: Iterable[int] | None = None,
) -> Pinning:
    """Who runs where.

    Args:
        reserved: Cores that nobody here may use.
        driver: None: the first core that is neither reserved nor a model's.
        model: None: every core that is neither reserved nor the driver's.
        allow_overlap: Let groups share cores; where there is no core left for one, it then takes all.
        available: Cores of this process, where those are not the machine's.

    Raises:
        RefusedError: A core is not there, or belongs to two groups.
    """
    here = sorted(os.sched_getaffinity(0) if available is None else available)
    for option, cores in (("--driver-cpus", driver or ()), ("--model-cpus", model or ())):
        if missing := sorted(set(cores) - set(here)):
            raise RefusedError(option, f"no core {listed(missing)} for this process; it has {listed(here)}")
    if driver is None:
        left = [core for core in here if core not in {*reserved, *(model or ())}]
        driver = tuple(left[:1] or (here if allow_overlap else ()))
    if model is None:
        left = [core for core in here if core not in {*reserved, *driver}]
        model = tuple(left or (here if allow_overlap else ()))
    for option, cores in (("--driver-cpus", driver), ("--model-cpus", model)):
        if not cores:
            message = (
                f"no core is left for it: this process has {listed(here)}; --allow-overlap lets groups share cores"
            )
            raise RefusedError(option, message)
    groups = {"--reserved-cpus": reserved, "--driver-cpus": driver, "--model-cpus": model}
    if not allow_overlap:
        names = list(groups)
        for i, one in enumerate(names):
            for other in names[i + 1 :]:
                if both := sorted(set(groups[one]) & set(groups[other])):
                    message = f"core {listed(both)} is also in {one}: what runs there would disturb the measurement"
                    raise RefusedError(other, f"{message}; --allow-overlap if that is meant")
    return Pinning(tuple(sorted(reserved)), tuple(sorted(driver)), tuple(sorted(model)))


def refuse_too_many(model: tuple[int, ...], most_replicas: int, most_cpus: int) -> None:
    """CPUs per replica are at most the models' cores over the most replicas, so that every cell can be pinned.

    Raises:
        RefusedError: They are more.
    """
    allowed = len(model) // most_replicas
    if most_cpus > allowed:
        message = (
            f"{most_cpus} for each of {most_replicas} replicas do not fit the models' {len(model)} cores "
            f"({listed(model)}): at most {len(model)} / {most_replicas}, rounded down: {allowed}"
        )
        remedy = "fewer --num-replicas" if allowed == 0 else "fewer CPUs a replica"
        raise RefusedError("--cpus-per-replica-nums", f"{message}; give more --model-cpus or {remedy}")


def listed(cores: Iterable[int]) -> str:
    """Cores as the kernel writes them."""
    found: list[list[int]] = []
    for core in sorted(cores):
        if found and core == found[-1][1] + 1:
            found[-1][1] = core
        else:
            found.append([core, core])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found) or "none"


def allowed(pid: int) -> tuple[int, ...]:
    """The cores that every thread of a process may use, as the kernel says; empty where threads differ."""
    seen = set()
    for folder in Path(f"/proc/{pid}/task").iterdir():
        try:
            lines = (folder / "status").read_text().splitlines()
        except OSError:
            continue  # ended meanwhile
        seen.add(next(line.split(":")[1].strip() for line in lines if line.startswith("Cpus_allowed_list:")))
    return parse("", seen.pop()) if len(seen) == 1 else ()


@contextmanager
def driver_on(cores: tuple[int, ...]) -> Iterator[None]:
    """Keeps this thread on the driver's cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
