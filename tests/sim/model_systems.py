"""Poll loops whose models change and whose workers are killed, for the tests of both executors: any such system."""

from __future__ import annotations

from itertools import count

import numpy as np

from scenarios.assignment import range_assignment
from sim import operations as op
from sim.operations import Program
from sim.system import INPUT, OUTPUT, Delivery, Models, Receiver, System
from tests.sim.families import _Random
from tests.sim.layouts import STEP_NS, costing


def random_model_system(seed: int, *, kills: bool = False) -> System:
    """A poll loop with any models, stores and hosts; with `kills` its workers die and most start again."""
    found = next(s for s in count(1000 * seed) if _Random(s).entry == "poll loop")
    return _RandomModels(found, kills=kills).system()


class _RandomModels(_Random):
    def __init__(self, seed: int, *, kills: bool) -> None:
        super().__init__(seed)
        self.kills = kills
        self.types = self.rng.randrange(1, 4)
        self.keeping = self.rng.choice(("none", "changelog", "record", "snapshot"))
        self.background = self.rng.random() < 0.4
        self.messages = self.rng.randrange(1, 6)
        self.last = int(self.layout.created.max())

    def _entry(self) -> list[int]:
        rng, layout = self.rng, self.layout
        # Costs that stand one after the other: of loading message n, of scoring by it.
        loads = layout.cost(*(costing(self.ns(30)) for _ in range(self.messages)))
        scores = layout.cost(*(costing(self.ns(6)) for _ in range(self.messages)))
        ranges = range_assignment(self.partitions, min(rng.randrange(1, 4), self.partitions))
        apps: list[int] = []
        for n, (first, partitions) in enumerate(ranges):
            program = self._worker(loads, scores)
            apps.append(self._reads(program, f"worker.{n}", INPUT, first, partitions, rng.choice((1, 3, 500)), n))
            self._producer(apps[-1], OUTPUT, first, partitions)
        self._models(apps, [n for n, (_, size) in enumerate(ranges) for _ in range(size)], loads)
        return apps

    def _models(self, apps: list[int], worker_of: list[int], loads: int) -> None:
        rng, layout = self.rng, self.layout
        owners: list[int] = []
        receivers: list[Receiver] = []
        for app in rng.sample(apps, rng.randrange(1, len(apps) + 1)):
            owners.append(app)
            for _ in range(rng.choice((1, 1, 2))):
                client = layout.thread(f"models.{len(receivers)}", self._client(loads), host=self.on())
                loader = client if self.background else app
                receivers.append(Receiver(client, app, loader, len(owners) - 1, self._deliveries()))
        stores = [rng.randrange(-1, len(owners)) if rng.random() < 0.5 else 0 for _ in worker_of]
        kind = np.array([rng.randrange(self.types) for _ in layout.created], dtype=np.int64)
        kind[[i for i in range(len(kind)) if rng.random() < 0.05]] = -1
        kills = self._faults(apps) if self.kills else 0
        layout.models = Models(
            tuple(owners),
            tuple(receivers),
            self.types,
            kind,
            tuple(stores),
            restore=rng.choice(("latest", "earliest", "snapshot")),
            keep_every_ns=self.ns(200) + 1,
            commit_every_ns=rng.choice((self.ns(300), 1 << 40)) + 1,
            kills=kills,
        )

    def _faults(self, apps: list[int]) -> int:
        kills = 0
        for _ in range(self.rng.randrange(1, 4)):
            p = Program("fault").do(op.SLEEP, self.rng.randrange(1, self.last + 2 * STEP_NS))
            for app in self.rng.sample(apps, self.rng.randrange(1, len(apps) + 1)):
                p.do(op.STRIKE, app, op.NEVER if self.rng.random() < 0.1 else self.ns(150))
                kills += 1
            self.layout.thread(f"fault.{kills}", p.do(op.HALT), host=self.on())
        return kills

    def _deliveries(self) -> tuple[Delivery, ...]:
        rng = self.rng
        at = sorted(
            rng.randrange(0, self.last + STEP_NS) // (STEP_NS if self.ties else 1) for _ in range(rng.randrange(9))
        )
        return tuple(
            Delivery(
                t * (STEP_NS if self.ties else 1),
                rng.randrange(self.messages),
                rng.randrange(self.types),
                rng.randrange(1, 5000),
                rng.randrange(1, 5000),
                rng.random() < 0.2,
            )
            for t in at
        )

    def _client(self, loads: int) -> Program:
        p = Program("models client").label("loop").do(op.MODEL_ARRIVE).do(op.CPU, self.cost(), op.MODEL)
        p.do(op.MODEL_HAND)
        if not self.background:
            return p.do(op.JUMP, "loop")
        p.label("next").do(op.MODEL_NEXT, "load").do(op.JUMP, "loop")
        return self._load(p, loads)

    def _load(self, p: Program, loads: int) -> Program:
        p.label("load").do(op.CPU, loads, op.MODEL, op.BY_MODEL).do(op.MODEL_LOADED)
        if self.keeping == "snapshot":
            p.do(op.KEEP, op.OF_MODEL, "next").do(op.CPU, self.cost(), op.KEPT)
        return p.do(op.JUMP, "next")

    def _worker(self, loads: int, scores: int) -> Program:
        serves = not self.calls_back
        p = Program("worker").label("loop")
        if self.kills:
            p.do(op.OFFSETS_DUE, "poll").do(op.FLUSH).do(op.OFFSETS)
        p.label("poll").do(op.POLL, "empty" if serves else "loop", "next").do(op.CPU, self.cost(), op.POLLED)
        p.do(op.STAMP, op.FETCHED, op.OF_POLL).do(op.CPU, self.cost(), op.AFTER_SLEEP)
        p.label("next")
        if self.kills:
            p.do(op.DIES, "crash")
        if self.keeping == "changelog":
            p.do(op.KEEP, op.OF_ALL, "kept").do(op.CPU, self.cost(), op.KEPT)
        p.label("kept").do(op.MODEL_NEXT, "load").do(op.NEXT, "loop").do(op.CPU, self.cost(), op.RECORD_IN)
        p.do(op.PICK, "skipped").do(op.CPU, self.cost(), op.SWAPPED).do(op.STAMP, op.SCORE_BEGIN, op.ONE)
        p.do(op.CPU, scores, op.RECORD_IN, op.BY_MODEL).do(op.STAMP, op.SCORE_END, op.ONE)
        p.do(op.CPU, self.cost(), op.RECORD_OUT).do(op.STAMP, op.PRODUCED, op.ONE).do(op.ENQUEUE)
        if self.keeping == "record":
            p.do(op.KEEP, op.OF_RECORD, "skipped").do(op.CPU, self.cost(), op.KEPT)
        p.label("skipped")
        if serves:
            p.do(op.SERVE)
        p.do(op.JUMP, "next")
        self._load(p, loads)
        if serves:
            p.label("empty").do(op.CPU, self.cost(), op.AFTER_SLEEP).do(op.SERVE).do(op.JUMP, "loop")
        if self.kills:
            p.label("crash").do(op.CRASH).do(op.RESTART).do(op.JUMP, "loop")
        return p
