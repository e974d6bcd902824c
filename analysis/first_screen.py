"""What stands above every table: is the SLO met, what is sustained, what is busiest, how sure is that, says who.

One form for every room: a run, a sweep, a search, a plan, a cluster, a check.  What is not known is said to be so, with
the command that finds it out.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.busy import SATURATED
from analysis.metrics import bound_broken
from analysis.text import VERDICT_STYLE, number, percent
from scenarios.spec import Bound

NO_SLO = "no SLO asked"
SLO_MET = "SLO met"
_WIDTH = 13
#: Without more, what a single run says of its spread.
ONE_RUN = "none: one run"


@dataclass(frozen=True, slots=True)
class Screen:
    """The first screen of a result.

    Attributes:
        slo: `SLO met`, `SLO broken: ...` or that none was asked; a line each.
        verdict: The verdict, with its reason.
        sustainable: What rate is sustained, or how to find out.
        bottleneck: What is busiest and how busy, or how to find out.
        interval: How sure the figures are.
        trust: What they rest on.
        notes: What else has to be known first.
    """

    slo: tuple[str, ...]
    verdict: str
    sustainable: str
    bottleneck: str
    interval: str
    trust: str
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The lines as they are printed."""
        rows = {
            "verdict": self.verdict,
            "sustainable": self.sustainable,
            "bottleneck": self.bottleneck,
            "interval": self.interval,
            "trust": self.trust,
        }
        told = [f"{name:<{_WIDTH}}{text}" for name, text in rows.items()]
        return [*self.slo, *told, *(f"{'note':<{_WIDTH}}{note}" for note in self.notes)]

    def show(self) -> None:
        """Prints it: with colours on a terminal (not with NO_COLOR), plain lines elsewhere."""
        if not sys.stdout.isatty():
            print("\n".join(self.lines()))
            return
        from rich.console import Console
        from rich.text import Text

        console = Console()
        for line in self.lines():
            text = Text(line)
            for word, style in VERDICT_STYLE.items():
                text.highlight_words([word], style)
            text.highlight_regex(r"^SLO met", "bold green")
            text.highlight_regex(r"^SLO broken", "bold red")
            text.highlight_regex(r"^(verdict|sustainable|bottleneck|interval|trust|note)\b", "dim")
            console.print(text, soft_wrap=True)


def slo(bounds: Sequence[Bound], values: Mapping[str, float | None]) -> tuple[str, ...]:
    """Whether an SLO is met by metrics; each bound that is broken on a line of its own."""
    if not bounds:
        return (NO_SLO,)
    return tuple(f"SLO broken: {line}" for line in bound_broken(bounds, values)) or (SLO_MET,)


def bottleneck(found: Mapping[str, Any] | None, where: str = "") -> str:
    """`broker, 93 % busy: it is at its limit`, by `name` and `utilisation`.

    Args:
        found: Of run.json; None where it is not known.
        where: Of which point, in words.
    """
    if not found:
        return "not known; python -m sim explain says where the time goes"
    share = float(found["utilisation"])
    limit = "at its limit" if share >= SATURATED else "nothing is at its limit"
    at = f" at {where}" if where else ""
    return f"{found['name']}, {number(share * 100)} % busy{at}; {limit}"


def of_run(meta: Mapping[str, Any], bounds: Sequence[Bound], trust: str) -> Screen:
    """The first screen of one run, simulated or real.

    Args:
        meta: run.json.
        bounds: Its scenario's `slo`.
        trust: What it rests on.
    """
    values = meta.get("metrics") or {}
    warmup = (meta.get("warmup") or {}).get("why")
    notes = [*meta.get("notes", ()), *([f"warm-up: {warmup}"] if warmup else [])]
    return Screen(
        slo(bounds, values),
        _judged(str(meta["verdict"]), str(meta.get("verdict_reason") or "")),
        sustained(meta),
        bottleneck(meta.get("bottleneck")),
        _interval(meta),
        trust,
        tuple(notes),
    )


def sustained(meta: Mapping[str, Any]) -> str:
    """What one run says of the sustainable rate: a bound, or no more than what a drained backlog gave."""
    values = meta.get("metrics") or {}
    drained, offered = values.get("drain_throughput_per_s"), values.get("offered_per_s")
    if drained is not None:
        return f"{number(drained)} /s out of a backlog; at a paced rate not searched (sim capacity)"
    if offered is None or meta["verdict"] in ("INVALID", "CLIENT-BOUND"):
        return "not known (sim capacity searches it)"
    if meta["verdict"] == "STABLE":
        return f"at least the {number(offered)} /s offered (sim capacity searches the most)"
    return f"less than the {number(offered)} /s offered (sim capacity searches it)"


