"""The metric words that `slo:`, `expect:` and `check.max_error` may use, each with its unit.

``latency_p99`` is the latency of the run's own clock for it (the broker's append time, or the delivery callback
below 5 ms); ``latency_append_p99`` and ``latency_acked_p99`` name the clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from scenarios import units
from scenarios.units import UnitError

STATISTICS = ("mean", "p50", "p90", "p95", "p99", "p999")
PARTS = ("generator", "broker", "engine", "server", "collector")


@dataclass(frozen=True)
class MetricName:
    """A metric that can be bounded.

    Attributes:
        word: How a scenario names it.
        unit: Unit of `Bound.value`: ``ms``, ``us``, ``/s`` or empty (a bare number).
        column: Its name among the metrics of ``run.json``; None where the reader chooses or a command computes it.
        upper: A bare value is an upper bound (latency, loss), else a lower one (throughput).
    """

    word: str
    unit: str
    column: str | None
    upper: bool = True

    @property
    def example(self) -> str:
        """A bound such as a message may suggest."""
        value = {"ms": "50 ms", "us": "300 us", "/s": "1000 /s", "": "0"}[self.unit]
        return f"{'<=' if self.upper else '>='} {value}"

    def read(self, value: str | int | float) -> float:
        """A bound's value in the metric's own unit.

        Raises:
            UnitError: Wrong or missing unit.
        """
        if self.unit in ("ms", "us"):
            return units.DURATION.parse(value) / {"ms": 1_000_000, "us": 1_000}[self.unit]
        if self.unit == "/s":
            return float(units.RATE.parse(value))
        text = value.strip() if isinstance(value, str) else ""
        try:
            if text.endswith("%"):
                return float(text[:-1]) / 100
            return float(units.NUMBER.parse(float(text) if text else value))
        except UnitError:
            raise
        except ValueError:
            raise UnitError(f"{value!r} is not a number; {self.word} has no unit") from None

    def write(self, value: float) -> str:
        """The value as text that `read` reads back."""
        number = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        return f"{number} {self.unit}".strip()


def _all() -> dict[str, MetricName]:
    names = [
        MetricName(f"latency_{clock}{statistic}", "ms", f"latency_{clock}ms_{statistic}" if clock else None)
        for clock in ("", "append_", "acked_")
        for statistic in STATISTICS
    ]
    names += [
        MetricName("throughput", "/s", "throughput_per_s", upper=False),
        MetricName("throughput_gen", "/s", "throughput_gen_per_s", upper=False),
        MetricName("drain_throughput", "/s", "drain_throughput_per_s", upper=False),
        MetricName("sustainable_throughput", "/s", None, upper=False),
        MetricName("offered", "/s", "offered_per_s", upper=False),
        MetricName("achieved", "/s", "achieved_per_s", upper=False),
        MetricName("loss", "", "loss"),
        MetricName("refused", "", "refused"),
        MetricName("lag_slope", "/s", "lag_slope_per_s"),
        MetricName("lag_max", "", "lag_max"),
        MetricName("generator_lag_p99", "ms", "generator_lag_ms_p99"),
        MetricName("actors_unscheduled", "", "actors_unscheduled"),
    ]
    names += [MetricName(f"cpu_per_record_{part}", "us", f"cpu_us_per_record_{part}") for part in PARTS]
    return {name.word: name for name in names}


METRIC_NAMES: dict[str, MetricName] = _all()

#: Of a cluster scenario: named as in its results.
CLUSTER_METRIC_NAMES: dict[str, MetricName] = {
    word: MetricName(word, "ms" if word.endswith("_ms") else "", word, upper=word != "slo_rate")
    for word in (
        *("violation_rate", "cluster_violation_rate", "lost_utility", "lost_effective_utility", "slo_rate"),
        *("mean_ms", "p99_ms", "drops", "replicas_mean", "scale_outs", "scale_ins", "decisions", "recovery_s"),
    )
}
