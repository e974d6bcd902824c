from __future__ import annotations

import numpy as np
import pytest

from analysis import crayfish
from scenarios.spec import MS_NS, S_NS, Arrival, Engine, Model, Scenario, Serving, Workload


def columns(sent: list[int], out: list[int]) -> dict[str, np.ndarray]:
    return {"sent": np.array(sent, dtype=np.int64), "out_appended": np.array(out, dtype=np.int64)}


def test_the_first_quarter_of_the_outputs_is_cut_in_the_order_of_their_arrival() -> None:
    # Eight outputs, the two earliest to arrive are the last and the first sent; one record never came out.
    sent = [0, 10, 20, 30, 40, 50, 60, 70, 80]
    out = [3, 14, 25, 36, 47, 58, 69, -1, 1]
    found = crayfish.protocol(columns([s * S_NS for s in sent], [o * S_NS + (o > 0) for o in out]))
    assert found["kept"] == 6
    assert found["throughput_per_s"] == pytest.approx(6 / (69 - 14))
    assert found["achieved_rate_per_s"] == pytest.approx(6 / (60 - 10))
    assert found["latency_mean_ms"] == pytest.approx(np.mean([4, 5, 6, 7, 8, 9]) * 1000)


def test_floored_milliseconds_are_given_half_of_one_back() -> None:
    rng = np.random.default_rng(1)
    sent = rng.integers(0, S_NS, 4000)
    out = sent + 7 * MS_NS
    exact = crayfish.protocol({"sent": sent, "out_appended": out})["latency_mean_ms"]
    floored = crayfish.protocol({"sent": sent, "out_appended": out // MS_NS * MS_NS})["latency_mean_ms"]
    assert exact == pytest.approx(7.0)
    assert floored == pytest.approx(7.0, abs=0.02)


def test_nothing_out_has_no_value() -> None:
    for out in ([-1, -1], [5 * MS_NS, -1]):
        found = crayfish.protocol(columns([0, 0], out))
        assert found["throughput_per_s"] is None
    assert crayfish.protocol(columns([0], [-1]))["latency_mean_ms"] is None


@pytest.mark.parametrize(
    ("engine", "word"),
    [
        (Engine("flink"), "flink"),
        (Engine("flink", chained=False), "flink-4-n-4"),
        (Engine("flink", chained=False, source_parallelism=32, sink_parallelism=32), "flink-32-n-32"),
        (Engine("ray", parallelism=3), "ray"),
    ],
)
def test_a_run_has_crayfishs_words(engine: Engine, word: str) -> None:
    scenario = Scenario(
        workload=Workload(Arrival(rate_per_s=256.0), points=8),
        engine=engine,
        serving=Serving("external", "torchserve"),
        model=Model("resnet50"),
    )
    repeats = [dict.fromkeys(crayfish.NAMES, value) for value in (1.0, 3.0)]
    assert crayfish.summary(scenario, repeats) == {
        "engine": word,
        "tool": "torchserve",
        "model": "resnet50",
        "mr": engine.parallelism,
        "batch_size": 8,
        "rate": 256.0,
        "throughput_per_s": 2.0,
        "latency_mean_ms": 2.0,
        "achieved_rate_per_s": 2.0,
        "kept": 2.0,
    }
