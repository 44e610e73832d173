"""Line: who waits for a lock is seen, in order, and only while it waits."""

from __future__ import annotations

from datetime import datetime, timezone
from uuid import uuid4

import pytest
import redis

from celery_redislock import RedisLock
from celery_redislock.engine import WaiterSeen, inspect, inspect_all, store_of
from celery_redislock.engine.inspection import server_time
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol import holder_record
from celery_redislock.engine.protocol.exclusive import INSPECT, LEAVE, Busy, Granted
from celery_redislock.engine.protocol.keys import keys_of

from ...mutants.scripts import gone_wrong
from ...support.deadlines import eventually
from ...support.waiting_threads import Waiting, until_in_line

NAME = "waited for"
PATIENCE_MS = 4000


class Line:
    """A lock that is held, and those that wait for it.

    Attributes:
        holder: Of the lock.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.verbs = LockVerbs(store_of(client), NAME)
        self.holder = RedisLock(client, NAME, 30, metadata={"id": "holder"})
        assert self.holder.acquire()

    def joined_by(self, task_id: str) -> str:
        """Have somebody wait; return its token."""
        token = uuid4().hex
        assert isinstance(self.ask(token, task_id), Busy)
        return token

    def ask(self, token: str, task_id: str, patience_ms: int = PATIENCE_MS) -> Granted | Busy:
        """Ask for the lock."""
        return self.verbs.acquire(token, 30_000, patience_ms, holder_record.write({"id": task_id}))

    def seen(self) -> tuple[WaiterSeen, ...]:
        """Return who is seen to wait."""
        found = inspect(store_of(self.client), NAME)
        assert found is not None
        return found.line

    def ids(self) -> list[str]:
        """Return their ids."""
        return [waiter.metadata["id"] for waiter in self.seen()]

    def kept(self) -> list[bytes]:
        """Return what is kept of them in Redis beside their places."""
        return [field for field in self.client.hkeys(keys_of(NAME).seen) if field.endswith(b":who")]


@pytest.fixture
def line(client: redis.Redis) -> Line:
    """Give a lock that is held."""
    return Line(client)


def test_those_who_wait_are_seen_in_the_order_in_which_they_came(line: Line) -> None:
    for task_id in ("first", "second", "third"):
        line.joined_by(task_id)

    assert line.ids() == ["first", "second", "third"]


def test_it_is_seen_since_when_each_waits(line: Line) -> None:
    before = server_time(line.verbs.store, NAME)
    token = line.joined_by("first")
    after = server_time(line.verbs.store, NAME)
    line.ask(token, "first")

    (waiter,) = line.seen()

    assert before <= waiter.since <= after
    assert waiter.since.tzinfo is timezone.utc


def test_a_lock_for_which_nobody_waits_has_no_line(line: Line) -> None:
    assert line.seen() == ()


def test_those_who_wait_are_seen_in_a_list_of_locks_too(line: Line) -> None:
    line.joined_by("first")

    (found,) = inspect_all(line.client, NAME)

    assert [waiter.metadata for waiter in found.line] == [{"id": "first"}]


def test_a_waiter_whose_turn_comes_is_seen_as_the_holder_only(line: Line) -> None:
    token = line.joined_by("first")
    line.joined_by("second")
    assert line.holder.release()
    assert line.ids() == ["second"]

    assert isinstance(line.ask(token, "first"), Granted)

    assert line.ids() == ["second"]
    assert len(line.kept()) == 1
    holder = line.holder.holder()
    assert holder is not None
    assert holder.metadata == {"id": "first"}


def test_a_waiter_that_leaves_is_seen_no_more(line: Line) -> None:
    leaves, gives_up = line.joined_by("leaves"), line.joined_by("gives up")
    line.joined_by("stays")

    line.verbs.leave(leaves, within=1)
    line.ask(gives_up, "gives up", patience_ms=0)

    assert line.ids() == ["stays"]
    assert len(line.kept()) == 1


def test_what_a_waiter_said_goes_with_it(line: Line) -> None:
    forgets = (LEAVE, "redis.call('HDEL', seen, token, who_of(token))", "redis.call('HDEL', seen, token)")
    token, _ = line.joined_by("leaves"), line.joined_by("stays")

    with gone_wrong(*forgets):
        line.verbs.leave(token, within=1)

    assert len(line.kept()) == 2, "a wrong script is not noticed"


def test_a_waiter_that_has_died_is_seen_no_more(line: Line) -> None:
    dead = line.joined_by("dead")
    line.joined_by("alive")
    line.client.hset(keys_of(NAME).seen, dead, 1)

    assert line.ids() == ["alive"]
    with gone_wrong(INSPECT, "tonumber(known[1] or 0) >= now", "true"):
        assert line.ids() == ["dead", "alive"]


def test_nothing_stays_of_the_last_waiter_that_has_died(line: Line) -> None:
    dead = line.joined_by("dead")
    line.client.hset(keys_of(NAME).seen, dead, 1)

    assert line.holder.release()

    assert not line.client.exists(keys_of(NAME).seen)


def test_what_waiters_say_ends_with_the_line(line: Line) -> None:
    line.joined_by("first")

    assert 0 < line.client.pttl(keys_of(NAME).seen) <= 60_000


def test_who_does_not_wait_leaves_nothing(line: Line) -> None:
    line.ask(uuid4().hex, "asks once", patience_ms=0)

    assert not line.client.exists(keys_of(NAME).seen)


def test_of_a_long_line_the_first_hundred_are_shown(line: Line) -> None:
    for number in range(103):
        line.joined_by(str(number))

    assert line.ids() == [str(number) for number in range(100)]
    found = inspect(line.verbs.store, NAME)
    assert found is not None
    assert found.waiters == 103


def test_a_waiter_of_a_version_that_said_nothing_is_seen_all_the_same(line: Line) -> None:
    token = line.joined_by("first")
    line.client.hdel(keys_of(NAME).seen, f"{token}:who")

    assert [waiter.metadata for waiter in line.seen()] == [{}]


def test_no_token_is_shown(line: Line) -> None:
    token = line.joined_by("first")

    assert token not in repr(line.seen())


def test_threads_that_wait_on_one_connection_say_who_they_are(line: Line) -> None:
    waiting = []
    for number in range(3):
        metadata = {"host": "here", "id": str(number)}
        lock = RedisLock(line.client, NAME, 30, metadata=metadata)
        waiting.append(Waiting(lock, then=RedisLock.release))
        until_in_line(line.client, NAME, number + 1)

    assert [waiter.metadata for waiter in line.seen()] == [{"host": "here", "id": str(n)} for n in range(3)]

    assert line.holder.release()
    assert all(each.answer() for each in waiting)
    eventually(lambda: not line.client.exists(keys_of(NAME).seen), within=5)


def test_a_waiter_without_metadata_says_nothing(line: Line) -> None:
    waiting = Waiting(RedisLock(line.client, NAME), then=RedisLock.release)
    until_in_line(line.client, NAME, 1)

    assert [waiter.metadata for waiter in line.seen()] == [{}]

    assert line.holder.release()
    assert waiting.answer()


def test_a_waiter_is_written_as_json_types() -> None:
    since = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)

    assert WaiterSeen({"id": "one"}, since).as_dict() == {
        "metadata": {"id": "one"},
        "since": "2026-11-22T12:00:00+00:00",
    }
