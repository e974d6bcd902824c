"""What the next minutes will bring: requests per minute of each job, with quantiles.

The light forecaster is a linear autoregression for each job and each minute ahead (a direct forecast: the seventh
minute is not a forecast of forecasts), by ridge regression on earlier days, with a Gaussian error whose standard
deviation is affine in the forecast.  It needs no more than numpy.  Beside it stand the seasonal naive forecast, the
oracle, and two forecasters from elsewhere that come with the extra `forecast`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np

from control.queueing import Floats

CONTEXT = 15  # minutes looked back
HORIZON = 7  # minutes looked ahead
RIDGE = 1.0  # on standardised counts
EXTRA = "forecast"


class Forecaster(Protocol):
    """Forecasts of all jobs."""

    def forecast(self, job: int, seen: Sequence[float], quantile: float) -> Floats | None:
        """Requests in each of the next minutes, at least 1, or None where too little was seen.

        Args:
            job: Whose.
            seen: Requests of its complete minutes so far, oldest first.
            quantile: Of each minute by itself.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fit:
    """The regression of one job.

    Attributes:
        slope: Of each minute ahead on each minute back, oldest first, [ahead, back].
        level: Of each minute ahead.
        sd_base: Standard deviation of the error of each minute ahead, at a forecast of 0.
        sd_slope: What it gains with each request of the forecast.
    """

    slope: Floats
    level: Floats
    sd_base: Floats
    sd_slope: Floats

    @property
    def context(self) -> int:
        """Minutes it looks back."""
        return int(self.slope.shape[1])

    def forecast(self, seen: Sequence[float], quantile: float) -> Floats | None:
        """As `Forecaster.forecast`."""
        if len(seen) < self.context:
            return None
        mean = self.slope @ np.asarray(seen[-self.context :], dtype=np.float64) + self.level
        sd = self.sd_base + self.sd_slope * np.maximum(mean, 0.0)
        return _counts(mean + NormalDist().inv_cdf(quantile) * sd)


