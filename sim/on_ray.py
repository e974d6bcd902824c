"""A sweep's simulations on an existing Ray cluster: `python -m sim sweep FILE --on ray`.

Each simulation is a task of one CPU that gets all it needs and gives its result back; this machine looks up and keeps
the results, in the same files as ever.  What a lost node had in hand is run again on those that are left.
Needs the extra `ray`.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from scenarios.cluster_spec import ClusterScenario
from scenarios.errors import ScenarioError
from scenarios.model_stream import file_bytes
from sim import kept, on_ray_worker
from sim.execution import SimulationError
from sim.kept import Spread

ADDRESS = "RAY_ADDRESS"
#: So often a simulation may be lost before the cluster, not the luck, is at fault.
_ATTEMPTS = 5
_ANSWER_S = 10.0  # for a connection
_HEALTH_S = 60.0  # for Ray to say that it is one: it is imported for that
_WAIT_S = 1.0


@contextmanager
def connected(address: str | None, tell: Callable[[str], None]) -> Iterator[Spread]:
    """Connects to a cluster for the time of the context; gives what `kept.results` takes as `spread`.

    Args:
        address: HOST:PORT of its head, ray://HOST:PORT, or auto; None for the environment's RAY_ADDRESS.
        tell: What is to be said while it runs: nodes that were lost.

    What Ray itself prints meanwhile goes to stderr.

    Raises:
        ScenarioError: Ray is not installed, there is no address, or no cluster answers at it.
    """
    try:
        ray = import_module("ray")
    except ImportError:
        raise _refused("--on ray", "Ray is not installed; pip install 'weir[ray]'") from None
    asked = address or os.environ.get(ADDRESS, "")
    where = "--ray-address" if address else ADDRESS
    if not asked:
        raise _refused("--on ray", f"which cluster? --ray-address HOST:PORT, or {ADDRESS} in the environment")
    _check_answers(asked, where)
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    with redirect_stdout(sys.stderr):  # of the standard output nothing but results may come
        try:
            ray.init(address=asked, log_to_driver=False, configure_logging=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            said = " ".join(str(error).split())[:300]
            raise _refused(where, f"no Ray cluster at {asked}: {said}") from None
        finally:
            if main:
                signal.signal(signal.SIGTERM, handler)  # Ray's would end the process and say nothing of what is kept
        try:
            yield _spread_over(ray, tell)
        finally:
            ray.shutdown()


def files_of(scenario: Any) -> dict[str, bytes | int]:
    """The files that a scenario names and a simulation reads, by their names; their size, where only that is read."""
    workload = scenario.workload
    cluster = isinstance(scenario, ClusterScenario)
    traces = (workload.trace, workload.history) if cluster else (workload.arrival.path,)
    found: dict[str, bytes | int] = {name: Path(name).read_bytes() for name in traces if name and Path(name).is_file()}
    stream = None if cluster else scenario.model_stream
    for message in stream.messages if stream is not None else ():
        size = file_bytes(message)
        if size is not None:
            found[message.path] = size
    return found


def _spread_over(ray: Any, tell: Callable[[str], None]) -> Spread:
    def spread(
        function: Callable[[Any], Any], jobs: Sequence[Any], at_a_time: int | None = None
    ) -> Generator[tuple[int, Any], None, None]:
        """As `cores.spread`; keeps each result in its job's file."""
        if not jobs:
            return
        root = Path(kept.__file__).resolve().parent.parent
        digest, versions = kept.sources(), on_ray_worker.versions()
        ray.cloudpickle.register_pickle_by_value(on_ray_worker)
        remote = ray.remote(num_cpus=1, max_retries=0, max_calls=0)(on_ray_worker.simulate)
        sources = ray.put(on_ray_worker.packed(root, kept.ROOMS))
        files: dict[str, Any] = {}
        window = at_a_time or max(64, 4 * int(ray.cluster_resources().get("CPU", 1)))
        todo, running, lost = deque(range(len(jobs))), dict[Any, int](), Counter[int]()
        try:
            while todo or running:
                while todo and len(running) < window:
                    place = todo.popleft()
                    job = jobs[place]
                    contents = files_of(job.scenario)
                    for name, content in contents.items():
                        if name not in files:
                            files[name] = ray.put(content)
                    task = pickle.dumps((function, job))
                    sent = [files[name] for name in contents]
                    running[remote.remote(kept.ROOMS, digest, versions, task, list(contents), sources, *sent)] = place
                for ref in ray.wait(list(running), num_returns=1, timeout=_WAIT_S)[0]:
                    place = running.pop(ref)
                    found = _result(ray, ref)
                    if found is None:
                        lost[place] += 1
                        if lost[place] >= _ATTEMPTS:
                            message = f"the Ray cluster lost a simulation {_ATTEMPTS} times, for want of memory perhaps"
                            raise SimulationError(message)
                        tell("a worker of the Ray cluster was lost; what it had in hand is run again")
                        todo.appendleft(place)
                        continue
                    yield place, kept.keep(jobs[place].file, found)
        finally:
            ray.cloudpickle.unregister_pickle_by_value(on_ray_worker)
            for ref in running:
                with suppress(ray.exceptions.RayError, RuntimeError):
                    ray.cancel(ref, force=True)

    return spread


def _result(ray: Any, ref: Any) -> dict[str, Any] | None:
    """What a task gave; None where the worker or the node it ran on was lost."""
    errors = ray.exceptions
    gone = (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.ObjectLostError)
    try:
        kind, found = ray.get(ref)
    except gone:
        return None
    except errors.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ImportError):
            raise SimulationError(f"a node of the Ray cluster lacks what the simulator needs: {cause}") from None
        if isinstance(cause, Exception):
            raise cause from None
        raise SimulationError(f"on the Ray cluster: {error}") from None
    except errors.RayError as error:
        raise SimulationError(f"the Ray cluster failed: {' '.join(str(error).split())[:300]}") from None
    if kind == "refused":
        raise SimulationError(f"{found}; results would not be certain to be the same")
    return dict(found)


def _check_answers(address: str, where: str) -> None:
    """Finds out whether a cluster is there, since a client of Ray's waits long, and may end its process."""
    scheme, _, rest = address.rpartition("://")
    if address == "auto":
        return
    host, colon, port = rest.rpartition(":")
    if scheme not in ("", "ray") or not colon or not host or not port.isdecimal():
        raise _refused(where, f"{address!r} is no address of a cluster; allowed: HOST:PORT, ray://HOST:PORT, auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _refused(where, f"no Ray cluster at {address}: {error}") from None
    if scheme:
        return
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_HEALTH_S, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise _refused(where, f"no Ray cluster at {address}: what is there does not answer as one") from None
    if done.returncode != 0:
        last = next(iter(done.stderr.decode(errors="replace").strip().splitlines()[-1:]), "it does not answer as one")
        raise _refused(where, f"no Ray cluster at {address}: {last}")


def _refused(where: str, message: str) -> ScenarioError:
    return ScenarioError(where, None, None, "", message)
