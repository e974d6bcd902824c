"""Client profiles: the defaults and habits of a Kafka client library, by major version.

`broker.client` names one; a setting the scenario leaves out takes the profile's value, in `real` by leaving the
client's own default alone and in `sim` by reading it here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scenarios.spec import MS_NS, ConsumerSettings, ProducerSettings


@dataclass(frozen=True, slots=True)
class ClientProfile:
    """What a client does when it is told nothing.

    Attributes:
        name: The word in `broker.client`.
        producer: Producer defaults.
        consumer: Consumer defaults.
        partitions_per_produce_request: How many partitions' batches one produce request carries at most (0: any).
        linger_per_partition: The linger clock runs for each partition apart (else for the sender as a whole).
        sticky_partitioning_ns: How long keyless records stay on one partition before another is drawn (0: each anew).
        fetches_in_flight: Fetch requests one consumer keeps open to one broker.
        queue_records: Records the producer holds before `produce` refuses.
        queue_bytes: Bytes the producer holds before `produce` refuses.
        fetch_backoff_ns: Pause before fetching again once the prefetch queue was full.
        idempotent: Whether the producer numbers its batches by default.
    """

    name: str
    producer: ProducerSettings = field(default_factory=ProducerSettings)
    consumer: ConsumerSettings = field(default_factory=ConsumerSettings)
    partitions_per_produce_request: int = 1
    linger_per_partition: bool = True
    sticky_partitioning_ns: int = 10 * MS_NS
    fetches_in_flight: int = 1
    queue_records: int = 100_000
    queue_bytes: int = 1_073_741_824
    fetch_backoff_ns: int = 1_000 * MS_NS
    idempotent: bool = False


# Values: the CONFIGURATION.md of librdkafka 2.x; the property of each is named beside it.
LIBRDKAFKA_2 = ClientProfile(
    name="librdkafka-2",
    producer=ProducerSettings(
        linger_ns=5 * MS_NS,  # linger.ms (queue.buffering.max.ms) 5
        batch_bytes=1_000_000,  # batch.size 1000000
        batch_records=10_000,  # batch.num.messages 10000
        max_in_flight=1_000_000,  # max.in.flight.requests.per.connection 1000000
        acks="all",  # acks (request.required.acks) -1
        compression="none",  # compression.codec none
    ),
    consumer=ConsumerSettings(
        max_poll_records=500,  # num_messages of one consume() call: the engine's choice, the library has no such limit
        fetch_min_bytes=1,  # fetch.min.bytes 1
        fetch_max_wait_ns=500 * MS_NS,  # fetch.wait.max.ms 500
        fetch_max_bytes=52_428_800,  # fetch.max.bytes 52428800
        partition_fetch_bytes=1_048_576,  # max.partition.fetch.bytes (fetch.message.max.bytes) 1048576
        queued_records=100_000,  # queued.min.messages 100000
        queued_bytes=65_536 * 1024,  # queued.max.messages.kbytes 65536
    ),
    partitions_per_produce_request=1,  # a produce request is built from one partition's queue
    linger_per_partition=True,
    sticky_partitioning_ns=10 * MS_NS,  # sticky.partitioning.linger.ms 10
    fetches_in_flight=1,
    queue_records=100_000,  # queue.buffering.max.messages 100000
    queue_bytes=1_048_576 * 1024,  # queue.buffering.max.kbytes 1048576
    fetch_backoff_ns=1_000 * MS_NS,  # fetch.queue.backoff.ms 1000
    idempotent=False,  # enable.idempotence false
)

PROFILES: dict[str, ClientProfile] = {profile.name: profile for profile in (LIBRDKAFKA_2,)}
