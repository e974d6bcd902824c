"""Two results held against each other: which metrics differ, by how much, and whether that is more than noise.

Two runs: block bootstrap, with the same blocks for both where they had the same schedule, whatever backend each is of.
Two scenarios: replications of both with the same seeds, simulated by the simulator's own command.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import blocks, stats
from analysis.columns import VERDICTS
from analysis.difference import NOISE, REAL, SAME, Estimate, Held, Limit, hold, judge, replicated
from analysis.metrics import Metrics, lag_slope, metrics, window_lag
from analysis.records import Columns
from analysis.runs import Run, RunError
from analysis.window import after, cut, in_window, window_ns
from scenarios import load
from scenarios.spec import MS_NS, Scenario

#: What the first line is about, the first that differs; else the first with an interval.
HEADLINES = (
    *("latency_append_ms_p99", "latency_acked_ms_p99", "latency_acked_ms_p50", "throughput_per_s"),
    *("drain_throughput_per_s", "latency_append_ms_p95", "latency_append_ms_p50", "latency_append_ms_mean"),
)
_SHARES = (5, 50, 95)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        what: Its folder or file.
        name: Of its scenario.
        backend: `sim` or `real`.
        verdict: The worst of its replications.
    """

    what: str
    name: str
    backend: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it.

    Attributes:
        sides: A and B.
        how: What an interval is made of, one sentence.
        paired: Whether draws pair.
        estimates: Metric -> its estimate on both sides.
        judged: Metric -> one of `difference.REAL`, ...
        held: What became of the limits.
        records: Of single records that pair: what changed for them; None where none do.
        notes: What a reader should know.
        replications: Of scenarios; 0 for runs.
    """

    sides: tuple[Side, Side]
    how: str
    paired: bool
    estimates: dict[str, Estimate]
    judged: dict[str, str]
    held: tuple[Held, ...] = ()
    records: dict[str, float] | None = None
    notes: tuple[str, ...] = ()
    replications: int = 0

    @property
    def broken(self) -> bool:
        """Whether a limit is broken beyond noise."""
        return any(each.broken for each in self.held)

    @property
    def headline(self) -> str | None:
        """The metric of the first line; None where nothing has an interval."""
        known = [
            name for name in (*HEADLINES, *self.estimates) if name in self.estimates and self.estimates[name].known
        ]
        real = [name for name in known if self.judged[name] == REAL]
        return next(iter([*real, *known]), None)

    @property
    def saved(self) -> float | None:
        """The share of variance that pairing saved, the median over the metrics that vary."""
        found = [each.saved for each in self.estimates.values() if each.saved is not None]
        return float(np.median(found)) if found and self.paired else None

    def count(self, word: str) -> int:
        """How many metrics were judged so."""
        return sum(judged == word for judged in self.judged.values())

    def told(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "a": dataclasses.asdict(self.sides[0]),
            "b": dataclasses.asdict(self.sides[1]),
            "how": self.how,
            "paired": self.paired,
            "replications": self.replications or None,
            "real": self.count(REAL),
            "noise": self.count(NOISE) + self.count(SAME),
            "variance_saved": self.saved,
            "metrics": {name: self._row(name) for name in self.estimates},
            "limits": [each.told() for each in self.held],
            "records": self.records,
            "notes": list(self.notes),
        }

    def _row(self, name: str) -> dict[str, Any]:
        each = self.estimates[name]
        lo, hi = each.interval() or (None, None)
        return {
            "a": each.a,
            "b": each.b,
            "difference": each.difference,
            "lo": lo,
            "hi": hi,
            "relative": each.relative,
            "judged": self.judged[name],
            "p": each.chance(),
            "variance": each.variance() if each.known else None,
            "variance_independent": each.var_a + each.var_b
            if each.var_a is not None and each.var_b is not None
            else None,
            "variance_saved": each.saved,
        }


def runs(a: Run, b: Run, limits: Sequence[Limit] = (), *, seed: int = 0) -> Comparison:
    """Compares two runs.

    Args:
        a: A run that completed.
        b: Another.
        limits: What B may not be worse by.
        seed: Of the bootstrap's draws.

    Raises:
        RunError: One is not of a pipeline, or did not complete.
        ValueError: A limit that these runs cannot say anything about.
    """
    (first, x), (second, y) = _read(a), _read(b)
    settled = [after(s, cut(s, r)) for s, r in ((first, x), (second, y))]
    paired, common = _same_schedule(settled, (x, y))
    found = [
        (scenario, columns, metrics(scenario, columns, run.meta["counters"]))
        for scenario, columns, run in zip(common, (x, y), (a, b), strict=True)
    ]
    cutting = blocks.cutting([(s, r) for s, r, _ in found])
    notes = [
        *_verdict_notes((a.meta, b.meta)),
        *(["both are compared over the time that both count"] if paired and common != settled else []),
    ]
    if cutting is None:
        values = [m for _, _, m in found]
        estimates = {
            name: Estimate(v, w)
            for name, v in values[0].items()
            if v is not None and (w := values[1].get(name)) is not None
        }
        notes.append("too few records for an interval")
        how = "one figure a run"
    else:
        estimates = blocks.estimates(found[0], found[1], cutting.blocks, paired=paired, seed=seed)
        _add_slope(estimates, found)
        how = f"{cutting.blocks} blocks of time, {'paired record by record' if paired else 'drawn apart'}"
        if cutting.long:
            notes.append("latencies are correlated over longer than a block: intervals are too short; run longer")
    sides = (_side(a), _side(b))
    held = tuple(hold(limit, estimates) for limit in limits)
    records = _paired_records(common[0], x, y) if paired else None
    return Comparison(sides, how, paired, estimates, judge(estimates), held, records, tuple(notes))


def replications(told: Mapping[str, Any], limits: Sequence[Limit] = ()) -> Comparison:
    """Compares two scenarios by what the simulator told of pairs of replications.

    Args:
        told: The object that `python -m sim pairs` prints: `a`, `b` (what, name), `pairs` (each with `a`, `b`: verdict
            and metrics; and `records`).
        limits: What B may not be worse by.

    Raises:
        ValueError: Fewer than two pairs, or a limit that these cannot say anything about.
    """
    pairs = told["pairs"]
    estimates = {}
    for name in pairs[0]["a"]["metrics"]:
        values = [[pair[side]["metrics"].get(name) for pair in pairs] for side in "ab"]
        if None not in values[0] and None not in values[1]:
            estimates[name] = replicated(values[0], values[1])
    sides = tuple(
        Side(told[s]["what"], told[s]["name"], "sim", min((p[s]["verdict"] for p in pairs), key=VERDICTS.index))
        for s in "ab"
    )
    rows = [pair["records"] for pair in pairs if pair["records"] is not None]
    records = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} if len(rows) == len(pairs) else None
    return Comparison(
        (sides[0], sides[1]),
        f"{len(pairs)} replications of each, the same seeds on both sides",
        True,
        estimates,
        judge(estimates),
        tuple(hold(limit, estimates) for limit in limits),
        records,
        tuple(_verdict_notes([{"verdict": side.verdict} for side in sides])),
        len(pairs),
    )


def record_differences(a_ms: Any, b_ms: Any) -> dict[str, float]:
    """What changed for records that pair.

    Args:
        a_ms: Latency of each record in A.
        b_ms: Of the same records in B.
    """
    a, b = np.asarray(a_ms, dtype=np.float64), np.asarray(b_ms, dtype=np.float64)
    change = b - a
    apart = float(a.var() + b.var())
    return {
        "paired": float(len(change)),
        "mean_ms": float(change.mean()),
        **{f"p{share}_ms": float(value) for share, value in zip(_SHARES, np.percentile(change, _SHARES), strict=True)},
        "slower": float(np.mean(change > 0)),
        "variance_saved": 1 - float(change.var()) / apart if apart else 0.0,
    }


def latencies_ms(inside: Any, a: Columns, b: Columns) -> tuple[Any, Any] | None:
    """Latency (to the delivery callback) of the records that both answered; None where there is none."""
    created = np.asarray(a["created"])
    x, y = np.asarray(a["acked"]), np.asarray(b["acked"])
    both = inside & (x >= 0) & (y >= 0)
    return ((x - created)[both] / MS_NS, (y - created)[both] / MS_NS) if both.any() else None


def _paired_records(scenario: Scenario, a: Columns, b: Columns) -> dict[str, float] | None:
    """The columns hold other records outside the window, perhaps, so both are cut to it first."""
    inside = [in_window(scenario, each) for each in (a, b)]
    x, y = ({c: np.asarray(r[c])[i] for c in ("created", "acked")} for r, i in zip((a, b), inside, strict=True))
    found = latencies_ms(np.ones(len(x["created"]), dtype=bool), x, y)
    return None if found is None else record_differences(*found)


def _read(run: Run) -> tuple[Scenario, Columns]:
    from analysis.cluster import is_cluster

    if is_cluster(run.meta):
        raise RunError(run.path, "is of a cluster; runs of pipelines are compared")
    if not run.complete:
        raise RunError(run.path, "did not complete: there is no whole run to compare")
    scenario = load.from_resolved(run.meta["scenario"], str(run.path))
    return scenario, run.records


def _same_schedule(settled: list[Scenario], records: Sequence[Columns]) -> tuple[bool, list[Scenario]]:
    """Whether both runs had the same records to send in their windows, and the scenarios with the window of both."""
    windows = [window_ns(s, r) for s, r in zip(settled, records, strict=True)]
    begin, end = max(w[0] for w in windows), min(w[1] for w in windows)
    if begin >= end:
        return False, settled
    common = [
        dataclasses.replace(
            s,
            workload=dataclasses.replace(
                s.workload, warmup_ns=begin, duration_ns=end - begin, records=None, warmup_rule="fixed"
            ),
        )
        for s in settled
    ]
    inside = [in_window(s, r) for s, r in zip(common, records, strict=True)]
    x, y = (
        [np.asarray(r[column])[i] for column in ("sequence", "created")] for r, i in zip(records, inside, strict=True)
    )
    same = [np.array_equal(one, other) for one, other in zip(x, y, strict=True)]
    if not all(same) or not inside[0].any():
        return False, settled
    return True, settled if windows[0] == windows[1] else common


def _add_slope(estimates: dict[str, Estimate], found: Sequence[tuple[Scenario, Columns, Metrics]]) -> None:
    """The lag's slope has an interval of its own."""
    name = "lag_slope_per_s"
    if name not in estimates:
        return
    slopes: list[stats.Slope] = [lag_slope(*window_lag(s, r)) for s, r, _ in found]
    errors = [(s.hi - s.lo) / 2 / 1.96 for s in slopes if s.lo is not None and s.hi is not None]
    if len(errors) == len(slopes):
        each = estimates[name]
        estimates[name] = Estimate(each.a, each.b, errors[0] ** 2, errors[1] ** 2, 0.0, 1000.0)


def _verdict_notes(metas: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{side} is {meta['verdict']}: its latencies depend on how long it ran"
        if meta["verdict"] in ("OVERLOADED", "BACKLOGGED")
        else f"{side} is {meta['verdict']}"
        for side, meta in zip("AB", metas, strict=True)
        if meta["verdict"] != "STABLE"
    ]


def _side(run: Run) -> Side:
    return Side(str(run.path), str(run.meta["name"]), str(run.meta["backend"]), str(run.meta["verdict"]))