def of_points(
    points: Sequence[tuple[Mapping[str, Any], str, Mapping[str, float | None], Sequence[Bound], Any]],
    repeats: int,
    trust: str,
    *,
    intervals: str = "",
) -> Screen:
    """The first screen of a sweep.

    Args:
        points: Of each: the swept keys and values, verdict, metrics, its SLO, its bottleneck.
        repeats: Of a point.
        trust: What they rest on.
        intervals: How sure the figures are, where that is known otherwise than by repeats.
    """
    count = len(points)
    asked = [(bounds, values) for _, _, values, bounds, _ in points if bounds]
    met = sum(not bound_broken(*each) for each in asked)
    word = (
        NO_SLO
        if not asked
        else SLO_MET + (f" at all {count} points" if count > 1 else "")
        if met == len(asked)
        else f"SLO broken at {len(asked) - met} of {count} points"
    )
    verdicts: dict[str, int] = {}
    for _, verdict, *_ in points:
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
    stable = [(v.get("offered_per_s"), s) for s, word_, v, *_ in points if word_ == "STABLE" and v.get("offered_per_s")]
    best = max(stable, key=lambda each: each[0] or 0.0, default=None)
    sustainable = (
        "no rate that was swept (sim capacity searches it)"
        if best is None
        else f"of the rates swept up to {number(best[0])} /s{_at(best[1])} (sim capacity searches the most)"
    )
    known = [(found, swept) for swept, *_, found in points if found]
    nothing: tuple[Any, Mapping[str, Any]] = (None, {})
    busiest = max(known, key=lambda each: float(each[0]["utilisation"]), default=nothing)
    spread = f"medians of {repeats} repeats, lowest and highest in --json" if repeats > 1 else "none: one run a point"
    return Screen(
        (word,),
        ", ".join(f"{word} at {n} of {count}" for word, n in verdicts.items()),
        sustainable,
        bottleneck(busiest[0], _at(busiest[1]).removeprefix(" at ")),
        intervals or spread,
        trust,
    )


def of_cluster(told: Mapping[str, Any], trust: str) -> Screen:
    """The first screen of a cluster's run: its jobs' objectives are the SLO, its quota what can run out.

    Args:
        told: Its metrics, `quota` and `policy`.
        trust: What they rest on.
    """
    rate, used, quota = told.get("violation_rate"), told.get("replicas_mean"), told.get("quota")
    broken = f"SLO broken: {rate:.3%} of the requests are late or dropped" if rate else SLO_MET
    share = None
    if isinstance(quota, (int, float)) and quota and used is not None:
        share = {"name": f"the quota of {quota} replicas", "utilisation": used / quota}
    said = bottleneck(share).replace(" % busy", " % in use") if share else "not known"
    lost = number(told.get("lost_utility"))
    return Screen(
        (broken if rate is not None else NO_SLO,),
        f"policy {told.get('policy')}: lost utility {lost}, {number(told.get('drops'))} requests dropped",
        "does not apply: the load is the trace's",
        said,
        ONE_RUN + " of one seed; a sweep over seeds gives means",
        trust,
    )


def of_clusters(
    swept: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], seeds: int, trust: str
) -> Screen:
    """The first screen of a sweep of clusters: the point that loses least utility, and how many keep all objectives.

    Args:
        swept: The swept keys and values of each point.
        rows: Metrics of each, with `quota` and `policy`.
        seeds: Runs of a point.
        trust: What they rest on.
    """
    if len(rows) == 1:
        one = of_cluster(rows[0], trust)
        return one if seeds == 1 else dataclasses.replace(one, interval=f"none: means of {seeds} runs")
    broken = [row for row in rows if row.get("violation_rate")]
    known = [(row, where) for row, where in zip(rows, swept, strict=True) if row.get("lost_utility") is not None]
    best = min(known, key=lambda each: float(each[0]["lost_utility"]), default=None)
    verdict = "nothing was judged"
    if best is not None:
        verdict = f"the least utility is lost{_at(best[1])}: {number(best[0]['lost_utility'])}"
    return Screen(
        (f"SLO broken at {len(broken)} of {len(rows)} points" if broken else f"{SLO_MET} at all {len(rows)} points",),
        verdict,
        "does not apply: the load is the trace's",
        "one run of a point says it",
        f"none: means of {seeds} runs" if seeds > 1 else "none: one run a point",
        trust,
    )


