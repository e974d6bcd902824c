"""What a profile measures: a grid of cells, each one combination of the parameters, and what may not be asked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from real.errors import RefusedError
from real.profiler.cores import Pinning, refuse_too_many
from real.profiler.devices import Device, spread
from scenarios.spec import Model

#: What a cell may measure, in this order: full batches, latency at part of the capacity, overload, the highest rate.
MEASURES = ("service", "latency", "overload", "search")
#: The word for models that answer without a file and so without a runtime.
NO_RUNTIME = "none"
_MOST_BATCH, _MOST_REPLICAS, _MOST_S = 65_536, 512, 86_400.0


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters of a grid.

    Attributes:
        models: Each with the runtimes that score it.
        duration_s: Of each measurement, warm-up apart.
        batches: Points scored at once.
        replicas: How many score side by side.
        cpus: Cores of each replica.
        gpus: Devices; a replica gets one while there are any.
        pinning: Whose cores are whose.
        measures: Of `MEASURES`.
        load: Share of the capacity that is offered for latency.
        overload: The same for overload.
        rate_per_s: Offered for latency, instead of a share.
        arrival: Between requests: `constant` or `poisson`.
        start_per_s: Where the search starts; None: at the capacity that full batches had.
        trial: Completions of one trial; None: 300, or ten batches where that is more.
        repeats: A cell is measured at most so often ...
        precision: ... until the 95 % interval of its throughput is within this share of it.
        warmup_s: That warming up may take at most.
        cool_down_s: Rest before a cell.
        seed: Of weights, inputs, arrivals, and the order of the cells.
    """

    models: tuple[tuple[Model, str], ...]
    pinning: Pinning
    duration_s: float = 120.0
    batches: tuple[int, ...] = (2,)
    replicas: tuple[int, ...] = (1,)
    cpus: tuple[int, ...] = (1,)
    gpus: tuple[Device, ...] = ()
    measures: tuple[str, ...] = ("service", "latency")
    load: float = 0.7
    overload: float = 4.0
    rate_per_s: float | None = None
    arrival: str = "constant"
    start_per_s: float | None = None
    trial: int | None = None
    repeats: int = 3
    precision: float = 0.05
    warmup_s: float = 10.0
    cool_down_s: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination.

    Attributes:
        cores: Of each replica.
        devices: Of each replica.
        asked: The rest, common to the grid.
    """

    model: Model
    runtime: str
    batch: int
    replicas: int
    cpus: int
    cores: tuple[tuple[int, ...], ...]
    devices: tuple[Device, ...]
    asked: Asked = field(repr=False)

    @property
    def label(self) -> str:
        """For people."""
        cores = "" if self.cpus == 1 else f" of {self.cpus} cores"
        scored = "" if self.runtime == NO_RUNTIME else f" {self.runtime}"
        return f"{self.model.label}{scored}, batch {self.batch}, {self.replicas} x{cores or ' 1 core'}"

    def key(self) -> dict[str, Any]:
        """All that a result depends on but the host."""
        own = dataclasses.asdict(dataclasses.replace(self.asked, models=(), gpus=()))
        for name in ("models", "gpus", "batches", "replicas", "cpus", "pinning", "repeats", "precision"):
            own.pop(name)
        own["measures"] = list(self.asked.measures)
        model = {name: value for name, value in dataclasses.asdict(self.model).items() if value is not None}
        if self.model.path is not None:  # another file under the same name is another model
            model["sha256"] = hashlib.sha256(Path(self.model.path).read_bytes()).hexdigest()
        return {
            "model": model,
            "runtime": self.runtime,
            "batch": self.batch,
            "replicas": self.replicas,
            "cpus_per_replica": self.cpus,
            "cores": [list(cores) for cores in self.cores],
            "driver_cores": list(self.asked.pinning.driver),
            "devices": [dataclasses.asdict(device) for device in self.devices],
            **own,
        }

    @property
    def file(self) -> str:
        """Name of its result."""
        digest = hashlib.sha256(json.dumps(self.key(), sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.model.name}-{self.runtime}-b{self.batch}-r{self.replicas}-c{self.cpus}-{digest}.json"


def cells(asked: Asked) -> list[Cell]:
    """Every cell of a grid, in a plain order.

    Raises:
        RefusedError: A parameter is out of bounds, or the cores do not suffice.
    """
    _refuse(asked)
    return list(_cells(asked))


def _cells(asked: Asked) -> Iterator[Cell]:
    for model, runtime in asked.models:
        for replicas in asked.replicas:
            for cpus in asked.cpus:
                cores = tuple(asked.pinning.of_replicas(replicas, cpus))
                for batch in asked.batches:
                    yield Cell(model, runtime, batch, replicas, cpus, cores, spread(replicas, asked.gpus), asked)


def shuffled(found: Sequence[Cell], seed: int, turn: int) -> list[Cell]:
    """The order of a turn: what drifts on the host then does not drift with a parameter."""
    order = list(found)
    random.Random(f"{seed}/{turn}").shuffle(order)
    return order


def _refuse(asked: Asked) -> None:
    whole = (
        ("--batch-sizes", asked.batches, _MOST_BATCH),
        ("--num-replicas", asked.replicas, _MOST_REPLICAS),
        ("--cpus-per-replica-nums", asked.cpus, _MOST_REPLICAS),
    )
    for option, values, most in whole:
        if not values:
            raise RefusedError(option, f"is empty; give whole numbers from 1 to {most}")
        for value in values:
            if not 1 <= value <= most:
                raise RefusedError(option, f"{value} is not from 1 to {most}")
        if len(set(values)) < len(values):
            raise RefusedError(option, f"{','.join(map(str, values))} names a value twice")
    real: tuple[tuple[str, float | None, float, float], ...] = (
        ("--duration", asked.duration_s, 0.1, _MOST_S),
        ("--load", asked.load, 0.01, 0.95),
        ("--overload", asked.overload, 1.2, 100.0),
        ("--rate", asked.rate_per_s, 1e-3, 1e6),
        ("--start", asked.start_per_s, 1e-3, 1e6),
        ("--trial", asked.trial, 10, 1e6),
        ("--repeats", asked.repeats, 1, 100),
        ("--precision", asked.precision, 1e-4, 1.0),
        ("--warmup", asked.warmup_s, 0.0, 3600.0),
        ("--cool-down", asked.cool_down_s, 0.0, 3600.0),
    )
    for option, number, low, high in real:
        if number is not None and not low <= number <= high:
            raise RefusedError(option, f"{number:g} is not from {low:g} to {high:g}")
    for measure in asked.measures:
        if measure not in MEASURES:
            raise RefusedError("--measure", f"no measurement {measure!r}; there are {', '.join(MEASURES)}")
    if not asked.measures:
        raise RefusedError("--measure", f"is empty; there are {', '.join(MEASURES)}")
    if asked.arrival not in ("constant", "poisson"):
        raise RefusedError("--arrival", f"no arrivals {asked.arrival!r}; there are constant, poisson")
    if not asked.models:
        raise RefusedError("MODELS", "nothing to measure")
    if any(device.pretended for device in asked.gpus) and any(model.name != "sleep" for model, _ in asked.models):
        message = "only the sleep model can be measured on devices that are not there"
        raise RefusedError("--pretended-gpus", message)
    refuse_too_many(asked.pinning.model, max(asked.replicas), max(asked.cpus))
