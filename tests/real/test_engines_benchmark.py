"""`python -m benchmarks engines`: every engine that is asked for has its figures, or says why not."""

from __future__ import annotations

from benchmarks.engines import benchmark


def test_each_engine_has_its_figures_or_a_reason() -> None:
    told: list[str] = []
    found = benchmark(["python", "standalone", "flink"], 1, 300, "noop", "mock", told.append)
    of_python, alone, flink = found["engines"]
    assert [each["engine"] for each in found["engines"]] == ["python", "standalone", "flink"]
    assert len(told) == 3
    for each in (of_python, alone):
        assert each["throughput_per_s"] > 0
        assert each["engine_cpu_us"] > 0
    assert of_python["broker_cpu_us"] > 0
    assert alone["broker_cpu_us"] is None
    assert flink["why_not"] == "broker.kind: mock; engine flink needs a real broker"
