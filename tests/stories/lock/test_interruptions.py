"""Interruptions: a signal's handler that raises, at any line, ends the call that it strikes, no more."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from celery_redislock import Holder, RedisLock
from celery_redislock.engine.lease import per_client
from celery_redislock.engine.lease.mailroom import Mailroom
from celery_redislock.engine.protocol.exclusive import Released
from celery_redislock.engine.transport.clients import store_of

from ...support.waiting_threads import Waiting
from .interruptions import PACKAGE, CtrlC, SoftLimit, alarms, interrupted_at

# A connection that was taken out for a question, and torn away, is closed when it is collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NAME = "interrupted"

#: Interruptions by real signals.
ENOUGH = 300

#: Seconds in which another thread must get a lock that is free.
AT_ONCE_S = 0.9


class Stand:
    """A client with locks of all kinds around the one whose calls are interrupted.

    Attributes:
        lock: The one.
        files: In whose lines it is interrupted.
    """

    files: tuple[str, ...] = (PACKAGE,)

    def __init__(self, client: redis.Redis, kind: type[RedisLock] = RedisLock, **options: Any) -> None:
        self.client = client
        self.lock = kind(client, NAME, **{"expire": 30, "renew": True, **options})
        self.holder = RedisLock(client, NAME, 30)
        self._busy = RedisLock(client, "busy", 600)
        assert self._busy.acquire()
        self._bystander = RedisLock(client, "bystander", 0.6, renew=True)
        assert self._bystander.acquire()

    def struck_at(self, number: int, work: Callable[[], object]) -> bool:
        """Do something, and be interrupted at the so-many-th line."""
        return interrupted_at(number, work, self.files)

    def all_is_well(self) -> None:
        """Compare what an interruption must leave as it was."""
        assert not RedisLock(self.client, "busy").acquire(), "a busy lock was granted"
        other = RedisLock(self.client, "other", 30, renew=True)
        assert other.acquire(), "a free lock was refused"
        assert other.release()
        beside = Waiting(type(self.lock)(self.client, "beside", 30, renew=True), 1, RedisLock.release)
        assert beside.answer(AT_ONCE_S), "another thread could not lock"
        self._bystander.ensure_held()
        assert not self._waiters(), "somebody is taken for a waiter still"

    def is_free(self) -> None:
        """Compare the lock with one that nobody has."""
        assert self.client.get(NAME) is None, "an acquire that raised has left the lock taken"
        assert self.lock.token is None
        assert NAME not in self.renewed(), "it is renewed for nobody"

    def is_free_or_known(self) -> None:
        """The same, or the object knows that it holds it, and can release it."""
        owner = self.client.get(NAME)
        if owner is not None:
            assert owner.decode() == self.lock.token, "a key is left that the object does not know"
            assert self.lock.release(), "it cannot be released again"
        self.is_free()

    def renewed(self) -> set[str]:
        """Return the locks that are renewed."""
        renewal = self.lock._renewal
        held = {lock() for lock, *_ in list(renewal._watches.values())} if renewal else set()
        return {each._name for each in held if each is not None}  # type: ignore[attr-defined]

    def _waiters(self) -> list[Any]:
        rooms = list(per_client._mailrooms.get(store_of(self.client), {}).values())
        return [mailbox for room in rooms for mailbox in room._places]


def soon(question: Callable[[], object]) -> None:
    """Ask until the answer is yes, and more often than `eventually` does."""
    deadline = time.monotonic() + 5
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def client(client_factory: Callable[..., redis.Redis]) -> redis.Redis:
    """Give a client of its own."""
    client = client_factory()
    client.flushall()
    return client


def free_acquire(stand: Stand, number: int) -> bool:
    """Take a free lock."""
    struck = stand.struck_at(number, stand.lock.acquire)
    if struck:
        stand.is_free()
    else:
        assert stand.lock.release()
    return struck


def entering(stand: Stand, number: int) -> bool:
    """Take a free lock with ``with``."""
    struck = stand.struck_at(number, stand.lock.__enter__)
    if struck:
        stand.is_free()
    else:
        stand.lock.release()
    return struck


def leaving(stand: Stand, number: int) -> bool:
    """Leave ``with``, and release again if that was interrupted as it began."""
    stand.lock.__enter__()
    struck = stand.struck_at(number, lambda: stand.lock.__exit__(None, None, None))
    stand.is_free_or_known()
    return struck


def refused_acquire(stand: Stand, number: int) -> bool:
    """Ask for a busy lock."""
    assert stand.holder.acquire()
    struck = stand.struck_at(number, stand.lock.acquire)
    assert stand.holder.release()
    stand.is_free()
    return struck


def release(stand: Stand, number: int) -> bool:
    """Give a lock back."""
    assert stand.lock.acquire()
    struck = stand.struck_at(number, stand.lock.release)
    stand.is_free_or_known()
    return struck


def renew(stand: Stand, number: int) -> bool:
    """Renew by hand."""
    assert stand.lock.acquire()
    struck = stand.struck_at(number, stand.lock.renew)
    stand.lock.ensure_held()
    stand.is_free_or_known()
    return struck


def lost_release(stand: Stand, number: int) -> bool:
    """Give back what is somebody else's by now."""
    assert stand.lock.acquire()
    stand.client.set(NAME, "a stranger's")
    struck = stand.struck_at(number, stand.lock.release)
    assert stand.client.getdel(NAME) == b"a stranger's"
    stand.lock.release()
    assert stand.lock.lost
    return struck


