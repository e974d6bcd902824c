"""The report: one HTML file about some runs and, where there is one, the check of predictions against them.

It loads nothing: style and plots are in the file.  What a simulated run says is drawn as a prediction, what a real
run says as a measurement; rows of a check bring both, with the prediction's interval.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import page, plots, residuals, run_figures, settings, text
from analysis.cluster import is_cluster
from analysis.figures import Figure
from analysis.metrics import stage_ms
from analysis.plots import Sample
from analysis.runs import Run, RunError, read_run
from analysis.tables import RUN_METRICS, STATISTICS

#: On the delivery callback's clock: that is the one predictions are checked on, and no millisecond floors it.
LATENCIES = ("latency_acked_ms_p50", "latency_acked_ms_p99")
_LATENCY_LABEL = {"latency_acked_ms_p50": "latency p50, ms", "latency_acked_ms_p99": "latency p99, ms"}
#: What a check row may call a metric -> the name of run.json.
_WORDS = {"latency_p50": LATENCIES[0], "latency_p99": LATENCIES[1], "throughput": "throughput_per_s"}
#: Of at most so many runs every plot is shown.
MAX_DETAILED = 12
_PARALLELISM_LABEL = {"drain": "drain throughput", "sustainable": "sustainable throughput"}


def report(run_dirs: Sequence[Path | str], check_results: Sequence[Mapping[str, Any]] | None, out: Path) -> Path:
    """Writes the report; about clusters, that of `analysis.cluster_report`.

    Args:
        run_dirs: Folders of runs, of either backend, all of pipelines or all of clusters.
        check_results: Rows of a check; None without one.
        out: The HTML file; its folder is created.

    Returns:
        `out`.

    Raises:
        RunError: A run cannot be read.
        ValueError: Neither a run nor a row, or runs of both kinds.
    """
    if not run_dirs and not check_results:
        raise ValueError("nothing to report: no run and no check")
    runs = [read_run(path) for path in run_dirs]
    rows = list(check_results or ())
    of_clusters = [run for run in runs if is_cluster(run.meta)]
    if of_clusters:
        from analysis.cluster_report import report as cluster_report

        if rows or len(of_clusters) < len(runs):
            raise ValueError("runs of clusters stand in a report of their own")
        return cluster_report(runs, out)
    # Where runs and rows speak of one point, the row has the interval and the repeats.
    found = {(s.metric, s.kind, s.parallelism, s.rate_per_s): s for s in run_samples(run.meta for run in runs)}
    found |= {(s.metric, s.kind, s.parallelism, s.rate_per_s): s for s in map(check_sample, rows)}
    breakdown, details = _run_by_run(runs)
    return page.write(
        out,
        "report.html.j2",
        title=", ".join(dict.fromkeys(str(run.meta["name"]) for run in runs)) or "check",
        runs=[_run_row(run) for run in runs],
        latency_columns=STATISTICS,
        figures=_figures(list(found.values())),
        stages={k: v for k, v in breakdown.items() if any(x is not None for x in v.values())},
        stage_names=list(next(iter(breakdown.values()), {})),
        stage_plot=_stage_plot(runs, breakdown),
        details=details,
        left_out=max(0, len([run for run in runs if run.complete]) - MAX_DETAILED),
        differences=settings.differences({_name(run): run.meta.get("scenario") or {} for run in runs}),
        residuals=residuals.figures(rows),
        outcomes=_outcomes(runs),
        check=[_check_row(row) for row in rows],
        provenance=[page.provenance(run) for run in runs],
    )


def run_samples(metas: Iterable[Mapping[str, Any]]) -> list[Sample]:
    """Runs as samples: repeats of one point are together, simulated ones as its prediction, real ones measured."""
    groups: dict[tuple[str, str, int, float | None], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for meta in metas:
        if meta["verdict"] == "INVALID":
            continue
        parallelism, rate = _parallelism(meta), offered(meta)
        values = meta["metrics"]
        for name in (*LATENCIES, "throughput_per_s"):
            if rate is not None and values.get(name) is not None:
                groups[name, "rate", parallelism, rate][meta["backend"]].append(values[name])
        drained = values.get("drain_throughput_per_s")
        if drained is not None:
            groups["drain_throughput_per_s", "drain", parallelism, None][meta["backend"]].append(drained)
    samples = []
    for (metric, kind, parallelism, rate), by_backend in groups.items():
        simulated = by_backend.get("sim", [])
        several = len(simulated) > 1
        samples.append(
            Sample(
                metric,
                kind,
                parallelism,
                rate,
                predicted=float(np.median(simulated)) if simulated else None,
                lo=min(simulated) if several else None,
                hi=max(simulated) if several else None,
                measured=tuple(by_backend.get("real", ())),
            )
        )
    return samples


def check_sample(row: Mapping[str, Any]) -> Sample:
    """A row of a check as a sample."""
    metric = str(row["metric"])
    return Sample(
        _WORDS.get(metric, metric),
        str(row["kind"]),
        int(row["parallelism"]),
        row.get("rate_per_s") if row["kind"] == "rate" else None,
        row.get("predicted"),
        row.get("predicted_lo"),
        row.get("predicted_hi"),
        tuple(row.get("repeats") or ()),
    )


def offered(meta: Mapping[str, Any]) -> float | None:
    """The rate a run stands at: as its scenario says it, so that repeats agree, else as it was offered."""
    values, load = meta["metrics"], (meta.get("scenario") or {}).get("workload") or {}
    if values.get("offered_per_s") is None:
        return None
    from scenarios.units import RATE, UnitError

    arrival = load.get("arrival") or {}
    if arrival.get("kind") in ("constant", "poisson", "gamma"):
        try:
            return float(RATE.parse(arrival["rate"]))
        except (UnitError, KeyError):
            pass
    return float(f"{values['offered_per_s']:.2g}")


def _figures(samples: Sequence[Sample]) -> list[Figure]:
    """Latency and throughput against rate (a colour a parallelism) and against parallelism (a colour a rate)."""
    figures = []
    paced = [s for s in samples if s.kind == "rate" and s.rate_per_s is not None]
    for metric in (*LATENCIES, "throughput_per_s"):
        of = [s for s in paced if s.metric == metric]
        label = _LATENCY_LABEL.get(metric, "throughput, records/s")
        options = {"ylabel": label, "log_y": metric in _LATENCY_LABEL}
        by_parallelism: dict[str, list[tuple[float, Sample]]] = defaultdict(list)
        by_rate: dict[str, list[tuple[float, Sample]]] = defaultdict(list)
        for s in sorted(of, key=lambda s: (s.parallelism, s.rate_per_s or 0.0)):
            by_parallelism[f"parallelism {s.parallelism}"].append((s.rate_per_s or 0.0, s))
        for s in sorted(of, key=lambda s: s.rate_per_s or 0.0):
            by_rate[f"{text.number(s.rate_per_s)} /s"].append((s.parallelism, s))
        if by_parallelism:
            svg = plots.curves(by_parallelism, xlabel="offered rate, records/s", integer_x=False, **options)  # type: ignore[arg-type]
            title = f"{label.split(',')[0].capitalize()} against rate"
            figures.append(Figure(title, svg, _data("offered_per_s", by_parallelism)))
        by_rate = _several(by_rate)
        if metric == "throughput_per_s":
            for s in (s for s in samples if s.kind in _PARALLELISM_LABEL):
                by_rate.setdefault(_PARALLELISM_LABEL[s.kind], []).append((s.parallelism, s))
        if by_rate:
            svg = plots.curves(by_rate, xlabel="parallelism", integer_x=True, **options)  # type: ignore[arg-type]
            title = f"{label.split(',')[0].capitalize()} against parallelism"
            figures.append(Figure(title, svg, _data("parallelism", by_rate)))
    return figures


def _data(x: str, series: Mapping[str, Sequence[tuple[float, Sample]]]) -> dict[str, list[Any]]:
    """What `plots.curves` draws, as columns: a row a point, its repeats beside each other in one."""
    points = [(label, at, s) for label, places in series.items() for at, s in places]
    return {
        "series": [label for label, _, _ in points],
        x: [at for _, at, _ in points],
        "predicted": [s.predicted for _, _, s in points],
        "predicted_lo": [s.lo for _, _, s in points],
        "predicted_hi": [s.hi for _, _, s in points],
        "measured": [" ".join(map(repr, s.measured)) for _, _, s in points],
    }


def _several(series: Mapping[str, list[tuple[float, Sample]]]) -> dict[str, list[tuple[float, Sample]]]:
    """The series with more than one place on the axis: one alone shows no course."""
    return {label: points for label, points in series.items() if len({x for x, _ in points}) > 1}


def _run_row(run: Run) -> dict[str, Any]:
    meta = run.meta
    values = meta["metrics"]
    return {
        "id": meta["id"] or run.path.name,
        "backend": meta["backend"] or text.NOTHING,
        "parallelism": _parallelism(meta) or text.NOTHING,
        "verdict": meta["verdict"],
        "why": meta["verdict_reason"] or "",
        "metrics": {h: text.number(values.get(m)) for m, h in RUN_METRICS.items()},
        "latency": {
            clock: [text.number(values.get(f"latency_{clock}_ms_{s}")) for s in STATISTICS]
            for clock in ("append", "acked")
        },
    }


def _check_row(row: Mapping[str, Any]) -> dict[str, Any]:
    repeats = row.get("repeats") or ()
    ok = row.get("ok")
    return {
        "which": text.which(row),
        "metric": row["metric"],
        "predicted": text.bound_text(row),
        "measured": text.number(row.get("measured")),
        "repeats": ", ".join(text.number(v) for v in repeats),
        "error": text.percent(row.get("error"), row.get("signed")),
        "ceiling": text.percent(row.get("ceiling")),
        "utilisation": text.number(row.get("utilisation"), 2),
        "band": row.get("band") or "",
        "mark": "not scored" if not row.get("scored") else "" if ok is None else "ok" if ok else "above its bound",
    }


def _outcomes(runs: Sequence[Run]) -> dict[str, Any]:
    """Accounting as a table of the terms that occur anywhere."""
    names = dict.fromkeys(name for run in runs for name in run.meta["accounting"])
    used = [n for n in names if n in ("sent", "scored") or any(run.meta["accounting"].get(n) for run in runs)]
    lines = {
        run.meta["id"] or run.path.name: [f"{run.meta['accounting'].get(n, 0):,}" for n in used]
        for run in runs
        if run.meta["accounting"]
    }
    return {"names": used, "lines": lines}


def _run_by_run(runs: Sequence[Run]) -> tuple[dict[str, dict[str, float | None]], list[dict[str, Any]]]:
    """Of each run its stages, and of the first ones the figures.  The records of one run at a time are held."""
    from scenarios.errors import ScenarioError
    from scenarios.load import from_resolved

    breakdown: dict[str, dict[str, float | None]] = {}
    details: list[dict[str, Any]] = []
    for run in runs:
        breakdown[_name(run)] = {}
        if not run.complete:
            continue
        try:
            scenario = from_resolved(run.meta["scenario"])
        except ScenarioError as error:
            raise RunError(run.path, f"its scenario cannot be read: {error}") from error
        records = read_run(run.path).records  # read apart from `run`, which lives as long as the report is made
        breakdown[_name(run)] = stage_ms(scenario, records)
        if len(details) < MAX_DETAILED:
            found = run_figures.figures(_name(run), scenario, records)
            meta = run.meta
            details.append({"id": _name(run), "backend": meta["backend"], "verdict": meta["verdict"], "figures": found})
    return breakdown, [run for run in details if run["figures"]]


def _name(run: Run) -> str:
    return str(run.meta["id"] or run.path.name)


def _stage_plot(runs: Sequence[Run], breakdown: Mapping[str, Mapping[str, float | None]]) -> Figure | None:
    """The bars of at most a dozen paced points, one run each, STABLE ones: where records queue that dwarfs the rest."""
    bars: dict[tuple[int, float, str], Mapping[str, float | None]] = {}
    for run in runs:
        rate, stages = offered(run.meta), breakdown[run.meta["id"] or run.path.name]
        if run.meta["verdict"] == "STABLE" and rate is not None and any(stages.values()):
            bars.setdefault((_parallelism(run.meta), rate, str(run.meta["backend"])), stages)
    named = {f"{who} {text.number(rate)} /s x{count}": bars[count, rate, who] for count, rate, who in sorted(bars)[:12]}
    if not named:
        return None
    names = list(dict.fromkeys(name for stages in named.values() for name in stages))
    data: dict[str, list[Any]] = {"point": list(named)}
    data |= {f"{name}_ms": [stages.get(name) for stages in named.values()] for name in names}
    return Figure("Median time of each stage", plots.stages(named), data)


def _parallelism(meta: Mapping[str, Any]) -> int:
    return int(((meta.get("scenario") or {}).get("engine") or {}).get("parallelism") or 0)
