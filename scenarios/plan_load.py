"""The plan scenario for the loader: what combinations are wrong, its price file, and the way to and from the spec."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from scenarios import convert, rules, units
from scenarios import plan_schema as schema
from scenarios import plan_spec as spec
from scenarios import schema as pipeline_schema
from scenarios.document import ARRIVAL, Document, Keys
from scenarios.errors import ScenarioError
from scenarios.fields import listed
from scenarios.language import Bounds, Language
from scenarios.problem import Problem
from scenarios.spec import S_NS

TRACE: Keys = (*ARRIVAL, "path")
PRICES: Keys = ("prices",)
#: The percentile that a word of `slo:` bounds.
PERCENTILES = {"latency_p50": 50.0, "latency_p90": 90.0, "latency_p95": 95.0, "latency_p99": 99.0, "latency_p999": 99.9}


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What a replica costs on each kind of hardware, and since when that is known.

    Attributes:
        date: Of the prices, YYYY-MM-DD or a part of it.
        currency: They are in.
        source: Whose prices they are.
        per_h: Hardware -> price of an hour.
    """

    date: str = ""
    currency: str = "USD"
    source: str = ""
    per_h: dict[str, float] = field(default_factory=dict)


def read_prices(path: str) -> PriceFile:
    """A price file: a JSON object of date, currency, source and per_h.

    Raises:
        ScenarioError: Missing, not JSON, or not of that form.
    """
    try:
        state = Path(path).stat()
    except OSError as error:
        raise ScenarioError(path, None, None, "", f"cannot be read: {error.strerror}") from None
    return _read_prices(path, state.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_prices(path: str, _changed_ns: int) -> PriceFile:
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(path, None, None, "", f"cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise ScenarioError(path, error.lineno, error.colno, "", f"not JSON: {error.msg}") from None
    if not isinstance(data, dict) or not isinstance(data.get("per_h"), dict):
        raise ScenarioError(path, None, None, "per_h", "a price file maps hardware to the price of an hour in per_h")
    for hardware, price in data["per_h"].items():
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 < price <= 1e6:
            raise ScenarioError(path, None, None, f"per_h.{hardware}", f"{price!r} is not a price above 0")
    for word in ("date", "currency"):
        if not isinstance(data.get(word), str) or not data[word]:
            raise ScenarioError(path, None, None, word, "is missing")
    return PriceFile(data["date"], data["currency"], str(data.get("source", "")), dict(data["per_h"]))


def problems(file: schema.PlanFile) -> Iterator[Problem]:
    """Every impossible combination in a file whose fields are each valid."""
    yield from _load(file)
    yield from _pipeline(file)
    for model in file.menu:
        if model not in file.pipeline:
            message = listed(f"no model of the pipeline is called {model!r}", model, file.pipeline)
            yield Problem(("menu", model), message, at_key=True)
    for model in file.pipeline:
        if not file.menu.get(model):
            yield Problem(("menu",), f"has no hardware for the model {model!r}", at_key=True)
    for model, options in file.menu.items():
        for hardware, option in options.items():
            yield from _option(("menu", model, hardware), option)
            if option.price is None and file.prices is None:
                yield Problem(("menu", model, hardware), "has no price; write price: 0.90, or prices: and a price file")
    if len(file.slo) != 1:
        yield Problem(("slo",), f"a plan is made for one percentile: {', '.join(schema.PLAN_SLO)}", at_key=True)


def _load(file: schema.PlanFile) -> Iterator[Problem]:
    load = file.workload
    shared = pipeline_schema.Workload.model_validate(
        {"arrival": load.arrival, "duration": units.DURATION.format(load.duration or S_NS)}
    )
    yield from (p for p in rules.problems(pipeline_schema.ScenarioFile(workload=shared)) if p.path[:2] == ARRIVAL)
    if load.duration is not None and "queries" in load.model_fields_set:
        yield Problem(("workload", "queries"), "a trace has a duration or a number of queries, not both", at_key=True)
    if load.duration is None and load.arrival.kind in ("ramp", "square", "bursty"):
        yield Problem(("workload",), f"arrival kind {load.arrival.kind} needs a duration")


def _pipeline(file: schema.PlanFile) -> Iterator[Problem]:
    for name, stage in file.pipeline.items():
        for before in stage.after:
            if before not in file.pipeline:
                message = listed(f"no model of the pipeline is called {before!r}", before, file.pipeline)
                yield Problem(("pipeline", name, "after", before), message, at_key=True)
                return
    ordered = _in_order(file)
    for name in file.pipeline:
        if name not in ordered:
            yield Problem(("pipeline", name, "after"), f"{name} would come after itself")
            return


def _option(at: tuple[str, ...], option: schema.Option) -> Iterator[Problem]:
    if option.table is None:
        if option.each is None:
            yield Problem(at, "how long does a batch take? write base: 4 ms, each: 1 ms, or a table")
        return
    if option.base is not None or option.each is not None:
        yield Problem((*at, "table"), "a batch takes what the table says, or base and each; not both", at_key=True)
    sizes = [word for word in option.table if word.isdigit() and int(word) > 0]
    if not option.table or len(sizes) < len(option.table):
        yield Problem((*at, "table"), "maps batch sizes to times: {1: 5 ms, 8: 12 ms}")
        return
    known = sorted((int(word), ns) for word, ns in option.table.items())
    if any(later < sooner for (_, sooner), (_, later) in itertools.pairwise(known)):
        yield Problem((*at, "table"), "a larger batch takes less time than a smaller one")
    if option.max_batch > known[-1][0] and "max_batch" in option.model_fields_set:
        yield Problem((*at, "max_batch"), f"no time is known for a batch above {known[-1][0]}")


def file_errors(document: Document, file: schema.PlanFile) -> list[ScenarioError]:
    """What is wrong with the price file and the trace that a sound scenario names."""
    from scenarios import traces

    found = []
    if file.prices is not None:
        try:
            per_h = read_prices(file.prices).per_h
        except ScenarioError as error:
            return [document.error(PRICES, str(error))]
        for model, options in file.menu.items():
            for hardware, option in options.items():
                if option.price is None and hardware not in per_h:
                    message = listed(f"no price for {hardware!r} in {Path(file.prices).name}", hardware, per_h)
                    found.append(document.error(("menu", model, hardware), message, at_key=True))
    arrival = file.workload.arrival
    if arrival.path is not None:
        try:
            traces.read(arrival.path, arrival.trace_kind)
        except ScenarioError as error:
            found.append(document.error(TRACE, str(error)))
    return found


def to_scenario(file: schema.PlanFile, bounds: Bounds, repeats: int) -> spec.PlanScenario:
    """The spec of a file that `problems` found sound.

    Args:
        file: The validated file.
        bounds: The bounds of ``slo`` and ``expect``, already read.
        repeats: The value of ``sweep.repeats``.
    """
    (slo,) = bounds["slo"]
    names = _in_order(file)
    stages = tuple(
        spec.Stage(name, tuple(spec.Edge(*edge) for edge in file.pipeline[name].after.items())) for name in names
    )
    return spec.PlanScenario(
        name=file.name,
        workload=convert.to_spec(file.workload),
        pipeline=stages,
        menu=tuple(tuple(_to_option(file, *item) for item in file.menu[name].items()) for name in names),
        prices=file.prices,
        percentile=PERCENTILES[slo.metric],
        slo_ns=round(slo.value * 1_000_000),
        plan=convert.to_spec(file.plan),
        tune=None if file.tune is None else _to_tune(file.tune),
        expect=bounds["expect"],
        repeats=repeats,
    )


def _to_option(file: schema.PlanFile, hardware: str, option: schema.Option) -> spec.Option:
    price = option.price
    if price is None:
        assert file.prices is not None
        price = read_prices(file.prices).per_h[hardware]
    if option.table is None:
        return spec.Option(hardware, price, option.base or 0, option.each or 0, (), option.max_batch)
    table = tuple(sorted((int(word), ns) for word, ns in option.table.items()))
    return spec.Option(hardware, price, 0, 0, table, min(option.max_batch, table[-1][0]))


def _to_tune(section: schema.TuneSettings) -> spec.TuneSettings:
    values = convert.written(section)
    values["phases"] = tuple(
        spec.Phase(each.rate, each.rate if each.to_rate is None else each.to_rate, each.duration, each.cv)
        for each in section.phases
    )
    return spec.TuneSettings(**values)


def _in_order(file: schema.PlanFile) -> list[str]:
    """The models, each after those it follows; those on a cycle are left out."""
    ordered: list[str] = []
    while True:
        ready = [
            name
            for name, stage in file.pipeline.items()
            if name not in ordered and all(before in ordered for before in stage.after)
        ]
        if not ready:
            return ordered
        ordered.append(ready[0])


def to_text(scenario: spec.PlanScenario) -> dict[str, Any]:
    """The full JSON-able form: every setting, quantities with units, every price by itself."""
    word = next(word for word, percentile in PERCENTILES.items() if percentile == scenario.percentile)
    text: dict[str, Any] = {
        "name": scenario.name,
        "workload": convert.section_text(schema.PlanLoad, scenario.workload),
        "pipeline": {
            stage.name: {"after": {edge.model: edge.share for edge in stage.after}} for stage in scenario.pipeline
        },
        "menu": {
            stage.name: {option.hardware: _option_text(option) for option in options}
            for stage, options in zip(scenario.pipeline, scenario.menu, strict=True)
        },
        "prices": scenario.prices,
        "slo": {word: f"<= {units.DURATION.format(scenario.slo_ns)}"},
        "plan": convert.section_text(schema.PlanSettings, scenario.plan),
        "expect": convert.bounds_text(scenario.expect, schema.PLAN_METRICS),
        "sweep": {key: list(values) for key, values in scenario.sweep.items()} | {"repeats": scenario.repeats},
    }
    if scenario.workload.duration_ns is not None:
        del text["workload"]["queries"]
    if scenario.tune is not None:
        phases = [
            {
                "rate": units.RATE.format(phase.rate_per_s),
                "to_rate": units.RATE.format(phase.to_rate_per_s),
                "duration": units.DURATION.format(phase.duration_ns),
                "cv": phase.cv,
            }
            for phase in scenario.tune.phases
        ]
        text["tune"] = {"phases": phases} | _tune_text(scenario.tune)
    return text


def _tune_text(tune: spec.TuneSettings) -> dict[str, Any]:
    return {
        name: convert.field_text(item, getattr(tune, convert.spec_field(schema.TuneSettings, name)))
        for name, item in schema.TuneSettings.model_fields.items()
        if name != "phases"
    }


def _option_text(option: spec.Option) -> dict[str, Any]:
    text: dict[str, Any] = {"price": option.price_per_h, "max_batch": option.max_batch}
    if option.table_ns:
        return text | {"table": {str(n): units.DURATION.format(ns) for n, ns in option.table_ns}}
    return text | {"base": units.DURATION.format(option.base_ns), "each": units.DURATION.format(option.each_ns)}


PLAN = Language(
    root=schema.PlanFile,
    marks=("menu", "pipeline"),
    bounds={"slo": schema.PLAN_SLO, "expect": schema.PLAN_METRICS},
    open_keys=("pipeline.", "menu.", "slo.", "plan.", "tune."),
    swept_example="workload.arrival.rate",
    files=(TRACE, PRICES),
    problems=problems,
    file_errors=file_errors,
    to_spec=to_scenario,
)
