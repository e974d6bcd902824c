"""The same cluster as a plain SimPy model: one process a request, one an executor, one a release check, one the ticks.

It shares with the loop what a request draws (`scenarios.cluster_draws`) and nothing of how it moves: the tests hold
every latency and decision of the two equal, and the benchmark holds their speed side by side.  A time is an int, in ns.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Generator, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import simpy
from simpy.events import EventPriority

from analysis.cluster import DROPPED_FULL, DROPPED_RATE, PENDING, SERVED
from analysis.cluster_metrics import Trail
from control.envelope import envelope
from control.scaling.observation import Action, JobView, Observation, Policy
from control.scaling.plane import DONE, RELEASE, RETRY, START, TAKE, TICK, Decision, ns
from scenarios import cluster_draws as tables
from scenarios.cluster_draws import PURPOSE_ACCEPT, PURPOSE_ROUTER_IN, PURPOSE_ROUTER_OUT, PURPOSE_SERVICE, rotation
from scenarios.cluster_spec import ClusterScenario
from scenarios.draws import draw

Int64s = npt.NDArray[np.int64]
Steps = Generator[simpy.Event, Any, None]
MINUTE_NS = 60_000_000_000


def wait(env: simpy.Environment, rank: int, delay_ns: int = 0) -> simpy.Event:
    """An event of the control plane: at its instant, after all requests, in the order of ranks."""
    event = env.event()
    event._ok, event._value = True, None  # noqa: SLF001  # what `succeed` does, which takes no priority
    schedule(env, event, rank, delay_ns)
    return event


def schedule(env: simpy.Environment, event: simpy.Event, rank: int, delay_ns: int = 0) -> None:
    """Puts an event of the control plane behind the requests of its instant, which have SimPy's own priorities."""
    env.schedule(event, cast(EventPriority, rank + 2), delay_ns)


class Replica:
    """Serves one request at a time; out of the rotation it drains what it holds."""

    def __init__(self, env: simpy.Environment, worker: dict[str, int | None]) -> None:
        self.server = simpy.Resource(env, 1)
        self.worker = worker
        self.outstanding = 0


