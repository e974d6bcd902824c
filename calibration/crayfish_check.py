"""Predicts every published run that the calibration was fitted on, as it was made, and compares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from calibration import crayfish
from scenarios import load
from scenarios.spec import Scenario

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios" / "crayfish"
RATE, LATENCY = "throughput_per_s", "latency_mean_ms"
PER_PRODUCER_PER_S = 1000  # `max.input.req.per.worker`
#: Metric -> the bounds that the fit must meet: the median of its errors, and the worst of them.
BOUNDS = {RATE: (0.07, 0.15), LATENCY: (0.01, 0.05)}
#: (engine, tool, model, mr) -> the bound of a rate known to be beyond the worst; docs/crayfish.md says why.
EXCEPTIONS = {("flink-32-n-32", "onnx", crayfish.FFNN, 2): 0.18}


@dataclass(frozen=True, slots=True)
class Cell:
    """One published number: where, of which metric, and what was published and predicted."""

    engine: str
    tool: str
    model: str
    mr: int
    batch_size: int
    offered_per_s: float
    metric: str
    published: float
    predicted: float = math.nan

    @property
    def error(self) -> float:
        """Predicted over published, less one."""
        return self.predicted / self.published - 1


def cells() -> list[Cell]:
    """Every published number that was used."""
    found = crayfish.published()
    rates = [Cell(e, t, m, mr, 1, rate, RATE, x) for e, t, m, rate, mr, x in found["throughput"]]
    return rates + [Cell(e, t, crayfish.FFNN, 1, n, 1 / 3, LATENCY, x) for e, t, n, x in found["latency"]]


def scenario(cell: Cell, sets: Sequence[str] = ()) -> Scenario:
    """The run that a cell is of, at the rate that was offered then."""
    kind = "external" if cell.tool in crayfish.EXTERNAL else "embedded"
    name = cell.engine if cell.model == crayfish.FFNN else cell.model
    put = [f"serving={{kind: {kind}, runtime: {cell.tool}}}", f"engine.parallelism={cell.mr}"]
    if cell.metric == LATENCY:
        name = f"batch-{name}"
        put.append(f"workload.points={cell.batch_size}")
    else:
        producers = max(1, math.ceil(cell.offered_per_s / PER_PRODUCER_PER_S))
        put += [f"workload.arrival.rate={cell.offered_per_s} /s", f"workload.producers={producers}"]
    return load.load(SCENARIOS / f"{name}.yaml", [*put, *sets])


def predicted(
    wanted: Sequence[Cell], root: Path, sets: Sequence[str] = (), progress: Callable[[int, int], None] | None = None
) -> list[Cell]:
    """The cells with their predictions; what was simulated before is kept under `root`."""
    import dataclasses

    from sim import store
    from sim.sweeping import sweep

    points: list[tuple[Mapping[str, Any], Scenario]] = [({}, scenario(cell, sets)) for cell in wanted]
    found = sweep(points, [store.choose(each) for _, each in points], root=root, progress=progress)
    return [
        dataclasses.replace(cell, predicted=point.summary()[cell.metric] or math.nan)
        for cell, point in zip(wanted, found, strict=True)
    ]


def errors(found: Sequence[Cell]) -> tuple[float, float]:
    """The median and the greatest of the errors, without their signs."""
    sizes = [_size(cell) for cell in found]
    return median(sizes), max(sizes)


def broken(found: Sequence[Cell]) -> list[str]:
    """One line for each bound that does not hold."""
    said = []
    for metric, (middle, worst) in BOUNDS.items():
        of_it = [cell for cell in found if cell.metric == metric]
        if of_it and errors(of_it)[0] > middle:
            said.append(f"{metric}: the median error is {errors(of_it)[0]:.1%}, above {middle:.1%}")
        for cell in of_it:
            where = (cell.engine, cell.tool, cell.model, cell.mr)
            bound = EXCEPTIONS.get(where, worst) if metric == RATE else worst
            if _size(cell) > bound:
                batch = "" if metric == RATE else f" batch {cell.batch_size}"
                name = f"{cell.engine} {cell.tool} {cell.model} mr {cell.mr}{batch}"
                said.append(f"{metric} of {name}: the error is {cell.error:+.1%}, beyond {bound:.1%}")
    return said


def _size(cell: Cell) -> float:
    """Of an error, without its sign; infinite where nothing was predicted."""
    return abs(cell.error) if math.isfinite(cell.error) else math.inf


def markdown(found: Sequence[Cell]) -> str:
    """The table of the documentation: a line an engine, tool and model."""
    lines = []
    for metric, head, keys in (
        (RATE, "throughput, messages a second: published / predicted (error) at mr", (1, 2, 4, 32)),
        (LATENCY, "mean latency, ms: published / predicted (error) at a batch of", (32, 512)),
    ):
        lines += [
            f"| {head} | {' | '.join(map(str, keys))} |",
            f"|---{'|---' * len(keys)}|",
        ]
        rows: dict[tuple[str, str, str], dict[int, Cell]] = {}
        for cell in found:
            if cell.metric == metric:
                at = cell.mr if metric == RATE else cell.batch_size
                rows.setdefault((cell.engine, cell.tool, cell.model), {})[at] = cell
        for where, row in rows.items():
            texts = [_text(row[key]) if key in row else "-" for key in keys]
            lines.append(f"| {' '.join(where)} | {' | '.join(texts)} |")
        of_it = [cell for cell in found if cell.metric == metric]
        if of_it:
            middle, worst = errors(of_it)
            lines += ["", f"{len(of_it)} cells: median error {middle:.1%}, worst {worst:.1%}.", ""]
    return "\n".join(lines)


def _text(cell: Cell) -> str:
    return f"{cell.published:g} / {cell.predicted:.4g} ({cell.error:+.1%})"
