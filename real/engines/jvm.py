"""What engines that run in a JVM share: their jars, their clients' properties, the trial of their answers.

An engine is a module of `real/jvm`, built by Maven on first use into the per-user cache.  One process has all of its
workers.  `parallelism` threads score in it; what else runs there (garbage collector, compiler, the clients' own
threads) is counted as `engine`.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.definition import ModelError
from models.files import folder
from models.zoo import export, model
from real import gc_logs
from real.brokers.base import Broker
from real.brokers.jars import JVM, cache_root, digest, java, made
from real.engines import jvm_runtimes
from real.engines.answers import check_answers, write_trial
from real.engines.base import Engine
from real.engines.jvm_runtimes import RUNTIMES, TOPIC_FORMATS
from real.errors import RefusedError
from real.fingerprint import java_version
from real.processes import Process, Supervisor
from real.settings import RECORD_BYTES, STATISTICS_MS
from scenarios.model_stream import record_types
from scenarios.profiles import PROFILES
from scenarios.spec import MS_NS, S_NS, ModelStream, Scenario

#: A heap that may grow to a gigabyte, and as much outside of it where an engine asks for no more (`options`); the
#: garbage collector is the JVM's own choice for this machine.
JVM_OPTIONS = ("-Xms512m", "-Xmx1g")
#: Compiler threads stay, so that their CPU is still there to be read.
_OBSERVABLE = ("-XX:-UseDynamicNumberOfCompilerThreads", "-XX:-UsePerfData")
#: What the virtual machine itself has to say is last words too: stdout is for reports.
_HEARD = ("-XX:+DisplayVMOutputToStderr", "-XX:+ExitOnOutOfMemoryError")
_LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-Dorg.slf4j.simpleLogger.showDateTime=true")
#: How long an engine answers trial inputs before the load: its hot paths are compiled then, if not fully.
WARM_MS = 1_500
#: Of engines that write in transactions, where the scenario does not say.  Kafka Streams has its own default: only the
#: broker ends the transaction of a thread that is gone.  Flink's sink ends those of its predecessor itself, and one
#: that a checkpoint promised must outlive the time until it is back: the longest that brokers allow.
TRANSACTION_TIMEOUTS_NS = {"kafka-streams": 10 * S_NS, "flink": 900 * S_NS}
#: What a producer of transactions must not be given otherwise.
_MOST_IN_FLIGHT = 5
#: Models without a file that the Java side knows.
UNSCORED = ("noop",)


class JvmEngine(Engine):
    """An engine of `real/jvm`."""

    clients: Sequence[str] = ("kafka-java-3", "kafka-java-4")
    #: How it calls external servers, of `serving.client.mode`; none: it calls none.
    modes: Sequence[str] = ()
    shared = True

    def __init__(self, kind: str, module: str, main: str, software: Sequence[str]) -> None:
        """Names it.

        Args:
            kind: Its word in a scenario.
            module: Its folder in `real/jvm`.
            main: Its main class.
            software: Jars whose versions a run tells.
        """
        super().__init__(kind, "")
        self.folder, self.main, self.software = module, main, ("kafka-clients", *jvm_runtimes.SOFTWARE, *software)
        self._lib: Path | None = None
        self._beside: list[Path] = []
        self.takes_models = True
        self.calls_servers = bool(self.modes)

    def refuse(self, scenario: Scenario) -> None:
        """See `Engine.refuse`."""
        super().refuse(scenario)
        if scenario.broker.kind == "mock":
            raise RefusedError("broker.kind", f"mock; engine {self.kind} needs a real broker")
        producer, consumer = scenario.broker.producer, scenario.broker.consumer
        own = PROFILES[scenario.broker.client_profile]
        for key, value, usual in (
            ("producer.batch_records", producer.batch_records, own.producer.batch_records),
            ("consumer.queued_records", consumer.queued_records, own.consumer.queued_records),
            ("consumer.queued_bytes", consumer.queued_bytes, own.consumer.queued_bytes),
        ):
            if value != usual:
                raise RefusedError(f"broker.{key}", f"{value}; the Java client has no such setting")
        if producer.linger_ns % MS_NS:
            raise RefusedError("broker.producer.linger", "the Java client knows whole milliseconds")
        if scenario.engine.delivery == "exactly-once":
            _refuse_transactions(scenario)
        if scenario.model_stream is not None:
            self.refuse_models(scenario.model_stream)
        java("engine.kind", self.kind)

    def refuse_server(self, scenario: Scenario) -> None:
        """See `Engine.refuse_server`."""
        super().refuse_server(scenario)
        mode = scenario.serving.client.mode
        if mode not in self.modes:
            raise RefusedError("serving.client.mode", f"{mode}; engine {self.kind} makes {', '.join(self.modes)} calls")

    def refuse_models(self, stream: ModelStream) -> None:
        """Refuses what a stream of models cannot have in this engine.

        Raises:
            RefusedError: Naming the key.
        """
        for i, message in enumerate(stream.messages):
            key = f"model_stream.messages[{i}]"
            if message.fault != "unknown-format" and message.format not in TOPIC_FORMATS:
                known = ", ".join(TOPIC_FORMATS)
                raise RefusedError(f"{key}.format", f"{message.format}; engine {self.kind} loads {known}")
            if TOPIC_FORMATS.get(message.format):
                jvm_runtimes.refuse_platform(f"{key}.format", message.format)
            if message.by == "reference" and (message.path or "").startswith("s3:"):
                raise RefusedError(f"{key}.path", f"{message.path}; engine {self.kind} reads locations of files only")

    def refuse_model(self, scenario: Scenario) -> None:
        """See `Engine.refuse_model`."""
        try:
            definition = model(scenario.model)
        except ModelError as error:
            raise RefusedError("model", str(error)) from None
        if definition.alone is None:
            jvm_runtimes.refuse(definition, scenario.serving.runtime, self.kind)
        elif definition.name not in UNSCORED:
            raise RefusedError("model.name", f"{definition.name}; engine {self.kind} has no such model")

    def prepare(self, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        """See `Engine.prepare`: the jars, built once."""
        self._lib = module(self.folder, f"the jars of engine {self.kind}", "engine.kind", supervisor, say)

    def prepare_for(self, scenario: Scenario, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        """See `Engine.prepare_for`: the jars of the modules beside it, built once."""
        self.prepare(supervisor, say)
        self._beside = [
            module(name, f"the jars of {name} for engines in a JVM", key, supervisor, say)
            for name, key in self.beside(scenario).items()
        ]

    def beside(self, scenario: Scenario) -> Mapping[str, str]:
        """Modules of `real/jvm` that a scenario needs beside the engine's own, each with the key that asks for it."""
        if scenario.serving.kind == "external" and protocol_of(scenario).endswith("-grpc"):
            return {"grpc": "serving.client.protocol"}
        key = "serving.runtime" if scenario.model_stream is None else "model_stream.messages"
        return dict.fromkeys(jvm_runtimes.parts(scenario), key)

    @property
    def lib(self) -> Path:
        """Its jars, once it is prepared."""
        assert self._lib is not None, "prepare comes first"
        return self._lib

    def config(self, scenario: Scenario, broker: Broker, topic_in: str, directory: Path) -> Mapping[str, Any]:
        """See `Engine.config`."""
        stream = scenario.model_stream
        commit_ns = scenario.engine.commit_interval_ns
        if stream is not None and stream.state.kind == "changelog":
            commit_ns = stream.state.commit_ns  # offsets are committed with the store of models
        return {
            "group": topic_in,
            "format": scenario.workload.payload.format,
            **(self._model(scenario, directory) if stream is None else _changing(scenario, stream)),
            "common": common(broker.bootstrap),
            "consumer": consumer(scenario),
            "producer": {**producer(scenario), **_transactions(scenario)},
            "parts": jvm_runtimes.parts(scenario),
            "exactly_once": scenario.engine.delivery == "exactly-once",
            "commit_interval_ms": max(1, round(commit_ns / MS_NS)),
            "statistics_ms": STATISTICS_MS,
            "state": str(directory / "state"),
            "checkpoints": str(directory / "checkpoints"),
            "scratch": str(directory),
        }

    def _model(self, scenario: Scenario, directory: Path) -> dict[str, Any]:
        """The one model, or how the server that has it is called; and the trial."""
        if scenario.serving.kind == "embedded":
            return {**_scored(scenario, directory), **_trial(scenario, directory)}
        asked = scenario.serving.client
        return {**({"in_flight": asked.in_flight} if asked.mode == "async" else {}), **_trial(scenario, directory)}

    def start(self, supervisor: Supervisor, name: str, config: Mapping[str, Any]) -> Process:
        """See `Engine.start`."""
        scratch = config["scratch"]  # what the runtime unpacks goes with the run
        places = (f"-Djava.io.tmpdir={scratch}", f"-XX:ErrorFile={scratch}/jvm-%p.log", gc_logs.option(scratch))
        natives = jvm_runtimes.options(config["parts"])
        options = (*JVM_OPTIONS, *self.options(config), *natives, *_OBSERVABLE, *_HEARD, *_LOGGING, *places)
        jars = os.pathsep.join(f"{each}{os.sep}*" for each in (self.lib, *self._beside))
        command = [java("engine.kind", self.kind), *options, "-cp", jars, self.main]
        return supervisor.talking(name, command, config, jvm_runtimes.environment(config["parts"]))

    def options(self, config: Mapping[str, Any]) -> Sequence[str]:
        """Options of the JVM that one run needs and another does not."""
        return ()

    def accept(self, scenario: Scenario, directory: Path) -> None:
        """See `Engine.accept`; of models from a topic there is none yet to answer trial inputs."""
        if scenario.model_stream is None:
            check_answers(directory / "trial.out", scenario, self.workers(scenario))

    def versions(self) -> Mapping[str, str]:
        """See `Engine.versions`."""
        found = {"java": java_version(shutil.which("java")), "engine_jvm_options": " ".join(JVM_OPTIONS)}
        for jar in sorted(path for lib in (self.lib, *self._beside) for path in lib.glob("*.jar")):
            for artifact in self.software:
                version = jar.stem.removeprefix(f"{artifact}-")
                if version != jar.stem and version[:1].isdigit():
                    found[f"{artifact} (engine)"] = version
        return found