class ReferenceJob:
    """One job: its requests, replicas, workers and executor."""

    def __init__(self, cluster: ReferenceCluster, number: int, times: Int64s) -> None:
        self.cluster, self.env, self.number = cluster, cluster.env, number
        scenario = cluster.scenario
        self.spec, self.seed = scenario.jobs[number], scenario.seed
        self.router = simpy.Resource(self.env, 1)
        self.router_ns = tables.quantiles_ns(scenario.cluster.router).tolist()
        self.service_ns = tables.quantiles_ns(self.spec.model.service).tolist()
        self.times = times.tolist()
        self.latency_ns = [0] * len(times)
        self.outcome = [PENDING] * len(times)
        self.queue: deque[simpy.Event] = deque()
        self.held: simpy.Event | None = None
        self.replicas: list[Replica] = []
        self.turns: list[Replica] = []
        self.turn = self.dealt = 0
        self.accept = 1.0
        self.finished: deque[tuple[int, int, bool, bool]] = deque()  # of the window: when, latency, served, within it
        self.serving: dict[int, int] = {}  # request -> since when
        self.holding = 0  # requests at replicas, in service or not
        self.busy_ns = self.busy_seen = 0
        self.ran_seen = 0
        self.arrived: Counter[int] = Counter()  # by bin
        self.changes: list[tuple[int, int]] = []
        self.workers: list[dict[str, int | None]] = [{"idle": None} for _ in range(self.spec.replicas)]
        self.granted = self.spec.replicas
        self.todo: deque[tuple[int, float | None]] = deque()
        self.busy = False
        self.wake: simpy.Event | None = None
        self.add([Replica(self.env, worker) for worker in self.workers])
        self.env.process(self.arrive())
        self.env.process(self.execute())
        self.env.process(self.release())

    @property
    def now(self) -> int:
        """The time, in ns."""
        return int(self.env.now)

    # ---------------------------------------------------------------- requests

    def arrive(self) -> Steps:
        """Starts each request at its time."""
        bin_ns = ns(self.cluster.scenario.cluster.rate_bin_s)
        for i, at in enumerate(self.times):
            if at > self.now:
                yield self.env.timeout(at - self.now)
            self.arrived[at // bin_ns] += 1
            self.env.process(self.request(i))

    def request(self, i: int) -> Steps:
        """A request's way: router, queue, replica, router."""
        yield from self.route(i, PURPOSE_ROUTER_IN)
        if self.accept < 1.0 and draw(self.seed, self.number, i, PURPOSE_ACCEPT, 0) >= round(self.accept * 2**32):
            self.outcome[i] = DROPPED_RATE
        elif len(self.queue) > self.cluster.scenario.cluster.max_queue:
            self.outcome[i] = DROPPED_FULL
        else:
            assigned = self.env.event()
            self.queue.append(assigned)
            self.dispatch()
            replica = yield assigned
            with replica.server.request() as turn:
                yield turn
                self.serving[i] = self.now
                yield self.env.timeout(tables.at(self.service_ns, self.draw(i, PURPOSE_SERVICE)))
            self.busy_ns += self.now - self.serving.pop(i)
            self.holding -= 1
            replica.outstanding -= 1
            self.outcome[i] = SERVED
            self.dispatch()
        yield from self.route(i, PURPOSE_ROUTER_OUT)
        took = self.now - self.times[i]
        self.latency_ns[i] = took
        served = self.outcome[i] == SERVED
        self.finished.append((self.now, took, served, served and took <= round(self.spec.slo_s * 1e9)))
        self.cluster.leave()

    def route(self, i: int, purpose: int) -> Steps:
        """Once through the router."""
        with self.router.request() as turn:
            yield turn
            yield self.env.timeout(tables.at(self.router_ns, self.draw(i, purpose)))

    def draw(self, i: int, purpose: int) -> int:
        """32 bits for a purpose of request i."""
        return draw(self.seed, self.number, i, purpose, 0)

    def dispatch(self) -> None:
        """Gives requests to replicas by turns; holds one in hand while all are full."""
        limit = self.cluster.scenario.cluster.replica_concurrency
        while self.held is not None or self.queue:
            if self.held is None:
                self.held = self.queue.popleft()
            for _ in self.turns:
                replica = self.turns[self.turn]
                self.turn = (self.turn + 1) % len(self.turns)
                if replica.outstanding < limit:
                    break
            else:
                return
            replica.outstanding += 1
            self.holding += 1
            self.held.succeed(replica)
            self.held = None

    # ---------------------------------------------------------------- replicas and workers

    def add(self, replicas: list[Replica]) -> None:
        """Replicas begin to serve."""
        self.replicas += replicas
        self.deal()

    def deal(self) -> None:
        """Deals the turns anew after a change of replicas."""
        self.changes.append((self.now, len(self.replicas)))
        self.turns = [self.replicas[k] for k in rotation(self.seed, self.number, self.dealt, len(self.replicas))]
        self.turn, self.dealt = 0, self.dealt + 1
        self.dispatch()

    def ran_ns(self) -> int:
        """Replicas times the time they ran, up to now."""
        ends = [*(at for at, _ in self.changes[1:]), self.now]
        return sum(count * (end - at) for (at, count), end in zip(self.changes, ends, strict=True))

    def execute(self) -> Steps:
        """Carries out one action after another."""
        cluster = self.cluster.scenario.cluster
        while True:
            if not self.todo:
                self.busy, self.wake = False, self.env.event()
                yield self.wake
            self.busy = True
            target, accept = self.todo.popleft()
            if accept is not None:
                self.accept = accept
            change = target - len(self.replicas)
            if change > 0:
                yield from self.grow(change)
            elif change < 0:
                for replica in self.replicas[change:]:
                    replica.worker["idle"] = self.now
                del self.replicas[change:]
                self.cluster.scale_ins -= change
                self.deal()
                yield wait(self.env, DONE, ns(cluster.hot_start_s))
            else:
                yield wait(self.env, DONE)

    def grow(self, missing: int) -> Steps:
        """So many replicas more, as workers can be had; returns when all serve."""
        cluster = self.cluster.scenario.cluster
        starting = []
        while True:
            hot = [worker for worker in self.workers if worker["idle"] is not None][:missing]
            cold: list[dict[str, int | None]] = []
            while len(hot) + len(cold) < missing and self.cluster.free_cpus > 0:
                self.cluster.free_cpus -= 1
                cold.append({"idle": None})
            for worker in hot:
                worker["idle"] = None
            self.workers += cold
            self.cluster.scale_outs += len(hot) + len(cold)
            missing -= len(hot) + len(cold)
            if hot:
                starting.append(self.env.process(self.start(hot, ns(cluster.hot_start_s))))
            if cold:
                starting.append(self.env.process(self.start(cold, ns(cluster.cold_start_s))))
            if missing == 0:
                break
            yield wait(self.env, RETRY, ns(cluster.retry_s))
        yield simpy.AllOf(self.env, starting)
        yield wait(self.env, DONE)

    def start(self, workers: list[dict[str, int | None]], after_ns: int) -> Steps:
        """Replicas on these workers, once their start is over."""
        yield wait(self.env, START, after_ns)
        self.add([Replica(self.env, worker) for worker in workers])

    def release(self) -> Steps:
        """Gives the CPUs of idle workers back."""
        cluster = self.cluster.scenario.cluster
        while True:
            yield wait(self.env, RELEASE, ns(cluster.release_check_s))
            for worker in list(self.workers):
                since = worker["idle"]
                if since is None or self.now - since < ns(cluster.idle_release_s) or len(self.workers) == 1:
                    continue
                self.workers.remove(worker)
                self.cluster.free_cpus += 1

    # ---------------------------------------------------------------- what is seen

    def view(self) -> JobView:
        """The job now."""
        now, cluster = self.now, self.cluster.scenario.cluster
        while self.finished and self.finished[0][0] <= now - ns(cluster.latency_window_s):
            self.finished.popleft()
        seen = len(self.finished)
        bins = now // ns(cluster.rate_bin_s)
        recent = self.times[bisect_right(self.times, now - MINUTE_NS) : bisect_right(self.times, now)]
        busy_ns, ran_ns = self.busy_ns + sum(now - since for since in self.serving.values()), self.ran_ns()
        busy, ran = busy_ns - self.busy_seen, ran_ns - self.ran_seen
        self.busy_seen, self.ran_seen = busy_ns, ran_ns
        return JobView(
            replicas=self.granted,
            running=len(self.replicas),
            busy=self.busy,
            latency_s=sum(took for _, took, _, _ in self.finished) / seen / 1e9 if seen else 0.0,
            finished=seen,
            served=sum(served for _, _, served, _ in self.finished),
            slo_rate=sum(within for _, _, _, within in self.finished) / seen if seen else 1.0,
            rates_per_min=tuple(self.arrived[k] * (60.0 / cluster.rate_bin_s) for k in range(bins)),
            recent_rate_per_s=len(recent) / min(60.0, now / 1e9) if now else 0.0,
            queued=len(self.queue) + (self.held is not None) + self.holding - len(self.serving),
            utilisation=min(1.0, busy / ran) if ran else 0.0,
            accept=self.accept,
            envelope_per_s=envelope([at / 1e9 for at in recent], self.cluster.windows_s)
            if self.cluster.windows_s
            else {},
        )


class ReferenceCluster:
    """The jobs, the quota and the policy."""

    def __init__(self, scenario: ClusterScenario, arrivals: Sequence[Int64s], policy: Policy) -> None:
        self.env = simpy.Environment(0)
        self.scenario, self.policy = scenario, policy
        self.windows_s = tuple(getattr(policy, "envelope_windows_s", ()))
        self.free_cpus = scenario.cluster.quota - sum(job.replicas for job in scenario.jobs)
        self.scale_outs = self.scale_ins = 0
        self.decisions: list[Decision] = []
        self.left = sum(len(times) for times in arrivals)
        self.all_left = self.env.event()
        self.jobs = [ReferenceJob(self, number, times) for number, times in enumerate(arrivals)]
        self.env.process(self.control())

    @property
    def now(self) -> int:
        """The time, in ns."""
        return int(self.env.now)

    def leave(self) -> None:
        """A request is out."""
        self.left -= 1
        if self.left == 0:
            self.all_left.succeed()

    def control(self) -> Steps:
        """Observes, asks the policy, grants."""
        waiting: list[tuple[Action, int | None]] = []  # an action, or what of it is left to grant
        while True:
            yield wait(self.env, TICK, ns(self.policy.tick_s))
            seen = Observation(self.now / 1e9, self.scenario.cluster.quota, tuple(job.view() for job in self.jobs))
            asked = waiting + [(action, None) for action in self.policy.decide(seen)]
            downs = [each for each in asked if self.target(*each) < self.jobs[each[0].job].granted]
            ups = [each for each in asked if self.target(*each) >= self.jobs[each[0].job].granted]
            waiting = []
            for action, more in downs + ups:
                left = self.grant(action, more)
                if left is not None and action.trials > 1:
                    again = Action(action.job, action.replicas, action.reason, action.trials - 1, action.accept)
                    waiting.append((again, left if left >= 0 else more))

    def target(self, action: Action, more: int | None) -> int:
        """Replicas that the action asks for."""
        return self.jobs[action.job].granted + more if more is not None else max(1, action.replicas)

    def grant(self, action: Action, more: int | None) -> int | None:
        """Grants what can be; gives the replicas that are left open, -1 for a busy executor, None if nothing is."""
        job, target = self.jobs[action.job], self.target(action, more)
        before, left = job.granted, None
        if job.busy:
            left = -1
        else:
            free = self.scenario.cluster.quota - sum(each.granted for each in self.jobs)
            job.granted = min(target, before + free)
            if job.granted < target:
                left = target - job.granted
            if job.granted != before or action.accept is not None:
                job.todo.append((job.granted, action.accept))
                if job.wake is not None:
                    wake, job.wake = job.wake, None
                    wake._ok, wake._value = True, None  # noqa: SLF001  # as in `wait`
                    schedule(self.env, wake, TAKE)
        self.decisions.append(Decision(self.now, action.job, before, target, job.granted, action.reason, 0.0))
        return left


def run(scenario: ClusterScenario, arrivals: Sequence[Int64s], policy: Policy) -> Trail:
    """As `simulate.run`: the requests that arrive at these times, under a policy, until the last is out."""
    cluster = ReferenceCluster(scenario, arrivals, policy)
    if cluster.left > 0:
        cluster.env.run(until=cluster.all_left)
    return Trail(
        arrivals=list(arrivals),
        latencies_ns=[np.array(job.latency_ns, np.int64) for job in cluster.jobs],
        outcomes=[np.array(job.outcome, np.int64) for job in cluster.jobs],
        changes=[job.changes for job in cluster.jobs],
        decisions=cluster.decisions,
        solver_s=[],
        scale_outs=cluster.scale_outs,
        scale_ins=cluster.scale_ins,
        end_ns=cluster.now,
    )
