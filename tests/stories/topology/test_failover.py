"""Failover and resharding in the midst of held, waited-for and renewed locks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.config.client import client_from_url
from celery_redislock.engine import Client, inspect, store_of

from ...support.deadlines import eventually
from ...support.topologies import Cluster, Replicated
from ...support.waiting_threads import Waiting
from .conftest import Event, Topology, crash, switch
from .contenders import Crew, overlaps

#: Longer than a failover on a busy machine.
LONG = 90.0

#: Seconds in which all of a crew have held the lock once more, after all is whole again.
GOES_ON_WITHIN = 30.0


@pytest.fixture
def name() -> str:
    """Give a lock of the test's own."""
    return f"lock {uuid4().hex}"


def of_the_engine(topology: Topology) -> Client:
    """Return a client of redis-py."""
    return topology.client()


def of_the_tasks(topology: Topology) -> Client:
    """Return what a URL leads to."""
    return client_from_url(topology.url, setting="redislock_url")


@pytest.mark.parametrize("client_of", [of_the_engine, of_the_tasks])
def test_a_lock_does_all_it_does_on_one_server(
    topology: Topology, name: str, client_of: Callable[[Topology], Client]
) -> None:
    client = client_of(topology)
    first, second = (RedisLock(client, name, expire=LONG, metadata={"who": "me"}) for _ in range(2))

    assert first.acquire()
    assert not second.acquire()
    assert first.renew()
    holder = second.holder()
    assert holder is not None
    assert holder.metadata == {"who": "me"}
    waiting = Waiting(second)
    eventually(lambda: _waiters(client, name) == 1)
    first_token = first.fencing_token
    assert first.release()
    assert waiting.answer()
    assert first_token is not None
    assert second.fencing_token is not None
    assert second.fencing_token > first_token
    assert second.force_release()
    assert not second.release()
    assert not second.locked()


@pytest.mark.parametrize("event", [crash, switch])
def test_a_held_lock_survives_a_failover_and_is_renewed_at_the_new_master(
    topology: Topology, name: str, event: Event
) -> None:
    client = of_the_tasks(topology)
    lock = RedisLock(client, name, expire=LONG, renew=True, min_replicas=1)
    other = RedisLock(client, name, expire=LONG)
    assert lock.acquire()
    before = topology.owner(name)
    number = lock.fencing_token

    event(topology, name)

    assert topology.owner(name) is not before
    assert not other.acquire()
    assert lock.renew()
    assert not lock.lost
    assert lock.release()
    assert other.acquire()
    assert number is not None
    assert other.fencing_token is not None
    assert other.fencing_token > number
    assert other.release()


def test_a_lock_that_cannot_be_renewed_in_time_is_lost_and_said_so(topology: Topology, name: str) -> None:
    client = of_the_tasks(topology)
    told = threading.Event()
    lock = RedisLock(client, name, expire=1, renew=True, on_lost=lambda _: told.set())
    assert lock.acquire()
    number = lock.fencing_token

    crashing = threading.Thread(target=crash, args=(topology, name))
    crashing.start()
    assert told.wait(10), "the loss was not reported"
    assert lock.lost
    crashing.join()

    other = RedisLock(client, name, expire=LONG)
    assert other.acquire(blocking=True, timeout=10)
    assert number is not None
    assert other.fencing_token is not None
    assert other.fencing_token > number
    assert not lock.release()
    assert other.release()


@pytest.mark.parametrize("event", [crash, switch])
def test_a_waiter_goes_on_waiting_at_the_new_master(topology: Topology, name: str, event: Event) -> None:
    client = of_the_tasks(topology)
    holder, waiter = (RedisLock(client, name, expire=LONG, min_replicas=1) for _ in range(2))
    assert holder.acquire()
    waiting = Waiting(waiter)
    eventually(lambda: _waiters(client, name) == 1)

    event(topology, name)

    eventually(lambda: _waiters(client, name) == 1)
    assert holder.release()
    assert waiting.answer(within=10)
    assert waiter.release()


def test_locks_at_other_masters_are_renewed_while_one_is_away(cluster: Cluster) -> None:
    client = of_the_tasks(cluster)
    names = [f"lock {uuid4().hex}" for _ in range(12)]
    locks = {name: RedisLock(client, name, expire=2, renew=True) for name in names}
    owners = {name: cluster.owner(name) for name in names}
    assert len(set(owners.values())) == 3
    away = owners[names[0]]
    assert all(lock.acquire() for lock in locks.values())

    away.pause()
    try:
        eventually(lambda: all(locks[name].lost for name in names if owners[name] is away), 20)
        time.sleep(1)
    finally:
        away.resume()

    kept = [name for name in names if owners[name] is not away]
    assert [name for name in kept if locks[name].lost] == []
    assert all(locks[name].release() for name in kept)


