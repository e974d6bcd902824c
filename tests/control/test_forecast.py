from __future__ import annotations

import csv
import gzip
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from control import forecast
from control.forecast import Autoregressive, Oracle, Seasonal, fit
from control.queueing import Floats

FARO = Path(__file__).resolve().parents[2] / "scenarios" / "faro"


def counts(name: str) -> Floats:
    """Requests per minute of a shipped trace, [job, day, minute]."""
    found = np.zeros((10, 10, 360))
    with gzip.open(FARO / name, "rt") as lines:
        for row in csv.DictReader(lines):
            found[int(row["job"]), int(row.get("day", 1)) - 1, int(row["minute"])] = float(row["rate"])
    return found


def test_the_day_after_the_ten_it_was_fitted_on() -> None:
    history = counts("twitter_top9_days1-10.csv.gz")
    day = counts("twitter_top9.csv.gz")[:, 0]
    contexts = [10 if job in (2, 8) else 15 for job in range(10)]
    forecaster = Autoregressive.fitted(history, contexts)
    errors: list[Floats] = []
    within: dict[float, list[npt.NDArray[np.bool_]]] = {0.5: [], 0.6: [], 0.9: []}
    for job, context in enumerate(contexts):
        for now in range(context, 354, 7):
            true, seen = day[job, now : now + 7], day[job, :now].tolist()
            for quantile, inside in within.items():
                found = forecaster.forecast(job, seen, quantile)
                assert found is not None
                inside.append(true <= found)
                if quantile == 0.5:
                    errors.append(found - true)
    assert len(errors) == 492
    assert float(np.sqrt(np.mean(np.square(errors)))) == pytest.approx(116, abs=4)
    assert np.mean(within[0.5]) == pytest.approx(0.48, abs=0.03)
    assert np.mean(within[0.6]) == pytest.approx(0.59, abs=0.03)
    assert np.mean(within[0.9]) == pytest.approx(0.89, abs=0.03)


def test_a_linear_process_is_found() -> None:
    rng = np.random.default_rng(3)
    series = np.empty((4, 600))
    for day in series:
        day[:2] = 100.0, 110.0
        for at in range(2, 600):
            day[at] = 40 + 1.1 * day[at - 1] - 0.5 * day[at - 2] + rng.normal(0.0, 3.0)
    fitted = fit(series, context=2, horizon=2)
    np.testing.assert_allclose(fitted.slope[0], [-0.5, 1.1], atol=0.05)
    np.testing.assert_allclose(fitted.slope[1], [-0.55, 0.71], atol=0.05)  # the first step taken twice
    median, high = fitted.forecast([100.0, 100.0], 0.5), fitted.forecast([100.0, 100.0], 0.9)
    assert median is not None
    assert high is not None
    np.testing.assert_allclose(median, [100.0, 100.0], atol=1.0)
    np.testing.assert_allclose(high - median, [1.2816 * 3, 1.2816 * 3 * np.sqrt(1 + 1.1**2)], rtol=0.1)


def test_the_deviation_grows_with_the_forecast_where_the_error_does() -> None:
    rng = np.random.default_rng(4)
    level = np.repeat(rng.uniform(100, 1000, (1, 100)), 30, axis=1)
    fitted = fit(level * rng.normal(1.0, 0.1, level.shape), context=15, horizon=1)
    low, high = ([float(rate)] * 15 for rate in (200, 900))
    spreads = [fitted.forecast(seen, 0.9)[0] - fitted.forecast(seen, 0.5)[0] for seen in (low, high)]  # type: ignore[index]
    assert spreads[1] > 2 * spreads[0]


def test_too_little_seen_is_no_forecast() -> None:
    fitted = fit(np.random.default_rng(1).uniform(1, 9, (2, 60)), context=10)
    assert fitted.forecast([5.0] * 9, 0.5) is None
    found = fitted.forecast([0.0] * 10, 0.01)
    assert found is not None
    assert found.min() >= 1.0
    with pytest.raises(ValueError, match="too short"):
        fit(np.ones((2, 20)), context=15)


def test_seasonal_is_the_day_before() -> None:
    days = np.array([[[10.0] * 5, [13.0, 14.0, 13.0, 6.0, 7.0]]])
    found = Seasonal(days, first_minute=1, horizon=3).forecast(0, [99.0], 0.5)
    assert found.tolist() == [13.0, 6.0, 7.0]
    sd = np.sqrt((9 + 16 + 9 + 16 + 9) / 5)
    above = Seasonal(days, first_minute=1, horizon=3).forecast(0, [99.0], 0.9)
    assert above - found == pytest.approx([1.28155 * sd] * 3, abs=1e-4)
    assert Seasonal(days, horizon=2).forecast(0, [1.0] * 4, 0.5).tolist() == [7.0, 13.0]  # round midnight


def test_the_oracle_reads_ahead() -> None:
    oracle = Oracle(np.array([[1.0, 2.0, 3.0, 0.0]]), horizon=2)
    assert oracle.forecast(0, [], 0.9).tolist() == [1.0, 2.0]  # type: ignore[union-attr]
    assert oracle.forecast(0, [1.0, 2.0, 3.0], 0.1).tolist() == [1.0]  # type: ignore[union-attr]
    assert oracle.forecast(0, [1.0] * 4, 0.5) is None


def test_making_one_by_name() -> None:
    history = np.random.default_rng(2).uniform(1, 9, (2, 3, 60))
    assert forecast.make("none") is None
    assert isinstance(forecast.make("ar", history), Autoregressive)
    assert isinstance(forecast.make("seasonal", history), Seasonal)
    assert isinstance(forecast.make("oracle", None, history[:, 0]), Oracle)
    short = forecast.make("ar", history, contexts=[15, 10])
    assert isinstance(short, Autoregressive)
    assert [each.context for each in short.fits] == [15, 10]
    with pytest.raises(ValueError, match="no forecast 'arima'; there are ar, seasonal"):
        forecast.make("arima", history)
    with pytest.raises(ValueError, match=r"workload\.history"):
        forecast.make("ar")
    with pytest.raises(ValueError, match="counts to come"):
        forecast.make("oracle", history)


@pytest.mark.parametrize(("name", "package"), [("statsforecast", "statsforecast"), ("nhits", "neuralforecast")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.models", None)
    with pytest.raises(ValueError, match=rf"{package}, which comes with the extra 'forecast'"):
        forecast.make(name, np.ones((1, 2, 60)))
