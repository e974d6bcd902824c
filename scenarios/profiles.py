"""Client profiles: the defaults and habits of a Kafka client library, by major version.

`broker.client` names one; a setting the scenario leaves out takes the profile's value, in `real` by leaving the
client's own default alone and in `sim` by reading it here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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
        calls_back: Delivery callbacks run on the client's own thread (else the application thread serves them).
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
    calls_back: bool = False


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

# Values: ProducerConfig and ConsumerConfig of the Apache Kafka Java client 3.x, each property named beside it.
# Not modelled: a produce request carries one batch of every ready partition of a broker (here one batch a request), the
# sticky partitioner of keyless records (the scenario says where a record goes), and that the classic consumer sends a
# fetch only as poll() is called, for the partitions whose fetched records were all handed out (here it reads ahead).
KAFKA_JAVA_3 = ClientProfile(
    name="kafka-java-3",
    producer=ProducerSettings(
        linger_ns=0,  # linger.ms 0
        batch_bytes=16_384,  # batch.size 16384
        batch_records=1_000_000,  # no such limit
        max_in_flight=5,  # max.in.flight.requests.per.connection 5
        acks="all",  # acks all
        compression="none",  # compression.type none
    ),
    consumer=ConsumerSettings(
        max_poll_records=500,  # max.poll.records 500
        fetch_min_bytes=1,  # fetch.min.bytes 1
        fetch_max_wait_ns=500 * MS_NS,  # fetch.max.wait.ms 500
        fetch_max_bytes=52_428_800,  # fetch.max.bytes 52428800
        partition_fetch_bytes=1_048_576,  # max.partition.fetch.bytes 1048576
        queued_records=100_000,  # no such limit, see above
        queued_bytes=52_428_800,  # what one fetch brings at most
    ),
    partitions_per_produce_request=0,
    linger_per_partition=True,
    sticky_partitioning_ns=0,
    fetches_in_flight=1,
    queue_records=1_000_000,  # no such limit
    queue_bytes=33_554_432,  # buffer.memory 33554432
    fetch_backoff_ns=MS_NS,
    idempotent=True,  # enable.idempotence true
    calls_back=True,
)
# linger.ms is 5 from 4.0 on.
KAFKA_JAVA_4 = replace(KAFKA_JAVA_3, name="kafka-java-4", producer=replace(KAFKA_JAVA_3.producer, linger_ns=5 * MS_NS))
# What Kafka Streams 3.x sets for its clients (StreamsConfig): linger.ms 100, max.poll.records 1000.
KAFKA_STREAMS_3 = replace(
    KAFKA_JAVA_3,
    name="kafka-streams-3",
    producer=replace(KAFKA_JAVA_3.producer, linger_ns=100 * MS_NS),
    consumer=replace(KAFKA_JAVA_3.consumer, max_poll_records=1_000),
)

PROFILES: dict[str, ClientProfile] = {
    profile.name: profile for profile in (LIBRDKAFKA_2, KAFKA_JAVA_3, KAFKA_JAVA_4, KAFKA_STREAMS_3)
}
#: The client of an engine, where the scenario names none and it is not the first above.
DEFAULTS: dict[str, str] = {
    **dict.fromkeys(("flink", "pekko", "spark"), "kafka-java-3"),
    "kafka-streams": "kafka-streams-3",
}