def of_check(rows: Sequence[Mapping[str, Any]], trust: str) -> Screen:
    """The first screen of a check of predictions: bounds, errors, and reality's own noise."""
    from analysis.text import which

    scored = [row for row in rows if row.get("scored")]
    judged = [row for row in scored if row.get("ok") is not None]
    above = [row for row in judged if not row["ok"]]
    word = "no bound asked" if not judged else "every bound met"
    if above:
        word = f"bound broken: {len(above)} of {len(judged)} errors are above theirs"
    errors = sorted(float(row["error"]) for row in scored if row.get("error") is not None)
    verdict = "nothing was scored"
    if errors:
        worst = max((row for row in scored if row.get("error") is not None), key=lambda row: float(row["error"]))
        middle = percent(errors[len(errors) // 2])
        verdict = f"predictions are within {middle} (median of {len(errors)}); worst {percent(errors[-1])}, "
        verdict += f"{worst['metric']} at {which(worst)}"
    searched = [row for row in rows if row.get("metric") == "sustainable_throughput_per_s"]
    found = ", ".join(
        f"{number(row.get('measured'))} /s measured, {number(row.get('predicted'))} /s predicted" for row in searched
    )
    ceilings = sorted(float(row["ceiling"]) for row in scored if row.get("ceiling") is not None)
    noise = "not known: too few repeats for a noise ceiling"
    if ceilings:
        noise = f"reality predicts itself within {percent(ceilings[len(ceilings) // 2])} (median noise ceiling)"
    used = [row for row in rows if row.get("utilisation") is not None]
    busiest = max(used, key=lambda row: float(row["utilisation"]), default=None)
    load = None if busiest is None else f"offered up to {float(busiest['utilisation']):.2f} of what is sustained"
    return Screen(
        (word,),
        verdict,
        found or "not searched by this check",
        load or "not known",
        noise,
        trust,
    )


def trust_line(*trusts: Mapping[str, Any]) -> str:
    """In one line: the calibration's name, whether it is of this host, what lies outside it, its held-out errors.

    Args:
        trusts: `calibration` of run.json, of each run that is shown; what is outside is put together.
    """
    names = dict.fromkeys(str(t["name"]) for t in trusts)
    matched = all(t.get("host_match") for t in trusts)
    outside = dict.fromkeys(word for t in trusts for word in t.get("outside") or ())
    errors = dict.fromkeys(_held_out(row) for t in trusts for row in t.get("held_out") or ())
    return (
        f"calibration {', '.join(names)} ({'this host' if matched else 'of another host'}); "
        f"outside measured range: {_listed(list(outside))}; "
        f"held-out errors: {_listed(list(errors), 'none yet')}"
    )


def trust(meta: Mapping[str, Any]) -> str:
    """What a run rests on, by its run.json: the calibration of a prediction, the broker of a measurement."""
    if meta.get("calibration"):
        return trust_line(meta["calibration"])
    broker = ((meta.get("scenario") or {}).get("broker") or {}).get("kind")
    if (meta.get("versions") or {}).get("broker") == "none":
        return "measured, not predicted; no broker"
    words = {
        "kafka": "a real Kafka broker on this host",
        "mock": "librdkafka's mock broker: its latencies are not Kafka's",
        "external": "a broker that was there",
    }
    return f"measured, not predicted; {words.get(str(broker), str(broker))}"


def _held_out(row: Mapping[str, Any]) -> str:
    band = row.get("utilisation_band")
    where = f" at utilisation {band}" if band else ""
    ceiling = f" (noise ceiling {percent(row['ceiling'])})" if row.get("ceiling") is not None else ""
    return f"{row.get('metric')}{where} {percent(row.get('error'))}{ceiling}"


def _listed(words: Sequence[str], nothing: str = "none", at_most: int = 6) -> str:
    more = f" and {len(words) - at_most} more" if len(words) > at_most else ""
    return ", ".join(words[:at_most]) + more or nothing


def _interval(meta: Mapping[str, Any]) -> str:
    found = meta.get("intervals") or {}
    if found:
        return f"90 % by {found.get('sets', 'the')} sets of the fit's parameters, in the table"
    if meta.get("backend") == "sim":
        return f"{ONE_RUN} of one seed; --precision p99=5% replicates until there is one"
    return f"{ONE_RUN}; repeats in a sweep give one"


def _judged(verdict: str, reason: str) -> str:
    return f"{verdict}: {reason}" if reason else verdict


def _at(swept: Mapping[str, Any]) -> str:
    return f" at {', '.join(f'{key} {value}' for key, value in swept.items())}" if swept else ""
