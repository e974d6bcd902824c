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
from models.onnx_file import answers_first
from models.zoo import export, model
from real.brokers.base import Broker
from real.brokers.jars import JVM, cache_root, digest, java, made
from real.engines.answers import check_answers, write_trial
from real.engines.base import Engine
from real.errors import RefusedError
from real.fingerprint import java_version
from real.processes import Process, Supervisor
from real.settings import RECORD_BYTES, STATISTICS_MS
from scenarios.model_stream import record_types
from scenarios.profiles import PROFILES
from scenarios.spec import MS_NS, ModelStream, Scenario

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
RUNTIMES = ("onnx",)
#: Formats of models from a topic; the rest is refused by name.
TOPIC_FORMATS = ("onnx", "pmml")
#: Models without a file that the Java side knows.
UNSCORED = ("noop",)


class JvmEngine(Engine):
    """An engine of `real/jvm`."""

    clients: Sequence[str] = ("kafka-java-3", "kafka-java-4")
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
        self.folder, self.main, self.software = module, main, ("onnxruntime", "kafka-clients", *software)
        self._lib: Path | None = None
        self.takes_models = True

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
        if scenario.model_stream is not None:
            self.refuse_models(scenario.model_stream)
        java("engine.kind", self.kind)

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
            if message.by == "reference" and (message.path or "").startswith("s3:"):
                raise RefusedError(f"{key}.path", f"{message.path}; engine {self.kind} reads locations of files only")

    def refuse_model(self, scenario: Scenario) -> None:
        """See `Engine.refuse_model`: ONNX, in the Java runtime."""
        try:
            definition = model(scenario.model)
        except ModelError as error:
            raise RefusedError("model", str(error)) from None
        runtime = scenario.serving.runtime
        if definition.alone is not None:
            if definition.name not in UNSCORED:
                raise RefusedError("model.name", f"{definition.name}; engine {self.kind} has no such model")
            return
        if runtime not in RUNTIMES:
            raise RefusedError("serving.runtime", f"{runtime}; engine {self.kind} has {', '.join(RUNTIMES)}")
        if definition.file is None and "onnx" not in definition.formats:
            raise RefusedError("model.name", f"{definition.name} does not come as ONNX; engine {self.kind} scores ONNX")
        if definition.file is not None and not answers_first(definition.file):
            raise RefusedError(
                "model.path",
                f"{definition.file}: engine {self.kind} reads the first output only, and that is not the float32 one",
            )

    def prepare(self, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        """See `Engine.prepare`: the jars, built once."""
        sources = [JVM / "pom.xml"]
        for part in ("common", self.folder):
            sources += [JVM / part / "pom.xml", *(JVM / part / "src").rglob("*.*")]
        folder = cache_root() / "jars" / f"{self.folder}-{digest([path for path in sources if path.is_file()])}"

        def command(temporary: Path) -> list[str]:
            tree = temporary / "jvm"
            shutil.copytree(JVM, tree, ignore=shutil.ignore_patterns("target"))
            return ["-f", str(tree / "pom.xml"), "-pl", self.folder, "-am", "package"]

        what, lib = f"the jars of engine {self.kind}", f"jvm/{self.folder}/target/lib"
        self._lib = made(folder, command, what, "engine.kind", supervisor, say, lib)

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
            **(_scored(scenario, directory) if stream is None else _changing(scenario, stream)),
            "common": common(broker.bootstrap),
            "consumer": consumer(scenario),
            "producer": producer(scenario),
            "commit_interval_ms": max(1, round(commit_ns / MS_NS)),
            "statistics_ms": STATISTICS_MS,
            "state": str(directory / "state"),
            "scratch": str(directory),
        }

    def start(self, supervisor: Supervisor, name: str, config: Mapping[str, Any]) -> Process:
        """See `Engine.start`."""
        scratch = config["scratch"]  # what the runtime unpacks goes with the run
        places = (f"-Djava.io.tmpdir={scratch}", f"-XX:ErrorFile={scratch}/jvm-%p.log")
        options = (*JVM_OPTIONS, *self.options(config), *_OBSERVABLE, *_HEARD, *_LOGGING, *places)
        command = [java("engine.kind", self.kind), *options, "-cp", f"{self.lib}{os.sep}*", self.main]
        return supervisor.talking(name, command, config)

    def options(self, config: Mapping[str, Any]) -> Sequence[str]:
        """Options of the JVM that one run needs and another does not."""
        return ()

    def accept(self, scenario: Scenario, directory: Path) -> None:
        """See `Engine.accept`; of models from a topic there is none yet to answer trial inputs."""
        if scenario.model_stream is None:
            check_answers(directory / "trial.out", scenario, scenario.engine.parallelism)

    def versions(self) -> Mapping[str, str]:
        """See `Engine.versions`."""
        found = {"java": java_version(shutil.which("java")), "engine_jvm_options": " ".join(JVM_OPTIONS)}
        for jar in self.lib.glob("*.jar"):
            artifact, _, version = jar.stem.rpartition("-")
            if artifact in self.software:
                found[f"{artifact} (engine)"] = version
        return found


def _scored(scenario: Scenario, directory: Path) -> dict[str, Any]:
    """The one model, and the inputs of its trial."""
    asked, seed = scenario.model, scenario.workload.seed
    scored = model(asked).scored
    write_trial(directory / "trial.in", scenario)
    return {
        "runtime": scenario.serving.runtime,
        "model": str(export(asked, folder(model(asked), directory.parent / "models"), seed)) if scored else "",
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