def fit(days: Floats, context: int = CONTEXT, horizon: int = HORIZON, ridge: float = RIDGE) -> Fit:
    """The autoregression of one job.

    Args:
        days: Requests per minute, [day, minute]; no window reaches over the end of a day.
        context: Minutes looked back.
        horizon: Minutes looked ahead.
        ridge: Penalty on the squared slopes of standardised counts.
    """
    if days.shape[1] < context + horizon:
        raise ValueError(f"days of {days.shape[1]} minutes are too short to fit {context} + {horizon} minutes")
    windows = np.lib.stride_tricks.sliding_window_view(days, context + horizon, axis=1).reshape(-1, context + horizon)
    centre, scale = float(windows.mean()), float(windows.std()) or 1.0
    back, ahead = (windows[:, :context] - centre) / scale, (windows[:, context:] - centre) / scale
    offset, level = back.mean(axis=0), ahead.mean(axis=0)
    back = back - offset
    slope = np.linalg.solve(back.T @ back + ridge * np.eye(context), back.T @ (ahead - level)).T
    mean = back @ slope.T + level
    # E|e| = sd sqrt(2 / pi) of a Gaussian error: a line through the absolute errors is one through the deviation.
    sizes = np.abs(ahead - mean) * scale * math.sqrt(math.pi / 2)
    counts = np.maximum(mean * scale + centre, 0.0)
    lines = [_line(counts[:, step], sizes[:, step]) for step in range(horizon)]
    base, gain = np.array(lines).T
    return Fit(slope, (level - slope @ offset) * scale + centre * (1 - slope.sum(axis=1)), base, gain)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Least squares with neither coefficient below 0."""
    centred = x - x.mean()
    slope = float(centred @ y) / max(float(centred @ centred), 1e-12)
    base = float(y.mean()) - slope * float(x.mean())
    if slope < 0:
        return float(y.mean()), 0.0
    if base < 0:
        return 0.0, float(x @ y) / max(float(x @ x), 1e-12)
    return base, slope


@dataclass(frozen=True)
class Autoregressive:
    """The light forecaster: a `Fit` for each job."""

    fits: tuple[Fit, ...]

    @staticmethod
    def fitted(history: Floats, contexts: Sequence[int] | None = None) -> Autoregressive:
        """Fitted on earlier days.

        Args:
            history: Requests per minute, [job, day, minute].
            contexts: Minutes looked back, of each job; `CONTEXT` by default.
        """
        contexts = [CONTEXT] * len(history) if contexts is None else contexts
        return Autoregressive(tuple(fit(days, context) for days, context in zip(history, contexts, strict=True)))

    def forecast(self, job: int, seen: Sequence[float], quantile: float) -> Floats | None:
        """See `Forecaster`."""
        return self.fits[job].forecast(seen, quantile)


@dataclass(frozen=True)
class Seasonal:
    """As the same minutes of the day before; the error is as from one day to the next so far.

    Attributes:
        history: Requests per minute, [job, day, minute].
        first_minute: The minute of the day at time 0.
        horizon: Minutes looked ahead.
    """

    history: Floats
    first_minute: int = 0
    horizon: int = HORIZON

    def forecast(self, job: int, seen: Sequence[float], quantile: float) -> Floats:
        """See `Forecaster`; it needs to have seen nothing."""
        days = self.history[job]
        minutes = (self.first_minute + len(seen) + np.arange(self.horizon)) % days.shape[1]
        sd = np.sqrt((np.diff(days, axis=0) ** 2).mean()) if len(days) > 1 else 0.0
        return _counts(days[-1, minutes] + NormalDist().inv_cdf(quantile) * sd)


@dataclass(frozen=True)
class Oracle:
    """What will come, whatever the quantile; nothing to say after its end.

    Attributes:
        counts: Requests per minute, [job, minute], minute 0 at time 0.
        horizon: Minutes looked ahead.
    """

    counts: Floats
    horizon: int = HORIZON

    def forecast(self, job: int, seen: Sequence[float], quantile: float) -> Floats | None:
        """See `Forecaster`."""
        del quantile
        ahead = self.counts[job, len(seen) : len(seen) + self.horizon]
        return _counts(ahead) if len(ahead) else None


@dataclass
class _Elsewhere:
    """What the forecasters of other packages share: one forecast for each job and minute, its quantiles Gaussian.

    Attributes:
        history: Requests per minute, [job, day, minute].
        context: Minutes that must have been seen.
        horizon: Minutes looked ahead.
    """

    history: Floats
    context: int = CONTEXT
    horizon: int = HORIZON
    _last: dict[int, tuple[int, Floats, Floats]] = field(default_factory=dict, init=False, repr=False)

    def forecast(self, job: int, seen: Sequence[float], quantile: float) -> Floats | None:
        """See `Forecaster`."""
        if len(seen) < self.context:
            return None
        if job not in self._last or self._last[job][0] != len(seen):
            median, ninth = self._ahead(job, np.asarray(seen, dtype=np.float64))
            self._last[job] = len(seen), median, (ninth - median) / NormalDist().inv_cdf(0.9)
        _, median, sd = self._last[job]
        return _counts(median + NormalDist().inv_cdf(quantile) * sd)

    def _ahead(self, job: int, seen: Floats) -> tuple[Floats, Floats]:
        """Median and .9 quantile of the next minutes."""
        raise NotImplementedError


@dataclass
class Statsforecast(_Elsewhere):
    """AutoARIMA of the package statsforecast, fitted anew to each job at each forecast.

    Attributes:
        longest: Minutes of the past that are looked at; what was not seen is taken from the last earlier day.
    """

    context: int = 0
    longest: int = 180
    _model: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        with _extra("statsforecast"):
            self._model = import_module("statsforecast.models").AutoARIMA

    def _ahead(self, job: int, seen: Floats) -> tuple[Floats, Floats]:
        past = np.concatenate((self.history[job, -1], seen))[-self.longest :]
        found = self._model().forecast(y=past, h=self.horizon, level=[80])
        return np.asarray(found["mean"]), np.asarray(found["hi-80"])


@dataclass
class Nhits(_Elsewhere):
    """N-HiTS of the package neuralforecast with a Gaussian error, trained once on the earlier days of all jobs.

    Attributes:
        steps: Training steps.
        seed: Of the training.
    """

    steps: int = 300
    seed: int = 1
    _net: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        with _extra("neuralforecast"):
            package = import_module("neuralforecast")
            models, losses = import_module("neuralforecast.models"), import_module("neuralforecast.losses.pytorch")
        model = models.NHITS(
            h=self.horizon,
            input_size=self.context,
            max_steps=self.steps,
            random_seed=self.seed,
            scaler_type="standard",
            loss=losses.DistributionLoss("Normal", level=[80]),
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        self._net = package.NeuralForecast(models=[model], freq=1)
        self._net.fit(df=_long(self.history.reshape(len(self.history), -1)))

    def _ahead(self, job: int, seen: Floats) -> tuple[Floats, Floats]:
        del job
        found = self._net.predict(df=_long(seen[None, -self.context :]))
        return found["NHITS-median"].to_numpy(dtype=np.float64), found["NHITS-hi-80"].to_numpy(dtype=np.float64)


def _counts(found: Any) -> Floats:
    return np.maximum(np.asarray(found, dtype=np.float64), 1.0)


def _long(series: Floats) -> Any:
    """A frame as neuralforecast reads it."""
    import pandas as pd

    jobs, minutes = series.shape
    columns = {
        "unique_id": np.repeat(np.arange(jobs), minutes),
        "ds": np.tile(np.arange(minutes), jobs),
        "y": series.ravel(),
    }
    return pd.DataFrame(columns)


@contextmanager
def _extra(package: str) -> Iterator[None]:
    """Imports of a package that comes with the extra.

    Raises:
        ValueError: It is not installed.
    """
    try:
        yield
    except ImportError:
        raise ValueError(
            f"this forecast needs the package {package}, which comes with the extra {EXTRA!r}: "
            f"pip install 'weir[{EXTRA}]'"
        ) from None


#: What `policy.forecast` may name.
FORECASTS = ("ar", "seasonal", "oracle", "none", "statsforecast", "nhits")


def make(
    name: str,
    history: Floats | None = None,
    oracle: Floats | None = None,
    contexts: Sequence[int] | None = None,
    first_minute: int = 0,
) -> Forecaster | None:
    """The forecaster of a name; None for `none`.

    Args:
        name: One of `FORECASTS`.
        history: Requests per minute of earlier days, [job, day, minute].
        oracle: Requests per minute to come, [job, minute].
        contexts: Minutes that `ar` looks back, of each job.
        first_minute: The minute of the day at time 0.

    Raises:
        ValueError: No such forecaster, nothing to make it from, or its package is missing.
    """
    if name == "none":
        return None
    if name not in FORECASTS:
        raise ValueError(f"no forecast {name!r}; there are {', '.join(FORECASTS)}")
    if name == "oracle":
        if oracle is None:
            raise ValueError("the forecast 'oracle' needs the counts to come")
        return Oracle(np.asarray(oracle, dtype=np.float64))
    if history is None:
        raise ValueError(f"the forecast {name!r} is made from earlier days: set workload.history, or forecast: none")
    history = np.asarray(history, dtype=np.float64)
    if name == "ar":
        return Autoregressive.fitted(history, contexts)
    if name == "seasonal":
        return Seasonal(history, first_minute)
    return Statsforecast(history) if name == "statsforecast" else Nhits(history)