def test_a_lock_is_held_and_renewed_while_its_slot_moves(cluster: Cluster, name: str) -> None:
    client = of_the_tasks(cluster)
    holder, waiter = (RedisLock(client, name, expire=3, renew=True) for _ in range(2))
    assert holder.acquire()
    waiting = Waiting(waiter)
    eventually(lambda: _waiters(client, name) == 1)
    before = cluster.owner(name)

    cluster.move(name, pause=lambda: time.sleep(0.3))

    assert cluster.owner(name) is not before
    time.sleep(3.5)
    assert not holder.lost
    assert holder.owned()
    assert holder.release()
    assert waiting.answer(within=10)
    assert waiter.release()


def test_a_slot_that_moves_for_longer_than_the_lease_loses_the_lock_and_says_so(
    cluster: Cluster, name: str
) -> None:
    client = of_the_tasks(cluster)
    lock = RedisLock(client, name, expire=0.5, renew=True)
    assert lock.acquire()
    moved: list[float] = []

    def stall_after_the_first() -> None:
        if not moved:
            moved.append(time.monotonic())
            eventually(lambda: lock.lost, 10, "the loss should be noticed")

    cluster.move(name, pause=stall_after_the_first)

    assert moved
    assert lock.lost
    other = RedisLock(client, name, expire=LONG)
    assert other.acquire(blocking=True, timeout=10)
    assert other.release()


def test_no_call_takes_longer_than_five_seconds_without_a_master(topology: Topology, name: str) -> None:
    client = of_the_tasks(topology)
    lock = RedisLock(client, name, expire=LONG)
    assert not lock.locked()
    master = topology.owner(name)

    master.pause()
    try:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            assert not lock.acquire(blocking=True, timeout=0.5)
        assert time.monotonic() - began < 0.5 + 0.15
        began = time.monotonic()
        with suppress(StoreUnavailable):  # there may have been a failover already
            assert lock.acquire()
        assert time.monotonic() - began < 5.1
    finally:
        master.resume()


def _waiters(client: Client, name: str) -> int:
    try:
        seen = inspect(store_of(client), name)
    except StoreUnavailable:
        return -1
    return seen.waiters if seen else 0


def _trouble_with(topology: Topology, name: str, event: Event, folder: Path, times: int) -> None:
    """Break and mend a topology, again and again, under a crew."""
    folder.mkdir(exist_ok=True)
    with Crew(topology.url, name, folder, expire=2, renew=True, min_replicas=1) as crew:
        for _ in range(times):
            event(topology, name)
            crew.goes_on(GOES_ON_WITHIN)
        holds = crew.holds()
    assert overlaps(holds) == []
    numbers = [hold.fencing_token for hold in holds]
    assert numbers == sorted(set(numbers)), "fencing tokens should grow"
    lost = sum(hold.was_lost for hold in holds)
    print(f"{times} x {event.__name__}: {len(holds)} holds, {lost} lost, 0 overlaps, 0 stuck")


def move(cluster: Topology, name: str) -> None:
    """Move the slot of a lock to another master."""
    assert isinstance(cluster, Cluster)
    cluster.move(name)


CASES = [
    ("replicated", crash),
    ("replicated", switch),
    ("cluster", crash),
    ("cluster", switch),
    ("cluster", move),
]
IDS = [f"{where}-{event.__name__}" for where, event in CASES]


@pytest.mark.parametrize(("where", "event"), CASES, ids=IDS)
def test_nobody_overlaps_and_nobody_is_stuck(
    where: str, event: Event, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _trouble_with(request.getfixturevalue(where), name, event, tmp_path / "crew", times=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("where", "event"), CASES, ids=IDS)
def test_nobody_overlaps_and_nobody_is_stuck_in_twenty_times(
    where: str, event: Event, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _trouble_with(request.getfixturevalue(where), name, event, tmp_path / "crew", times=20)


def test_the_judge_sees_who_overlaps(replicated: Replicated, name: str, tmp_path: Path) -> None:
    with Crew(replicated.url, name, tmp_path, lock_class="tests.mutants.locks:IsNeverBusy") as crew:
        holds = crew.holds()

    assert overlaps(holds)
