"""The reference's pipeline as a system lays it out: every part, and which belongs to which."""

from __future__ import annotations

from dataclasses import dataclass

from sim import operations as op
from sim import system as spec
from sim.reference_hosts import Clock, Host, Sharing, Slices
from sim.reference_parts import Consumer, Exchange, Lane, Log, MicroBatch, Producer, Service, Thread
from sim.system import INPUT, OUTPUT, System


@dataclass(eq=False)
class Parts:
    """All of a pipeline, as a system lays it out."""

    threads: list[Thread]
    producers: list[Producer]
    consumers: list[Consumer]
    brokers: list[Thread]
    exchanges: list[Exchange]
    services: list[Service]
    micro_batch: MicroBatch | None


def lay_out(system: System, clock: Clock, stamps: list[list[int]]) -> Parts:
    """Makes every part of a system; the backlog is in its logs."""
    hosts: list[Host] = [
        Slices(clock, h.cores, h.slice_ns) if h.shares is None else Sharing(clock, h.shares) for h in system.hosts
    ]
    threads = [
        Thread(number=i, host=hosts[t.host], process=clock.env.event(), name=t.name, program=t.program, index=t.index)
        for i, t in enumerate(system.threads)
    ]
    topics = {
        topic: [Log(system.record_bytes[topic], stamps[column]) for _ in range(system.partitions)]
        for topic, column in ((INPUT, op.APPENDED), (OUTPUT, op.OUT_APPENDED))
    }
    of_partition: list[list[int]] = [[] for _ in range(system.partitions)]
    for record, partition in enumerate(system.partition[: system.backlog].tolist()):
        of_partition[partition].append(record)
    step = system.backlog_batch_records
    for log, records in zip(topics[INPUT], of_partition, strict=True):
        for i in range(0, len(records), step):
            log.append(records[i : i + step])

    producers = []
    for p in system.producers:
        lanes = [Lane(log) for log in topics[p.topic][p.first_partition : p.first_partition + p.partitions]]
        application = threads[p.application] if p.application >= 0 else None
        producer = Producer(threads[p.client], application, p.first_partition, lanes, p.calls_back)
        producers.append(producer)
        producer.client.producer = producer
        if application is not None:
            application.producer = producer
    for g, number in enumerate(system.generators):
        if g < len(producers):  # there are none without a broker
            threads[number].producer = producers[g]
        threads[number].record = system.backlog + g - len(system.generators)
    consumers = []
    for c in system.consumers:
        logs = topics[c.topic][c.first_partition : c.first_partition + c.partitions]
        consumer = Consumer(threads[c.client], threads[c.application], logs, c.max_poll_records)
        consumers.append(consumer)
        consumer.client.consumer = consumer.application.consumer = consumer
        for partition, log in enumerate(logs, c.first_partition):
            log.consumer = consumer
            consumer.log_of[partition] = log
    for i in system.broker_threads:
        threads[i].home, threads[i].of_broker = threads[system.broker_threads[0]], True
    return Parts(
        threads,
        producers,
        consumers,
        [threads[i] for i in system.broker_threads],
        [Exchange(x, [threads[i] for i in x.writers], [threads[i] for i in x.readers]) for x in system.exchanges],
        [Service(s, [threads[i] for i in sorted(s.threads)], k) for k, s in enumerate(system.services)],
        _micro_batch(system.micro_batch, threads, topics[INPUT]),
    )


def _micro_batch(settings: spec.MicroBatch | None, threads: list[Thread], logs: list[Log]) -> MicroBatch | None:
    if settings is None:
        return None
    return MicroBatch(settings, threads[settings.driver], [threads[i] for i in sorted(settings.executors)], logs)