def module(name: str, what: str, key: str, supervisor: Supervisor, say: Callable[[str], None]) -> Path:
    """The jars of a module of `real/jvm`, made by Maven where they are not there yet.

    Args:
        name: Its folder; those called `name-...` are parts of it.
        what: Is made.
        key: Key of the scenario that asks for it.
        supervisor: Runs Maven.
        say: Takes lines of progress.

    Raises:
        RefusedError: They are not there yet and Maven is not on the PATH.
        HarnessError: Maven could not make them.
    """
    sources = [JVM / "pom.xml"]
    for part in ("common", name, *(path.name for path in JVM.glob(f"{name}-*"))):
        sources += [JVM / part / "pom.xml", *(JVM / part / "src").rglob("*.*")]
    folder = cache_root() / "jars" / f"{name}-{digest([path for path in sources if path.is_file()])}"

    def command(temporary: Path) -> list[str]:
        tree = temporary / "jvm"
        shutil.copytree(JVM, tree, ignore=shutil.ignore_patterns("target"))
        platform = f"-Djavacpp.platform={jvm_runtimes.PLATFORM}"
        return ["-f", str(tree / "pom.xml"), "-pl", name, "-am", platform, "package"]

    return made(folder, command, what, key, supervisor, say, f"jvm/{name}/target/lib")