def waiting_among_others(stand: Stand, number: int, before: int) -> bool:
    """Wait in line behind so many others of this process, and before one more: he too is served at once."""
    in_line, struck = f"redislock.waiters:{{{NAME}}}", threading.Event()
    assert stand.holder.acquire()
    others = [Waiting(RedisLock(stand.client, NAME, 30), 10, RedisLock.release) for _ in range(before)]
    soon(lambda: stand.client.zcard(in_line) == before)

    def come_later_and_release() -> None:
        soon(lambda: stand.client.zcard(in_line) > before or struck.is_set())
        others.append(Waiting(RedisLock(stand.client, NAME, 30), 10, RedisLock.release))
        soon(lambda: stand.client.zcard(in_line) == before + 2 - struck.is_set())
        stand.holder.release()

    later = threading.Thread(target=come_later_and_release)
    later.start()
    if stand.struck_at(number, lambda: stand.lock.acquire(blocking=True, timeout=10)):
        struck.set()
    else:
        assert stand.lock.release()
    later.join()
    came_at = time.monotonic()
    assert all(other.answer() for other in others)
    assert time.monotonic() - came_at < AT_ONCE_S, "somebody was served late"
    stand.is_free()
    return struck.is_set()


def waiting_as_reader(stand: Stand, number: int) -> bool:
    """Wait, and read for whoever comes later."""
    return waiting_among_others(stand, number, before=0)


def waiting_beside_a_reader(stand: Stand, number: int) -> bool:
    """Wait, and have somebody else read."""
    return waiting_among_others(stand, number, before=1)


def waiting_in_vain(stand: Stand, number: int) -> bool:
    """Wait until the timeout."""
    assert stand.holder.acquire()
    struck = stand.struck_at(number, lambda: stand.lock.acquire(blocking=True, timeout=0.01))
    assert stand.client.zcard(f"redislock.waiters:{{{NAME}}}") == 0, "it stands in line still"
    assert stand.holder.release()
    stand.is_free()
    return struck


def first_acquire(stand: Stand, number: int) -> bool:
    """Take a lock where no thread renews yet."""
    with redis.Redis(port=stand.client.connection_pool.connection_kwargs["port"]) as client:
        first, second = (RedisLock(client, NAME, 30, renew=True) for _ in range(2))
        struck = stand.struck_at(number, first.acquire)
        if struck:
            assert stand.client.get(NAME) is None
            assert second.acquire()
        renewal = (second if struck else first)._renewal
        assert renewal is not None
        soon(renewal._runs.locked)
        assert (second if struck else first).release()
    return struck


