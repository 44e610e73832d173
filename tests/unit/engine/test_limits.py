"""What an operator sets for a lock: who comes in, who goes on, who is told, and what is left of it."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis

from celery_redislock import LockBusy, RedisLock
from celery_redislock.engine import Limits, inspect, inspect_all, store_of
from celery_redislock.engine.lease.lease import now
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol import exclusive, shared
from celery_redislock.engine.protocol import limit as words
from celery_redislock.engine.protocol.exclusive import Busy
from celery_redislock.engine.protocol.keys import group_keys_of, keys_of

from ...mutants.scripts import gone_wrong
from ...support.deadlines import eventually
from ...support.scripts import FILES

NAME, BY = "api", "ann@ops"
#: An asker for the lock alone, one beside any number, and one of at most three.
KINDS: list[dict[str, Any]] = [{}, {"shared": True}, {"limit": 3}]


def lock(client: redis.Redis, **options: Any) -> RedisLock:
    """Return one more lock of the name."""
    return RedisLock(client, NAME, 30, **options)


def held(client: redis.Redis, **options: Any) -> RedisLock:
    """Return a lock, taken."""
    taken = lock(client, **options)
    assert taken.acquire()
    return taken


@pytest.fixture
def limits(client: redis.Redis) -> Limits:
    """Give the limits of the lock."""
    return Limits(client, NAME)


class Waiting:
    """Somebody that waits for the lock in a thread."""

    def __init__(self, waiter: RedisLock, timeout: float = 20) -> None:
        self.lock, self.has_it = waiter, False
        self._thread = threading.Thread(target=self._wait, args=(timeout,), daemon=True)
        self._thread.start()

    def _wait(self, timeout: float) -> None:
        self.has_it = self.lock.acquire(blocking=True, timeout=timeout)

    def ended(self) -> bool:
        """Wait for its end, and say whether it has the lock."""
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.has_it


@pytest.fixture
def wait(client: redis.Redis) -> Callable[..., Waiting]:
    """Have one more wait for the lock, and return when it stands in line."""
    count = iter(range(1, 100))

    def start(**options: Any) -> Waiting:
        waiting, number = Waiting(lock(client, **options)), next(count)
        eventually(lambda: len(client.zrange(keys_of(NAME).waiters, 0, -1)) >= number)
        return waiting

    return start


def test_a_limit_counts_in_place_of_those_of_the_askers(client: redis.Redis, limits: Limits) -> None:
    limits.set(2, None, BY, "")

    inside = [held(client, shared=True), held(client, limit=1)]
    assert not lock(client, shared=True).acquire(), "who has no limit passed by it"
    assert not lock(client, limit=10).acquire(), "who has a larger one passed by it"
    assert inside[0].release()
    assert lock(client, limit=1).acquire(), "a smaller limit of an asker counted"


def test_to_lower_a_limit_evicts_nobody(client: redis.Redis, limits: Limits) -> None:
    inside = [held(client, limit=3) for _ in range(3)]

    limits.set(1, None, BY, "")

    assert all(each.owned() and each.renew() for each in inside)
    assert inside[0].release()
    assert inside[1].release()
    assert not lock(client, limit=3).acquire()
    assert inside[2].release()
    assert lock(client, limit=3).acquire()


@pytest.mark.parametrize(
    "raised", [lambda limits: limits.set(3, None, BY, ""), lambda limits: limits.reset(BY)]
)
def test_to_raise_a_limit_lets_in_at_once_as_many_as_fit(
    client: redis.Redis, limits: Limits, wait: Callable[..., Waiting], raised: Callable[[Limits], object]
) -> None:
    limits.set(1, None, BY, "")
    first = held(client, limit=3)
    waiting = [wait(limit=3) for _ in range(3)]

    raised(limits)

    # Those who fit have their turn when the change is made, not when they ask.
    assert client.zcard(group_keys_of(keys_of(NAME)).sharers) == 3
    assert client.zcard(keys_of(NAME).waiters) == 1
    assert [each.ended() for each in waiting[:2]] == [True, True]
    assert first.release()
    assert waiting[2].ended()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_paused_lock_lets_in_nobody(client: redis.Redis, limits: Limits, kind: dict[str, Any]) -> None:
    limits.pause(None, BY, "the API is down")

    busy = lock(client, **kind).attempt()

    assert busy is not None
    assert busy.is_pause
    assert str(busy) == f"paused by {BY}: the API is down"
    assert busy.lease_left is None
    assert busy.fencing_token is None
    assert lock(client).locked()
    assert lock(client).holder() is None
    assert lock(client).holders() == []
    assert not client.set(NAME, "a stranger's", nx=True, px=10_000), "SET NX came in"


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("own", KINDS, ids=str)
def test_who_holds_a_lock_goes_on_when_it_is_paused(
    client: redis.Redis, limits: Limits, own: dict[str, Any], kind: dict[str, Any]
) -> None:
    running = held(client, **own)

    limits.pause(None, BY, "")

    assert running.owned()
    assert running.renew()
    assert [str(each.since) for each in running.holders()] == [str(running.holder().since)]
    assert not lock(client, **kind).acquire(), "somebody came in beside the one that runs"
    assert running.release()
    assert not lock(client, **kind).acquire(), "somebody came in behind the one that ran"
    limits.reset(BY)
    assert lock(client, **kind).acquire()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_pause_outlives_a_holder_that_dies(
    client: redis.Redis, limits: Limits, kind: dict[str, Any]
) -> None:
    held(client, **kind)
    limits.pause(None, BY, "")

    client.delete(NAME)

    assert not lock(client, **kind).acquire(), "somebody came in behind the one that died"
    assert not lock(client).acquire(), "somebody came in behind the one that died"


def test_a_script_that_knows_of_no_pause_is_found_out(client: redis.Redis, limits: Limits) -> None:
    with (
        gone_wrong(exclusive.RELEASE, "if pause(lock, holder, waiters, now) then", "if false then"),
        pytest.raises(AssertionError, match="came in behind the one that ran"),
    ):
        test_who_holds_a_lock_goes_on_when_it_is_paused(client, limits, {}, {})
    client.flushall()
    with (
        gone_wrong(exclusive.ACQUIRE, "if pause(lock, holder, waiters, now) then", "if false then"),
        pytest.raises(AssertionError, match="came in behind the one that died"),
    ):
        test_a_pause_outlives_a_holder_that_dies(client, limits, {})


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_force_ousts_who_holds_a_paused_lock_and_the_pause_stays(
    client: redis.Redis, limits: Limits, kind: dict[str, Any]
) -> None:
    running = held(client, **kind)
    limits.pause(None, BY, "")

    assert lock(client).force_release()
    assert not running.owned()
    assert not lock(client, **kind).acquire()
    assert not lock(client).force_release(), "there was nobody to oust"
    assert limits.get().paused


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_pause_ends_by_itself_and_its_waiters_come_in(
    client: redis.Redis, limits: Limits, wait: Callable[..., Waiting], kind: dict[str, Any]
) -> None:
    began = now()
    limits.pause(1500, BY, "")
    waiting = wait(**kind)

    assert waiting.ended()
    assert now() - began >= 1.4
    assert now() - began < 3, "the end of the pause was not noticed"
    assert waiting.lock.release()
    assert held(client).release()
    assert not limits.get().is_set


def test_a_limit_ends_by_itself(client: redis.Redis, limits: Limits, wait: Callable[..., Waiting]) -> None:
    limits.set(1, 1500, BY, "")
    held(client, limit=2)
    began = now()

    assert wait(limit=2).ended()
    assert now() - began < 3, "the end of the limit was not noticed"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_line_keeps_its_order_through_a_pause(
    client: redis.Redis, limits: Limits, wait: Callable[..., Waiting], kind: dict[str, Any]
) -> None:
    running = held(client)
    first = wait(**kind)
    limits.pause(None, BY, "")
    second = wait()
    assert running.release()
    assert client.zcard(keys_of(NAME).waiters) == 3, "one of them came in"

    limits.reset(BY)

    assert first.ended()
    assert not second.has_it
    assert first.lock.release()
    assert second.ended()


def test_a_pause_stays_while_those_who_wait_come_and_go(client: redis.Redis, limits: Limits) -> None:
    """The line is forgotten a minute after the last one in it has asked: not so the pause."""
    running = held(client)
    limits.pause(None, BY, "")
    for kind in KINDS:
        assert not lock(client, **kind).acquire(blocking=True, timeout=0.05)

    assert client.ttl(keys_of(NAME).waiters) == -1
    assert running.release()
    assert client.ttl(NAME) == -1

    limits.reset(BY)
    assert all(0 < client.ttl(key) <= 60 for key in client.keys("*"))


def test_who_waits_for_the_end_of_a_pause_sleeps_as_long_as_behind_a_holder(
    client: redis.Redis, limits: Limits
) -> None:
    limits.pause(None, BY, "")
    verbs, token = LockVerbs(store_of(client), NAME), uuid4().hex

    answers = [verbs.acquire(token, 30_000, 4000, "{}") for _ in range(2)]

    assert [isinstance(answer, Busy) and answer.sleep_s for answer in answers] == [4.0, 4.0]


def test_a_pause_that_ends_leaves_nothing_for_ever(client: redis.Redis, limits: Limits) -> None:
    limits.pause(3_600_000, BY, "")

    assert all(0 < client.ttl(key) <= 3_660 for key in client.keys("*"))


def test_a_new_pause_replaces_the_one_before(client: redis.Redis, limits: Limits) -> None:
    limits.pause(None, BY, "one")
    limits.pause(60_000, "bob@ops", "two")

    busy = lock(client).attempt()
    assert busy is not None
    assert busy.metadata["note"] == "two"
    assert busy.lease_left == pytest.approx(60, abs=2)
    limits.set(1, None, BY, "")
    assert lock(client).acquire()


def test_what_is_set_can_be_asked_for(client: redis.Redis, limits: Limits) -> None:
    assert not limits.get().is_set
    assert str(limits.get()) == "no limit is set"

    made = limits.set(3, 60_000, BY, "slow: very")
    assert made == limits.get()
    assert (made.limit, made.paused, made.by, made.note) == (3, False, BY, "slow: very")
    assert made.until is not None
    assert made.since is not None
    assert made.until - made.since == timedelta(minutes=1)
    assert str(made) == f"at most 3, set by {BY} until {made.until.isoformat(timespec='seconds')}: slow: very"

    made = limits.pause(None, BY, "")
    assert made == limits.get()
    assert (made.limit, made.paused, made.until) == (None, True, None)
    assert str(made) == f"paused by {BY}"
    assert not limits.reset(BY).is_set
    assert not limits.get().is_set


def test_a_late_copy_of_a_change_does_nothing(client: redis.Redis, limits: Limits) -> None:
    since = limits.pause(None, BY, "").since
    assert since is not None
    store, keys, mark = store_of(client), keys_of(NAME), uuid4().hex
    reset = words.change(keys, mark, words.NONE, since, None, BY, "")
    store.run(*reset)
    limits.pause(None, BY, "again")

    store.run(*reset)

    assert limits.get().paused
    assert not lock(client).acquire()


def test_a_look_at_a_lock_tells_of_its_limit(client: redis.Redis, limits: Limits) -> None:
    held(client, limit=10)
    held(client, limit=10)
    seen = inspect(store_of(client), NAME)
    assert seen is not None
    assert (seen.limit, seen.own_limit, seen.places, len(seen.holders)) == (None, 10, 10, 2)

    limits.set(3, None, BY, "")
    seen = inspect(store_of(client), NAME)
    assert seen is not None
    assert seen.limit == limits.get()
    assert seen.places == 3

    limits.pause(None, BY, "")
    (seen,) = inspect_all(client, NAME)
    assert not seen.is_paused
    assert seen.limit is not None
    assert seen.limit.paused
    assert (len(seen.holders), seen.waiters, seen.line) == (2, 0, ())
    assert lock(client).force_release()
    (seen,) = inspect_all(client, NAME)
    assert seen.is_paused
    assert seen.waiters == 0


def test_a_pause_is_told_by_the_error(client: redis.Redis, limits: Limits) -> None:
    until = limits.pause(60_000, BY, "a migration").until
    assert until is not None
    with pytest.raises(LockBusy) as caught, RedisLock(client, NAME, wait=0):
        pass

    told = (
        f"lock '{NAME}' is busy (paused by {BY} until {until.isoformat(timespec='seconds')}: a migration); "
    )
    assert str(caught.value) == told + "try again when that has ended"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_fencing_tokens_grow_over_a_pause(client: redis.Redis, limits: Limits) -> None:
    first = held(client)
    number = first.fencing_token
    assert number is not None
    # The clock of the server may be set back.
    client.set(
        keys_of(NAME).holder, client.get(keys_of(NAME).holder).replace(b"%d" % number, b"9" * 15 + b"9")
    )
    limits.pause(None, BY, "")
    assert first.release()
    limits.reset(BY)

    assert held(client).fencing_token == 10**16


def test_the_way_of_a_free_lock_knows_of_no_limit() -> None:
    """It is as long as before: a pause is found by the looks that it has already."""
    text = next(path for path in FILES if path.parts[-2:] == ("lock", "acquire.lua")).read_text()
    free, _, _ = text.partition("-- turn.lua")
    assert "pause" not in free
    assert free.count("redis.call") == 19, "say here what the new command is for"


def test_all_that_let_somebody_in_know_of_the_limit() -> None:
    """They all declare its key."""
    keys = keys_of(NAME)
    asked = shared.Words(3)
    limit = group_keys_of(keys).limit
    questions = [
        asked.acquire(keys, "a" * 32, 1, 0, "{}", 1.0),
        asked.leave(keys, "a" * 32, 1.0),
        asked.release(keys, "a" * 32, 0, "work"),
        shared.force_release(keys, 1),
        exclusive.inspect(keys),
    ]
    assert all(limit in question[1] for question in questions)