def protocol_of(scenario: Scenario) -> str:
    """What an engine and its external server speak."""
    from real.servers import server

    return scenario.serving.client.protocol or server(scenario.serving.runtime).protocols[0]


def _scored(scenario: Scenario, directory: Path) -> dict[str, Any]:
    """The one model."""
    asked, seed = scenario.model, scenario.workload.seed
    path, shape = "", list[int]()
    if model(asked).scored:
        fmt = RUNTIMES[scenario.serving.runtime].format_of(model(asked))
        assert fmt is not None, "refuse_model comes first"
        try:
            path = str(export(asked, folder(model(asked), directory.parent / "models"), seed, fmt))
        except ModelError as error:
            raise RefusedError("model", str(error)) from None
        shape = list(model(asked).input_shape)
    return {
        "runtime": scenario.serving.runtime,
        "model": path,
        "input_shape": shape,
    }


def _refuse_transactions(scenario: Scenario) -> None:
    """Refuses what an engine that writes in transactions cannot have.

    Raises:
        RefusedError: Naming the key.
    """
    own = scenario.broker.producer
    if own.acks != "all":
        raise RefusedError("broker.producer.acks", f"{own.acks}; exactly-once needs all")
    if own.max_in_flight > _MOST_IN_FLIGHT:
        message = f"{own.max_in_flight}; exactly-once allows {_MOST_IN_FLIGHT}"
        raise RefusedError("broker.producer.max_in_flight", message)


