"""The server of one run: started before the engine, counted beside it, ended after it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from control.batching import SAMPLES, Rules
from real.errors import HarnessError, RefusedError
from real.processes import Supervisor
from real.sampler import Part
from real.servers import server
from real.servers.base import Ask, Running, Say
from real.servers.protocols import client
from real.servers.protocols.base import CallError
from real.servers.scorer import told
from scenarios.spec import Scenario, Serving

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

#: The first answers of a server that is ready may take long, and nobody counts them.
_TRIAL_S = 60.0
#: Payloads of a cache's keys are held in memory.
_KEYS_BYTES = 1 << 30


def rules_of(serving: Serving) -> Rules:
    """The batching of a scenario's server; without a policy an incomplete batch waits where there is a delay."""
    batching, most = serving.batching, serving.batch_records
    policy = batching.policy or ("delayed" if serving.batch_delay_ns else "eager")
    return Rules(policy, most, serving.batch_delay_ns, batching.slo_ns or 0, batching.samples or SAMPLES)


def ask_of(scenario: Scenario, models: Path) -> Ask:
    """What a scenario asks of its server.

    Args:
        scenario: With an external server.
        models: Folder of model files.
    """
    from models.runtimes import names

    serving = scenario.serving
    return Ask(
        scenario.model,
        scenario.workload.seed,
        models,
        serving.workers or scenario.engine.parallelism,
        rules_of(serving),
        scenario.workload.points,
        None if serving.cache is None else serving.cache.size_bytes,
        serving.runtime if serving.runtime in names() else "onnx",
    )


def refuse(scenario: Scenario) -> None:
    """Refuses a server that is not here, or what it cannot do.

    Raises:
        RefusedError: Naming the key.
    """
    from models.definition import ModelError
    from models.zoo import model
    from real.servers.protocols import PROTOCOLS

    serving = scenario.serving
    found = server(serving.runtime)
    if scenario.model_stream is not None:
        raise RefusedError("model_stream", "the model of an external server does not change")
    protocol = serving.client.protocol
    if protocol is not None and protocol not in PROTOCOLS:
        raise RefusedError("serving.client.protocol", f"no protocol {protocol}; there are {', '.join(PROTOCOLS)}")
    try:
        definition = model(scenario.model)
    except ModelError as error:
        raise RefusedError("model", str(error)) from None
    if scenario.workload.payload.pad_bytes and found.word != "weir":
        raise RefusedError("workload.payload.pad", f"{found.word} takes the model's input only; weir takes any")
    found.refuse(scenario)
    if serving.cache is not None:
        held = serving.cache.keys * scenario.workload.points * max(4 * definition.values, 1) * 4
        if held > _KEYS_BYTES:
            words = f"{serving.cache.keys:,} inputs would take about {held / 1e9:.1f} GB of the generator"
            raise RefusedError("serving.cache.keys", words)


class Played:
    """See the module.

    Attributes:
        running: Once started.
        ready_s: What that took.
    """

    def __init__(self, scenario: Scenario, supervisor: Supervisor, models: Path) -> None:
        self._scenario, self._supervisor, self._models = scenario, supervisor, models
        self._server = server(scenario.serving.runtime)
        self._calls: list[dict[str, int]] = []
        self.running: Running | None = None
        self.ready_s = 0.0

    def start(self, say: Say) -> None:
        """Starts it and compares its answers with the model's reference, over the protocol that the run will use.

        Raises:
            HarnessError: It does not start, or answers wrongly.
        """
        began = time.monotonic()
        self.running = self._server.start(ask_of(self._scenario, self._models), self._supervisor, say)
        self.ready_s = time.monotonic() - began
        accept(self._scenario, self.running)

    @property
    def _up(self) -> Running:
        assert self.running is not None
        return self.running

    def told(self) -> dict[str, Any]:
        """What an engine's process needs to know to call it."""
        asked = self._scenario.serving.client
        return told(self._up.address(asked.protocol), asked.timeout_ns, asked.retries)

    def part(self) -> Part:
        """What is sampled of it."""
        return Part(None, self._up.threads, self._up.slots, self._up.rss_bytes)

    def took(self, calls: dict[str, int]) -> None:
        """What one engine process counted of its calls."""
        self._calls.append(calls)

    def expected(self) -> None:
        """From now on its end is no surprise."""
        if self.running is not None:
            self.running.process.expected = True

    def go_down(self) -> None:
        """Kills it, as a fault."""
        self._up.go_down()

    def come_back(self) -> None:
        """Starts it again at its addresses; returns at once."""
        self._up.come_back()

    def pause(self, *, stop: bool) -> None:
        """Stops it where it stands, or lets it go on."""
        self._up.pause(stop=stop)

    def told_of_run(self) -> dict[str, Any]:
        """For run.json: which it was, and the calls of the whole load as their callers counted them."""
        words = self._calls[0] if self._calls else {}
        return {
            "server": self._server.word,
            "version": self._server.version(),
            "protocol": self._up.address(self._scenario.serving.client.protocol).protocol,
            "ready_s": self.ready_s,
            "calls": {word: sum(each[word] for each in self._calls) for word in words},
        }

    def stop(self) -> None:
        """Ends it, and whatever it started."""
        if self.running is not None:
            self.running.stop()


def accept(scenario: Scenario, running: Running) -> None:
    """Compares a server's answers to trial inputs with the model's reference.

    Raises:
        HarnessError: An answer is missing, or is not the model's.
    """
    from models.zoo import model, reference, trial

    definition = model(scenario.model)
    address = running.address(scenario.serving.client.protocol)
    caller = client(address)
    try:
        if not definition.scored:  # it answers zeros
            x = trial(scenario.model, scenario.workload.seed, 1)
            compare(caller.call(x, _TRIAL_S), x[:, :1].reshape(1, -1)[:, :1] * 0, address.protocol)
            return
        x = trial(scenario.model, scenario.workload.seed, 4 if definition.heavy else 64)
        expected = reference(scenario.model, scenario.workload.seed, x)
        compare(caller.call(x, _TRIAL_S), expected, address.protocol)
    except CallError as error:
        raise HarnessError(f"the server does not answer a trial input over {address.protocol}: {error}") from None
    finally:
        caller.close()


def compare(answer: Floats, expected: Floats, protocol: str) -> None:
    """An answer against what the model answers.

    Raises:
        HarnessError: They differ.
    """
    import numpy as np

    from models.check import TOLERANCE

    if answer.shape != expected.shape:
        raise HarnessError(f"over {protocol} an answer of shape {answer.shape}; the model's is {expected.shape}")
    error, scale = float(np.abs(answer - expected).max()), float(np.abs(expected).max())
    if not error <= TOLERANCE * scale:
        raise HarnessError(f"over {protocol} an answer is off by {error:.3g}, more than {TOLERANCE:g} of {scale:.3g}")