CALLS = (
    free_acquire,
    entering,
    leaving,
    refused_acquire,
    release,
    renew,
    lost_release,
    waiting_in_vain,
    waiting_as_reader,
    waiting_beside_a_reader,
    first_acquire,
)


def at_every_line(
    call: Callable[[Stand, int], bool], stand: Stand, files: tuple[str, ...] = (PACKAGE,)
) -> int:
    """Interrupt a call at each line in turn; return how many there are."""
    number, stand.files = 1, files
    while call(stand, number):
        stand.all_is_well()
        number += 1
    return number - 1


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_an_interruption_at_any_line_ends_one_call_alone(
    call: Callable[[Stand, int], bool], client: redis.Redis
) -> None:
    assert at_every_line(call, Stand(client)) > 15


class KeepsWhatNobodyWasGiven(RedisLock):
    """The lock is taken, whatever comes of the call."""

    def _undo(self, token: str) -> None:
        pass


class GivesUpItsRelease(RedisLock):
    """Nobody releases again what was interrupted."""

    def _release_once_more(self, *_: Any) -> None:
        pass

    def release(self, **options: Any) -> bool:
        """Forget the lock first."""
        token = self.token or ""
        if self._renewal is not None:
            self._renewal.forget(token)
        self._holding.give_back(token)
        return isinstance(self._verbs.release(token, 0, ""), Released)


class SharesAMutex(RedisLock):
    """What threads share is guarded, as it is in every book."""

    _guard = threading.Condition()

    def attempt(self, **options: Any) -> Holder | None:
        """Take the lock while no other thread does."""
        with self._guard:
            return super().attempt(**options)


class StaysTheReader(Mailroom):
    """Who reads hands that on when he has read, and not when he is torn away."""

    def _hand_on(self, mailbox: bytes) -> None:
        if not isinstance(sys.exc_info()[1], SoftLimit | CtrlC):
            super()._hand_on(mailbox)


@pytest.mark.parametrize(
    ("wrong", "call", "words"),
    [
        (KeepsWhatNobodyWasGiven, free_acquire, "has left the lock taken"),
        (KeepsWhatNobodyWasGiven, entering, "has left the lock taken"),
        (GivesUpItsRelease, leaving, "the object does not know"),
        (SharesAMutex, refused_acquire, "it still waits"),
    ],
)
def test_a_wrong_lock_is_caught(
    wrong: type[RedisLock], call: Callable[[Stand, int], bool], words: str, client: redis.Redis
) -> None:
    with pytest.raises(AssertionError, match=words):
        # A Condition is given back in lines of its own; Python 3.10 shows no other moment to strike at.
        at_every_line(call, Stand(client, wrong), files=(PACKAGE, __file__, threading.__file__))


def test_a_wrong_mailroom_is_caught(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_client, "Mailroom", StaysTheReader)

    with pytest.raises(AssertionError, match="served late"):
        at_every_line(waiting_as_reader, Stand(client))


def test_real_signals_at_random_moments_do_no_more(client: redis.Redis) -> None:
    stand, struck = Stand(client, expire=3), 0

    def cycle() -> None:
        with stand.lock:
            stand.lock.renew()

    def take() -> None:
        if stand.lock.acquire():
            stand.lock.release()

    works = (cycle, take, lambda: stand.lock.acquire(blocking=True, timeout=0))
    with alarms() as interrupted:
        for number in range(12_000):  # a busy machine is struck less often
            struck += interrupted(works[number % 3])
            stand.is_free_or_known()
            if number % 50 == 0:
                stand.all_is_well()
            if struck >= ENOUGH:
                break

    assert struck >= ENOUGH
    stand.all_is_well()
