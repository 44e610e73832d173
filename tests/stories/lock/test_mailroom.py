"""Mailroom: many waiters of one process sleep on few connections, and none of them is woken later for it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import redis

from celery_redislock import RedisLock
from celery_redislock.engine.lease import mailroom, per_client
from celery_redislock.engine.lease.mailroom import PLACES, Mailroom
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol.keys import keys_of
from celery_redislock.engine.transport.clients import store_of
from celery_redislock.engine.transport.store import KEPT

from ...support.deadlines import eventually
from ...support.waiting_threads import Waiting, until_in_line
from .contender import Contender

NAME = "many wait"

#: Seconds: who is not woken looks by himself after several.
AT_ONCE_S = 0.9

StartContender = Callable[..., Contender]


class TellsNobody(Mailroom):
    """A newcomer goes to sleep, whoever reads knowing nothing of him."""

    def _interrupt_reader(self, mailbox: bytes) -> None:
        pass


class GoesWithoutAWord(Mailroom):
    """A reader who has slept enough leaves the reading to nobody."""

    def _find_reader(self) -> None:
        pass


class KeepsWordToItself(Mailroom):
    """A reader who finds word for another throws it away."""

    def _pass_on(self, mailbox: bytes) -> None:
        pass


@pytest.fixture
def client(client_factory: Callable[..., redis.Redis]) -> redis.Redis:
    """Give a client whose connections, and those of its locks, can be told from all others by their name."""
    return client_factory(client_name=f"mailroom-{uuid4().hex}")


@pytest.fixture
def holder(client: redis.Redis) -> RedisLock:
    """Give the lock, taken."""
    lock = RedisLock(client, NAME, expire=60)
    assert lock.acquire()
    return lock


def waits(client: redis.Redis, number: int, **options: Any) -> Waiting:
    """Return a thread that waits as the so-many-th in line, and releases when it has the lock."""
    waiting = Waiting(RedisLock(client, NAME, 60), then=RedisLock.release, **options)
    until_in_line(client, NAME, number)
    return waiting


def connections(client: redis.Redis) -> list[dict[str, str]]:
    """List the connections of a client and of its locks."""
    name = client.connection_pool.connection_kwargs["client_name"]
    return [each for each in client.client_list() if each["name"] == name]


def sleeping(client: redis.Redis) -> int:
    """Count the connections on which somebody sleeps."""
    return sum("b" in each["flags"] for each in connections(client))


class Sleeper(threading.Thread):
    """Sleeps in a mailroom as a waiter does, and remembers when it woke."""

    def __init__(self, room: Mailroom, mailbox: bytes, seconds: float) -> None:
        super().__init__(daemon=True)
        self._room, self._mailbox, self._seconds = room, mailbox, seconds
        self.woke_at = 0.0
        self.start()

    def run(self) -> None:
        """Enter, sleep once, and leave."""
        self._room.enter(self._mailbox)
        self._room.sleep(self._mailbox, self._seconds, 1.0)
        self.woke_at = time.monotonic()
        self._room.leave(self._mailbox)


def _sleeps(room: Mailroom, mailbox: bytes) -> bool:
    """Whether a waiter sleeps in the room, and does not read."""
    return mailbox in room._places and room._places[mailbox].sleeps


FIRST, SECOND = (keys_of(NAME).mailbox(digit * 32) for digit in "12")
SLEEP_S = 2.5


def word_for(client: redis.Redis, mailbox: bytes) -> float:
    """Put a message into a mailbox as the scripts do, and return when that was."""
    client.rpush(mailbox, "1")
    return time.monotonic()


def a_newcomer_is_woken_while_another_sleeps_on(mailrooms: type[Mailroom], client: redis.Redis) -> None:
    """Whoever reads sleeps already when the newcomer comes, and has no word himself."""
    room = mailrooms(LockVerbs(store_of(client), NAME))
    first = Sleeper(room, FIRST, SLEEP_S)
    eventually(lambda: sleeping(client) == 1)
    second = Sleeper(room, SECOND, SLEEP_S)
    eventually(lambda: _sleeps(room, SECOND), message="the newcomer should sleep")
    came_at = word_for(client, SECOND)
    first.join()
    second.join()
    assert second.woke_at - came_at < AT_ONCE_S, "the newcomer was not woken"
    assert first.woke_at - came_at > AT_ONCE_S, "the first was woken in his place"


def a_reader_who_goes_leaves_the_reading_to_another(mailrooms: type[Mailroom], client: redis.Redis) -> None:
    """Whoever reads has slept enough before the word for the other comes."""
    room = mailrooms(LockVerbs(store_of(client), NAME))
    first = Sleeper(room, FIRST, 1.0)
    eventually(lambda: sleeping(client) == 1)
    second = Sleeper(room, SECOND, SLEEP_S)
    eventually(lambda: _sleeps(room, SECOND), message="the second should sleep")
    first.join()
    came_at = word_for(client, SECOND)
    second.join()
    assert second.woke_at - came_at < AT_ONCE_S, "nobody read on"


CHECKS = (a_newcomer_is_woken_while_another_sleeps_on, a_reader_who_goes_leaves_the_reading_to_another)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_who_sleeps_beside_others_is_woken_at_once(check: Callable[..., None], client: redis.Redis) -> None:
    check(Mailroom, client)


@pytest.mark.parametrize(
    ("wrong", "check", "words"),
    [
        (TellsNobody, a_newcomer_is_woken_while_another_sleeps_on, "newcomer was not woken"),
        (KeepsWordToItself, a_newcomer_is_woken_while_another_sleeps_on, "newcomer was not woken"),
        (GoesWithoutAWord, a_reader_who_goes_leaves_the_reading_to_another, "nobody read on"),
    ],
)
def test_a_wrong_mailroom_is_caught(
    wrong: type[Mailroom], check: Callable[..., None], words: str, client: redis.Redis
) -> None:
    with pytest.raises(AssertionError, match=words):
        check(wrong, client)


def test_thirty_waiters_of_a_process_keep_few_connections_and_are_served_in_turn(
    client: redis.Redis, holder: RedisLock
) -> None:
    order: list[int] = []

    def take_note(number: int) -> Callable[[RedisLock], bool]:
        return lambda lock: order.append(number) or lock.release()  # type: ignore[func-returns-value]

    waiting = []
    for number in range(30):
        waiting.append(Waiting(RedisLock(client, NAME, 60), then=take_note(number)))
        until_in_line(client, NAME, number + 1)
    eventually(lambda: sleeping(client) == 1, message="one should sleep for all")
    # Those that sleep or rest, the test's own, and those that ask just now.
    eventually(lambda: len(connections(client)) <= KEPT + 3)

    holder.release()

    assert all(each.answer(within=10) for each in waiting)
    assert order == list(range(30))
    eventually(
        lambda: not per_client._mailrooms[store_of(client)], message="an empty mailroom should be gone"
    )


def test_more_than_have_a_place_sleep_in_a_second_room(
    client: redis.Redis, holder: RedisLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailroom, "PLACES", 3)
    assert PLACES > 3
    waiting = [waits(client, number) for number in range(1, 8)]

    eventually(lambda: sleeping(client) == 3)
    holder.release()

    assert all(each.answer(within=10) for each in waiting)


def test_waiters_of_two_locks_do_not_share(client: redis.Redis, holder: RedisLock) -> None:
    other = RedisLock(client, "another", expire=60)
    assert other.acquire()
    waiting = [waits(client, 1), Waiting(RedisLock(client, "another"), then=RedisLock.release)]
    until_in_line(client, "another", 1)

    eventually(lambda: sleeping(client) == 2)
    assert holder.release()
    assert other.release()

    assert all(each.answer(within=10) for each in waiting)


def test_a_reader_that_is_interrupted_leaves_the_reading_to_another(
    client: redis.Redis, contend: StartContender
) -> None:
    holder = RedisLock(client, NAME, expire=60)
    assert holder.acquire()
    both = contend(NAME)
    both.tell("acquire_beside", blocking=True, timeout=30, alarm=0.6)
    until_in_line(client, NAME, 2)
    eventually(
        lambda: client.zcard(f"redislock.waiters:{{{NAME}}}") == 1, message="one should be interrupted"
    )

    released_at = time.monotonic()
    assert holder.release()

    assert both.hear() is True
    assert time.monotonic() - released_at < AT_ONCE_S


def test_a_child_of_a_process_whose_threads_wait_can_wait_itself(client: redis.Redis) -> None:
    code = (
        "import os, sys, threading, time, redis\n"
        "from celery_redislock import RedisLock\n"
        f"port, name = int(sys.argv[1]), {NAME!r}\n"
        "lock = RedisLock(redis.Redis(port=port), name, 60)\n"
        "threading.Thread(target=lock.acquire, args=(True, 1.5), daemon=True).start()\n"
        "time.sleep(0.5)\n"
        "if (pid := os.fork()) == 0:\n"
        "    os._exit(lock.acquire(blocking=True, timeout=0.3))\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0\n"
    )
    assert RedisLock(client, NAME, 60).acquire()
    port = str(client.connection_pool.connection_kwargs["port"])

    subprocess.run([sys.executable, "-c", code, port], check=True, timeout=30)


@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_greenlets_share_a_connection_too(kind: str, client: redis.Redis, holder: RedisLock) -> None:
    pytest.importorskip(kind)
    code = {
        "gevent": "from gevent import monkey; monkey.patch_all(); from gevent import spawn, joinall\n",
        "eventlet": "import eventlet; eventlet.monkey_patch(); from eventlet import spawn\n"
        "joinall = lambda all, timeout: [each.wait() for each in all]\n",
    }[kind] + (
        "import sys, redis\n"
        "from celery_redislock import RedisLock\n"
        "client = redis.Redis(port=int(sys.argv[1]), client_name=sys.argv[2])\n"
        "def work():\n"
        f"    with RedisLock(client, {NAME!r}, 60): done.append(1)\n"
        "done = []\n"
        "joinall([spawn(work) for _ in range(20)], timeout=20)\n"
        "assert len(done) == 20, done\n"
    )
    known = client.connection_pool.connection_kwargs
    running = subprocess.Popen([sys.executable, "-c", code, str(known["port"]), known["client_name"]])
    try:
        until_in_line(client, NAME, 20)
        eventually(lambda: sleeping(client) == 1, message="one should sleep for all")
        released_at = time.monotonic()
        assert holder.release()

        assert running.wait(20) == 0
        assert time.monotonic() - released_at < 5
    finally:
        running.kill()


def test_fifty_threads_that_take_turns_never_hold_it_together(client: redis.Redis) -> None:
    inside, overlaps, turns = [0], [], []

    def work() -> None:
        for _ in range(4):
            with RedisLock(client, NAME, 60):
                inside[0] += 1
                overlaps.append(inside[0])
                time.sleep(0.001)
                inside[0] -= 1
                turns.append(1)

    threads = [threading.Thread(target=work) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(turns) == 200
    assert set(overlaps) == {1}
