"""A lock that several hold: what is refused, what others are told, and what a dead process leaves."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
import redis

from celery_redislock import ConfigurationError, LockBusy, RedisLock
from celery_redislock.engine import inspect, release_orphan, store_of
from celery_redislock.engine.lease.shared_verbs import SharedVerbs
from celery_redislock.engine.protocol.exclusive import Busy, Granted
from celery_redislock.engine.protocol.keys import GROUP_MARK
from celery_redislock.engine.protocol.shared import Words
from celery_redislock.operations.rendering import LockView

NAME = "api"


def held(client: redis.Redis, **options: Any) -> RedisLock:
    """Return a lock, taken."""
    lock = RedisLock(client, NAME, 30, **options)
    assert lock.acquire()
    return lock


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3", True, [1]])
def test_a_limit_that_is_none_is_refused(client: redis.Redis, limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit must be an int of at least 1"):
        RedisLock(client, NAME, limit=limit)


@pytest.mark.parametrize("wrong", [{"ticket": "a" * 32}, {"on_stop_wanted": print}], ids=str)
@pytest.mark.parametrize("kind", [{"shared": True}, {"limit": 2}], ids=str)
def test_what_means_one_holder_is_refused(
    client: redis.Redis, wrong: dict[str, Any], kind: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=f"'{NAME}' is shared"):
        RedisLock(client, NAME, **wrong, **kind)


def test_a_lock_says_of_what_kind_it_is(client: redis.Redis) -> None:
    kinds = [RedisLock(client, NAME), RedisLock(client, NAME, shared=True), RedisLock(client, NAME, limit=3)]

    assert [(lock.shared, lock.limit) for lock in kinds] == [(False, None), (True, None), (True, 3)]


def test_the_mark_is_as_long_as_a_token(client: redis.Redis) -> None:
    """So the scripts of a lock that one has alone find a description behind it."""
    held(client, shared=True)

    assert client.get(NAME) == GROUP_MARK
    assert len(GROUP_MARK) == 32


def test_holders_are_listed_the_longest_first(client: redis.Redis) -> None:
    first = held(client, limit=5, metadata={"task": "one"})
    held(client, limit=5, metadata={"task": "two"})

    holders = first.holders()

    assert [holder.metadata["task"] for holder in holders] == ["one", "two"]
    assert [holder.slot for holder in holders] == [0, 1]
    assert first.fencing_token == holders[0].fencing_token == first.holder().fencing_token  # type: ignore[union-attr]
    assert first.locked()
    assert first.release()
    assert [holder.metadata["task"] for holder in first.holders()] == ["two"]


def test_a_writer_that_is_refused_hears_of_somebody_who_holds_it_still(client: redis.Redis) -> None:
    readers = [held(client, shared=True, metadata={"task": f"task {n}"}) for n in range(3)]
    writer = RedisLock(client, NAME, wait=0)

    for reader, gone in ((readers[2], "task 2"), (readers[0], "task 0")):
        assert reader.release()
        with pytest.raises(LockBusy) as busy, writer:
            pass
        assert busy.value.holder is not None
        assert busy.value.holder.metadata["task"] != gone


def test_force_ousts_all_and_tells_them_so(client: redis.Redis) -> None:
    locks = [held(client, limit=3) for _ in range(3)]

    assert RedisLock(client, NAME).force_release()

    assert client.exists(NAME) == 0
    assert not locks[0].renew()
    assert not locks[1].release()
    assert [lock.loss_reason for lock in locks[:2]] == ["forced", "forced"]
    after = held(client, limit=3)
    assert after.slot == 0
    assert not locks[2].release()
    assert after.owned()


def test_a_dead_process_leaves_no_place(client: redis.Redis) -> None:
    dead, alive = held(client, limit=2), held(client, limit=2)

    assert release_orphan(client, NAME, str(dead.token), 0)

    assert not release_orphan(client, NAME, "f" * 32, 0)
    assert alive.owned()
    assert held(client, limit=2).slot == 0


def test_what_a_shared_holder_has_done_is_known_to_those_who_come_later(client: redis.Redis) -> None:
    first, second = held(client, limit=2), held(client, limit=2)
    assert first.release(done="an id")
    assert second.release(done="another id")

    later = held(client, limit=2)

    assert later.was_done("an id")
    assert later.was_done("another id")
    assert not later.was_done("a third id")


def test_nothing_is_left_of_a_lock_that_was_shared(client: redis.Redis) -> None:
    locks = [held(client, limit=3, min_hold=0) for _ in range(3)]
    for lock in locks:
        assert lock.release()

    left = {key.decode().partition(":")[0] for key in client.scan_iter()}

    assert left == {"redislock.holder", "redislock.questions"}


def test_a_place_that_is_kept_is_told_apart_from_holders(client: redis.Redis) -> None:
    assert held(client, limit=3, min_hold=20).release()
    held(client, limit=3, min_hold=20)

    seen = inspect(store_of(client), NAME)

    assert seen is not None
    assert (len(seen.holders), seen.kept, seen.is_shared, seen.is_kept) == (1, 1, True, False)


def test_the_page_of_a_lock_shows_all_holders_and_their_slots(client: redis.Redis) -> None:
    for task in ("one", "two"):
        held(client, limit=3, metadata={"task": task})
    seen = inspect(store_of(client), NAME)
    assert seen is not None

    view = LockView.of(seen)

    assert "task one, slot 0" in view.text()
    assert "task two, slot 1" in view.text()
    assert [holder["slot"] for holder in view.as_dict()["holders"]] == [0, 1]


@pytest.mark.parametrize("gaps", [[], [0], [2], [4], [1, 3], [0, 1, 2, 3, 4]])
def test_the_slot_is_the_lowest_that_is_free(client: redis.Redis, gaps: list[int]) -> None:
    locks = [held(client, limit=9) for _ in range(5)]
    for gap in gaps:
        assert locks[gap].release()

    assert held(client, limit=9).slot == min([*gaps, 5])


def test_who_has_its_turn_keeps_its_slot_from_those_that_come_before_it_asks(client: redis.Redis) -> None:
    first, second = held(client, limit=2), held(client, limit=2)
    waiting = SharedVerbs(store_of(client), NAME, 0, Words(2))
    token = uuid4().hex
    assert isinstance(waiting.acquire(token, 30_000, 4000, "{}"), Busy)
    assert second.release()

    # Its turn has come, and it has not asked yet; there is room for one more with a larger limit.
    another = held(client, limit=3)

    granted = waiting.acquire(token, 30_000, 4000, "{}")
    assert isinstance(granted, Granted)
    assert (first.slot, granted.slot, another.slot) == (0, 1, 2)
