"""Simulation: shards as queues with one server each, fed by tasks, renewals and waiters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]

#: Hash slots of a cluster; shards have equal shares of them, in ranges.
SLOTS = 16_384

#: How often a waiter looks by itself when nothing wakes it, seconds, and a lease is renewed in its ttl.
RECHECK_S, RENEWALS_IN_TTL = 4.0, 3


@dataclass(frozen=True)
class Costs:
    """What one server pays, microseconds of its one core.

    Attributes:
        acquire, renew, release: The scripts, without their way through the socket.
        request: Reading one request from a socket and writing the answer, whatever it carries.
    """

    acquire: float
    renew: float
    release: float
    request: float

    @property
    def cycle(self) -> float:
        """A lock taken and given back, each by a request of its own."""
        return self.acquire + self.release + 2 * self.request


@dataclass(frozen=True)
class Plan:
    """What is asked of a cluster.

    Attributes:
        shards: Masters.
        tasks_per_s: Locked tasks, each an acquire and a release.
        held: Locks held, and renewed, at a time.
        ttl_s: Their leases.
        processes: Worker processes that hold them: each renews all that it has on a shard in one request.
        waiters: Who waits for busy locks.
        together: Share of the processes whose renewals are due in the same instant, once in the
            simulated time; all others are spread evenly.
    """

    shards: int
    tasks_per_s: float
    held: int
    ttl_s: float = 30.0
    processes: int = 1000
    waiters: int = 0
    together: float = 0.0

    @property
    def interval_s(self) -> float:
        """Time between two renewals of one lock."""
        return self.ttl_s / RENEWALS_IN_TTL


@dataclass(frozen=True)
class Outcome:
    """What became of a plan.

    Attributes:
        busy: Share of their time that the shards work: mean, and that of the busiest.
        wait_ms: From the arrival of a task's request to its answer: median, p99 and longest.
        drained_ms: From a common renewal until its last answer on the slowest shard; 0 without one.
    """

    busy: tuple[float, float]
    wait_ms: tuple[float, float, float]
    drained_ms: float


def busy(plan: Plan, costs: Costs) -> float:
    """Return the share of its time that a shard works, by the formula; above 1 it falls behind."""
    tasks = plan.tasks_per_s * costs.cycle
    requests = min(plan.held, plan.processes * plan.shards)
    renewals = (plan.held * costs.renew + requests * costs.request) / plan.interval_s
    # A re-check is a question and the start of the next sleep.
    waiting = plan.waiters / RECHECK_S * (costs.acquire + 2 * costs.request)
    return (tasks + renewals + waiting) / plan.shards / 1e6


def answers(arrivals: Times, services: Times) -> Times:
    """Return when each request is answered by a server that takes them in the order of arrival.

    Args:
        arrivals: Ascending, seconds.
        services: How long each takes, seconds.
    """
    done = np.cumsum(services)
    # Each begins when it arrives or when the one before it is done, whichever is later.
    answered: Times = done + np.maximum.accumulate(arrivals - (done - services))
    return answered


def drain(batches: int, requests_each: int, service_us: float, batch_us: float = 0.0) -> tuple[float, float]:
    """Return the mean and the last answer of connections that send a batch in the same instant, in ms."""
    services = np.full(batches, (requests_each * service_us + batch_us) / 1e6)
    answered = answers(np.zeros(batches), services)
    return 1000 * float(answered.mean()), 1000 * float(answered[-1])


def simulate(plan: Plan, costs: Costs, seed: int = 1) -> Outcome:
    """Play one interval between renewals on every shard."""
    random = np.random.default_rng(seed)
    held = _by_shard(plan.held, plan.shards, random)
    runs = [_shard(replace(plan, held=int(count)), costs, random) for count in held]
    waits = np.concatenate([waited for _, waited, _ in runs])
    shares = [share for share, _, _ in runs]
    middle, late, longest = (1000 * float(np.quantile(waits, share)) for share in (0.5, 0.99, 1.0))
    return Outcome(
        (float(np.mean(shares)), max(shares)),
        (middle, late, longest),
        1000 * max(drained for _, _, drained in runs),
    )


def _by_shard(names: int, shards: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Throw names into slots, and slots into shards as a cluster has them."""
    slots = random.multinomial(names, np.full(SLOTS, 1 / SLOTS))
    return np.array([part.sum() for part in np.array_split(slots, shards)])


def _shard(plan: Plan, costs: Costs, random: np.random.Generator) -> tuple[float, Times, float]:
    """Play one shard; ``plan.held`` is its own part. Return busy share, waits of tasks, drain time."""
    span = plan.interval_s
    tasks = random.poisson(plan.tasks_per_s / plan.shards * span)
    asks = random.poisson(plan.waiters / plan.shards / RECHECK_S * span)
    in_request = random.multinomial(plan.held, np.full(plan.processes, 1 / plan.processes))
    in_request = in_request[in_request > 0]
    together = round(plan.together * len(in_request))
    spread_out = 2 * tasks + asks + len(in_request) - together
    arrivals = np.concatenate([np.full(together, span / 2), random.uniform(0, span, spread_out)])
    services = np.concatenate(
        [
            in_request * costs.renew + costs.request,
            np.full(asks, costs.acquire + 2 * costs.request),
            np.tile([costs.acquire + costs.request, costs.release + costs.request], tasks),
        ]
    )
    waited = _waited(arrivals, services / 1e6)
    drained = waited[:together].max(initial=0.0)
    return float(services.sum()) / 1e6 / span, waited[len(waited) - 2 * tasks :], float(drained)


def _waited(arrivals: Times, services: Times) -> Times:
    order = np.argsort(arrivals, kind="stable")
    answered = np.empty_like(arrivals)
    answered[order] = answers(arrivals[order], services[order])
    waited: Times = answered - arrivals
    return waited
