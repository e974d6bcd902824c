"""Replicas as worker processes of our own, each in the supervision group of the harness."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from real.errors import DeadlineError
from real.pool.provider import Done, Replica
from real.pool.replica import ANSWER, REQUEST
from real.processes import Process, Supervisor

READY_S = 60.0  # a replica that takes longer to start will not
_PROBE_S = 0.002
_END_S = 2.0


class Worker(asyncio.Protocol):
    """The router's end of one replica."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._out: asyncio.Transport | None = None
        self._done: deque[Done] = deque()
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The replica listens."""
        assert isinstance(transport, asyncio.Transport)
        self._out = transport

    def data_received(self, data: bytes) -> None:
        """Answers, in the order of the requests."""
        data = self._waiting + data
        whole = len(data) - len(data) % ANSWER.size
        self._waiting = data[whole:]
        for _, began, ended in ANSWER.iter_unpack(data[:whole]):
            self._done.popleft()(began, ended)

    def serve(self, request: int, service_ns: int, done: Done) -> None:
        """Has a request served."""
        assert self._out is not None
        self._done.append(done)
        self._out.write(REQUEST.pack(request, service_ns))

    def hang_up(self) -> None:
        """The replica ends."""
        self.process.expected = True
        if self._out is not None:
            self._out.close()


class Workers:
    """See the module.

    Args:
        supervisor: Starts the processes and answers for them.
        names: The model of each job.
        models: Folder of model files to score with; None: replicas wait.
    """

    def __init__(self, supervisor: Supervisor, names: Sequence[str], models: Path | None) -> None:
        self.versions: dict[str, str] = {}
        self._supervisor, self._names, self._models = supervisor, names, models
        self._workers: list[Worker] = []
        self._started = 0
        if models is not None:
            import onnxruntime

            self.versions = {"onnxruntime": onnxruntime.__version__}

    async def start(self, job: int) -> Worker:
        """See `Provider.start`."""
        self._started += 1
        name = f"replica-{self._started}"
        path = self._supervisor.directory / f"{name}.sock"
        model = {} if self._models is None else {"model": self._names[job], "models": str(self._models.resolve())}
        process = self._supervisor.python(name, "real.pool.replica", {"socket": str(path), **model})
        worker = Worker(process)
        self._workers.append(worker)
        try:
            await self._ready(worker, path, time.monotonic() + READY_S)
        except BaseException:
            self._forget(worker)
            raise
        return worker

    async def _ready(self, worker: Worker, path: Path, limit: float) -> None:
        """Returns when the replica has answered a probe."""
        await self._connect(worker, path, limit)
        ready = asyncio.get_running_loop().create_future()
        worker.serve(-1, 0, lambda _began, _ended: None if ready.done() else ready.set_result(None))
        while not ready.done():
            await asyncio.wait([ready], timeout=0.1)
            self._look(worker, limit)

    async def _connect(self, worker: Worker, path: Path, limit: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._look(worker, limit)
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                await loop.create_unix_connection(lambda: worker, str(path))
                return
            await asyncio.sleep(_PROBE_S)

    def _look(self, worker: Worker, limit: float) -> None:
        if not worker.process.alive():
            raise worker.process.died()
        if time.monotonic() > limit:
            raise DeadlineError(f"{worker.process.name} is not ready after {READY_S:.0f} s")

    async def stop(self, replica: Replica) -> None:
        """See `Provider.stop`."""
        assert isinstance(replica, Worker)
        replica.hang_up()
        limit = time.monotonic() + _END_S
        while replica.process.alive() and time.monotonic() < limit:
            await asyncio.sleep(0.02)
        self._forget(replica)

    def _forget(self, worker: Worker) -> None:
        worker.hang_up()
        if worker in self._workers:
            self._workers.remove(worker)
            self._supervisor.stop([worker.process], grace_s=0.0)

    def check(self) -> None:
        """See `Provider.check`."""
        self._supervisor.check()

    async def close(self) -> None:
        """See `Provider.close`."""
        for worker in self._workers:
            worker.hang_up()
        for worker in list(self._workers):
            await self.stop(worker)