def _transactions(scenario: Scenario) -> dict[str, Any]:
    """What the producers need beside, to write in transactions."""
    if scenario.engine.delivery != "exactly-once":
        return {}
    asked = scenario.engine.transaction_timeout_ns or TRANSACTION_TIMEOUTS_NS[scenario.engine.kind]
    return {"enable.idempotence": True, "transaction.timeout.ms": asked // MS_NS}


def _trial(scenario: Scenario, directory: Path) -> dict[str, Any]:
    """The inputs of the trial, and where its answers go."""
    write_trial(directory / "trial.in", scenario)
    return {
        "trial_inputs": str(directory / "trial.in"),
        "trial_answers": str(directory / "trial.out"),
        "warm_ms": WARM_MS,
    }


def _changing(scenario: Scenario, stream: ModelStream) -> dict[str, Any]:
    """The stream of models; each worker is told its topics and files."""
    return {
        "model_stream": {
            "delivery": stream.delivery,
            "store": stream.store,
            "load": stream.load,
            "state": stream.state.kind,
            "restore": stream.restore,
            "only_type": record_types(scenario)[0],
        }
    }


def common(bootstrap: str) -> dict[str, Any]:
    """Properties of every Java client."""
    return {
        "bootstrap.servers": bootstrap,
        "enable.metrics.push": False,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
    }


def producer(scenario: Scenario) -> dict[str, Any]:
    """Properties of an engine's producers."""
    own = scenario.broker.producer
    idempotent = PROFILES[scenario.broker.client_profile].idempotent and own.acks == "all" and own.max_in_flight <= 5
    return {
        "linger.ms": own.linger_ns // MS_NS,
        "batch.size": own.batch_bytes,
        "max.in.flight.requests.per.connection": min(own.max_in_flight, 2**31 - 1),
        "acks": own.acks,
        "compression.type": own.compression,
        "enable.idempotence": idempotent,
        "max.request.size": RECORD_BYTES,
        "buffer.memory": PROFILES[scenario.broker.client_profile].queue_bytes,
        "delivery.timeout.ms": 120_000 + own.linger_ns // MS_NS,
    }


def consumer(scenario: Scenario) -> dict[str, Any]:
    """Properties of an engine's consumers."""
    own = scenario.broker.consumer
    return {
        "auto.offset.reset": "earliest",
        "max.poll.records": own.max_poll_records,
        "fetch.min.bytes": own.fetch_min_bytes,
        "fetch.max.wait.ms": max(0, math.floor(own.fetch_max_wait_ns / MS_NS + 0.5)),
        "fetch.max.bytes": max(own.fetch_max_bytes, own.partition_fetch_bytes),
        "max.partition.fetch.bytes": own.partition_fetch_bytes,
    }
