"""The runs a cost model is fitted from: what is varied, and how far.

Costs that move together cannot be told apart, so the runs vary them one at a time around a base: idle, a backlog
drained, paced rates, producer linger, record size (no-op model, padded payloads), partitions, poll limit.  One worker
throughout.  `python -m real profile` makes them for real; `python -m calibration recover` has the simulator make them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from analysis.search import prefilled
from scenarios.spec import MS_NS, Arrival, Scenario

#: The no-op model's points are not scored; what varies is the size of its padded payload.
_SIZE_PER_S = 200.0
_DENSE_PER_S = 6000.0
#: A backlog of large records is cut so that the topic stays within this.
_BACKLOG_BYTES, _MOCK_BACKLOG_BYTES = 256 << 20, 4 << 20
_FFNN_BYTES, _SMALLEST_BYTES = 8500, 1024


def variations(base: Scenario) -> list[tuple[str, Scenario]]:
    """The runs of a profile, by name, in a plain order.

    Args:
        base: A scenario with a `profile:` section.  On the mock broker, which forgets, backlogs are small.

    Raises:
        ValueError: It has none.
    """
    p = base.profile
    if p is None:
        raise ValueError("the scenario has no profile section")
    one = dataclasses.replace(base, engine=dataclasses.replace(base.engine, parallelism=1), profile=None, check=None)

    def paced(rate: float, scenario: Scenario = one, **broker: Any) -> Scenario:
        workload = dataclasses.replace(scenario.workload, arrival=Arrival("constant", rate_per_s=rate))
        return dataclasses.replace(scenario, workload=workload, broker=dataclasses.replace(scenario.broker, **broker))

    def drained(scenario: Scenario = one, records: int = p.backlog_records, **broker: Any) -> Scenario:
        return prefilled(
            dataclasses.replace(scenario, broker=dataclasses.replace(scenario.broker, **broker)), records, 0
        )

    room = _MOCK_BACKLOG_BYTES if base.broker.kind == "mock" else _BACKLOG_BYTES

    def held(size: int) -> int:
        return max(1, min(p.backlog_records, room // max(_SMALLEST_BYTES, size)))

    def linger(ns: int) -> Any:
        return dataclasses.replace(one.broker.producer, linger_ns=ns)

    def limit(records: int) -> Any:
        return dataclasses.replace(one.broker.consumer, max_poll_records=records)

    def sized(size: int) -> Scenario:
        payload = dataclasses.replace(one.workload.payload, pad_bytes=size)
        return dataclasses.replace(
            one,
            model=dataclasses.replace(one.model, name="noop"),
            workload=dataclasses.replace(one.workload, payload=payload),
        )

    rate = p.rates_per_s[-1]
    base_linger, base_limit = one.broker.producer.linger_ns, one.broker.consumer.max_poll_records
    full = held(_FFNN_BYTES * one.workload.points)
    runs = [("idle", paced(1.0)), ("drain", drained(records=full))]
    runs += [(f"rate-{r:g}", paced(r)) for r in p.rates_per_s]
    runs += [(f"linger-{ns // MS_NS}ms", paced(rate, producer=linger(ns))) for ns in p.lingers_ns if ns != base_linger]
    # Small records so fast that the generator seldom sleeps and a request carries many.
    runs += [("dense", paced(_DENSE_PER_S, sized(p.sizes_bytes[0])))]
    sizes = p.sizes_bytes[-1:] if p.quick else p.sizes_bytes
    runs += [(f"size-{size}", paced(_SIZE_PER_S, sized(size))) for size in sizes]
    runs += [
        (f"size-{size}-drain", drained(sized(size), records=held(size)))
        for size in dict.fromkeys((sizes[0], sizes[-1]))
    ]
    runs += [(f"partitions-{n}", paced(rate, partitions=n)) for n in p.partitions if n != one.broker.partitions]
    runs += [
        (f"poll-limit-{n}-drain", drained(records=full, consumer=limit(n))) for n in p.poll_limits if n != base_limit
    ]
    if not p.quick:
        runs += [
            (f"partitions-{n}-drain", drained(records=full, partitions=n))
            for n in p.partitions
            if n != one.broker.partitions
        ]
        # Light load without linger: where waiting and wake-up latency are read.
        runs += [("light", paced(p.rates_per_s[0], producer=linger(0)))]
        runs += [("linger-50ms-light", paced(p.rates_per_s[0], producer=linger(50 * MS_NS)))]
    return [(name, dataclasses.replace(s, name=f"{base.name}-{name}")) for name, s in runs]
