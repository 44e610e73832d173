"""Sent releases: nobody waits for the reply, and yet all is noticed, also if nothing more is asked."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

from celery_redislock import RedisLock
from celery_redislock.engine import ReleaseOutcome, confirmations
from celery_redislock.engine.lease import confirmation
from celery_redislock.engine.lease.confirmation import Confirmations, Unconfirmed
from celery_redislock.engine.protocol import exclusive
from celery_redislock.engine.transport.clients import store_of

from ...support.arena import Arena, companion
from ...support.deadlines import eventually
from ...support.servers import Server, free_port
from .interruptions import interrupted_at
from .test_forks import in_a_child

# A connection that was torn away in a question is closed when it is collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Using fork"),
]

NAME = "sent"

#: Seconds until a holder is told where Redis answers: twice `DUE_S`, and what a busy machine adds.
SOON_S = 3.0
#: The same where one attempt, and then a call, must end first.
AT_LAST_S = 15.0

#: What a holder is told of a release that is as it should be.
RELEASED = ReleaseOutcome(released=True)
NOT_OURS = ReleaseOutcome(released=False)


class Told(list[ReleaseOutcome]):
    """What a holder was told."""

    def within(self, seconds: float) -> ReleaseOutcome:
        """Return it once it comes."""
        eventually(lambda: self, seconds, "the holder should be told")
        (outcome,) = self
        return outcome


def held(client: redis.Redis, name: str = NAME, **options: Any) -> RedisLock:
    """Return a lock that this process has; not the first that it gives back to this server."""
    warm = RedisLock(client, f"first {threading.get_ident()}", 60)
    if exclusive.RELEASE.sha not in store_of(client).has_run:
        assert warm.acquire()
        assert warm.release()
    lock = RedisLock(client, name, 60, **options)
    assert lock.acquire()
    return lock


def sent(lock: RedisLock, **options: Any) -> Told:
    """Send its release; return what is told of it."""
    told = Told()
    lock.send_release(told.append, **options)
    assert lock.token is None
    return told


# ---- what a holder is told, though no next question comes


def told_of_a_release(client: redis.Redis) -> None:
    """Release, and be told."""
    assert sent(held(client)).within(SOON_S) == RELEASED
    assert client.get(NAME) is None, "the lock should be free"


def told_of_pending_runs(client: redis.Redis) -> None:
    """Runs are pending by then."""
    lock = held(client)
    client.hset(companion("pending", NAME), "task", "x")
    assert sent(lock).within(SOON_S) == ReleaseOutcome(released=True, has_pending=True)
    client.delete(companion("pending", NAME))


def told_of_a_loss(client: redis.Redis) -> None:
    """Somebody else has the lock."""
    told_by_lock: list[RedisLock] = []
    lock = held(client, on_lost=told_by_lock.append)
    client.set(NAME, "a stranger's")
    assert sent(lock).within(SOON_S) == NOT_OURS
    assert lock.lost
    eventually(lambda: told_by_lock == [lock], SOON_S, "on_lost should be called")
    assert client.getdel(NAME) == b"a stranger's"


def told_of_a_release_by_a_server_that_forgot_the_scripts(client: redis.Redis) -> None:
    """NOSCRIPT: after a restart, or SCRIPT FLUSH."""
    lock = held(client)
    client.script_flush()
    assert sent(lock).within(SOON_S) == RELEASED
    assert client.get(NAME) is None, "the lock should be free"


NOTICED = (
    told_of_a_release,
    told_of_pending_runs,
    told_of_a_loss,
    told_of_a_release_by_a_server_that_forgot_the_scripts,
)


@pytest.mark.parametrize("notice", NOTICED)
def test_what_became_of_it_is_noticed_soon(
    notice: Callable[[redis.Redis], None], client_factory: Callable[..., redis.Redis]
) -> None:
    client = client_factory()
    client.flushall()
    for _ in range(3):
        notice(client)


def test_a_reply_that_is_lost_is_asked_for_again(one_arena: Arena) -> None:
    proxy = one_arena.proxy
    for lose in (proxy.swallow_replies, proxy.drop_connection_after_request):
        lock = held(one_arena.victim)
        lose(1, matching=NAME.encode())
        assert sent(lock).within(AT_LAST_S) == RELEASED
        assert one_arena.client.get(NAME) is None


def test_a_server_that_became_a_replica_is_noticed(own_server: Server) -> None:
    with own_server.client() as client:
        lock = held(client)
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())
        outcome = sent(lock).within(AT_LAST_S)
    assert not outcome.released
    assert "a read-only replica" in str(outcome.error)


def test_a_server_that_hangs_is_noticed(own_server: Server) -> None:
    with own_server.client() as client:
        lock = held(client)
        own_server.pause()
        try:
            outcome = sent(lock).within(AT_LAST_S)
        finally:
            own_server.resume()
    assert not outcome.released
    assert "does not answer" in str(outcome.error)


def test_the_first_of_a_process_is_waited_for(client: redis.Redis) -> None:
    """The server may not know the script, and would refuse all that are sent in the next moment."""
    confirmations.confirm()
    lock = held(client)
    store_of(client).has_run.clear()

    told = sent(lock)

    assert list(told) == [RELEASED]
    assert client.get(NAME) is None


# ---- the next question


def test_the_next_answer_is_that_of_the_next_question(client_factory: Callable[..., redis.Redis]) -> None:
    client = client_factory()

    def work(thread: int) -> None:
        for number in range(100):
            for name in ("one", f"{number}"):
                lock = held(client, f"{thread}:{name}")
                assert client.get(lock.name)
                told.append(sent(lock))

    told: list[Told] = []
    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len(told) == 800
    assert [each.within(SOON_S) for each in told] == [RELEASED] * 800
    assert client.keys("?:*") == []


def asks_again_at_once(client: redis.Redis) -> None:
    """The next run of the same call begins here; Redis knows no script, and the pool another connection."""
    spare = [threading.Thread(target=lambda: client_of_its_own.acquire(blocking=True, timeout=0.1))]
    lock, client_of_its_own = held(client), RedisLock(client, "busy", 60)
    holder = held(client, "busy")
    spare[0].start()
    spare[0].join()
    client.script_flush()

    told = sent(lock)

    assert RedisLock(client, NAME, 60).acquire(), "its own release was overtaken"
    assert told.within(SOON_S) == RELEASED
    assert client.delete(NAME) == 1
    assert holder.release()


def ask_again_many_times(client: redis.Redis) -> None:
    """Do so."""
    for _ in range(20):
        asks_again_at_once(client)


def test_the_same_lock_is_free_for_the_next_who_asks_here(client: redis.Redis) -> None:
    ask_again_many_times(client)


# ---- the process


def confirmed_in_a_child(client: redis.Redis) -> None:
    """The parent is told of its own release, and the child of the child's."""
    told = sent(held(client, "parent's"))

    def work() -> None:
        lock = held(client)
        client.script_flush()
        assert sent(lock).within(SOON_S) == RELEASED
        assert not told, "the child was told of its parent's"

    in_a_child(work)
    assert told.within(SOON_S) == RELEASED


def test_a_child_has_its_own(client_factory: Callable[..., redis.Redis]) -> None:
    client = client_factory()
    client.flushall()
    confirmed_in_a_child(client)


LAST_WORDS = """
    import redis
    from celery_redislock import RedisLock

    client = redis.Redis(port={port})
    lock = RedisLock(client, "{name}", 60)
    assert lock.acquire() and lock.release() and lock.acquire()
    client.script_flush()
    lock.send_release(lambda outcome: print(outcome.released))
"""


def test_a_process_that_ends_confirms_first(client: redis.Redis, server: Server) -> None:
    source = textwrap.dedent(LAST_WORDS).format(port=server.port, name=NAME)

    said = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=30, check=True)

    assert said.stdout == b"True\n"
    assert client.get(NAME) is None


def test_one_thread_confirms_all_and_ends_some_seconds_later(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def confirming() -> int:
        return sum(thread.name == "redislock-confirmation" for thread in threading.enumerate())

    monkeypatch.setattr(confirmation, "IDLE_S", 0.5)
    for _ in range(50):
        told = sent(held(client))
        assert confirming() <= 1
    assert told.within(SOON_S) == RELEASED
    eventually(lambda: confirming() == 0, AT_LAST_S, "the thread should end")
    assert sent(held(client)).within(SOON_S) == RELEASED


def test_without_threads_it_is_confirmed_at_once(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation, "begin", lambda *_: False)
    monkeypatch.setattr(confirmation.confirmations, "_runs", threading.Lock())

    assert list(sent(held(client))) == [RELEASED]


def test_a_holder_that_raises_keeps_no_other_from_being_told(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: ReleaseOutcome) -> None:
        raise ValueError("of the holder")

    held(client, "other").send_release(fail)

    assert sent(held(client)).within(SOON_S) == RELEASED
    assert "the release of lock 'other' could not be confirmed" in caplog.text


def test_what_is_not_held_was_not_released(client: redis.Redis) -> None:
    told = Told()
    RedisLock(client, NAME).send_release(told.append)
    assert list(told) == [NOT_OURS]


# ---- interruptions


def interrupted_everywhere(client: redis.Redis, work: Callable[[RedisLock, Told], object]) -> int:
    """Interrupt a work at each line in turn; return how many there are."""
    number = 1
    while True:
        lock, told = held(client), Told()
        struck = interrupted_at(number, lambda: work(lock, told))  # noqa: B023
        if lock.token is not None:
            # It struck before the release began.
            assert not told
            assert lock.release()
        confirmations.confirm()
        assert client.get(NAME) is None, "the lock should be free"
        assert list(told) in ([RELEASED], [] if struck else [RELEASED]), told
        other = held(client, "other")
        assert other.release(), "the next answer was another's"
        if not struck:
            return number
        number += 1


def test_an_interruption_of_the_release_leaves_the_lock_free(
    client_factory: Callable[..., redis.Redis],
) -> None:
    client = client_factory()
    client.flushall()
    assert interrupted_everywhere(client, lambda lock, told: lock.send_release(told.append)) > 30


def test_an_interruption_of_the_next_question_loses_no_outcome(
    client_factory: Callable[..., redis.Redis],
) -> None:
    client = client_factory()
    client.flushall()
    number, struck = 1, True
    while struck:
        told = sent(held(client))
        struck = interrupted_at(number, RedisLock(client, f"next {number}", 1).acquire)
        confirmations.confirm()
        assert list(told) == [RELEASED]
        number += 1
    assert number > 30


# ---- wrong implementations


class NeverLooks(Confirmations):
    """Whoever asks next reads the reply. That is enough."""

    def _serve(self) -> None:
        time.sleep(60)


class TakesARefusalForAnAnswer(Unconfirmed):
    """There was a reply, so it has been released."""

    __slots__ = ()

    def _ask_again(self, deadline: float) -> ReleaseOutcome:
        return RELEASED


class IsOvertaken(Confirmations):
    """A release that was sent is a release."""

    def settle(self, verbs: Any) -> None:
        """Do nothing."""


class IsTheParents(Confirmations):
    """The child goes on where its parent was."""

    def begin_afresh(self) -> None:
        """Begin once."""
        if not hasattr(self, "_waiting"):
            super().begin_afresh()


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Put a wrong implementation in place of ours, and the waiting time of a test below what it takes."""

    def put(kind: Any) -> None:
        if issubclass(kind, Unconfirmed):
            monkeypatch.setattr(confirmation, "Unconfirmed", kind)
        else:
            monkeypatch.setattr("celery_redislock.engine.lock.confirmations", ours := kind())
            monkeypatch.setattr("celery_redislock.engine.lease.per_client.confirmations", ours)
            monkeypatch.setattr(sys.modules[__name__], "SOON_S", 1.0)

    yield put
    with suppress(Exception):
        confirmations.confirm()


@pytest.mark.parametrize("notice", [told_of_a_release, told_of_pending_runs, told_of_a_loss])
def test_nobody_looks_is_caught(
    notice: Callable[[redis.Redis], None], wrong: Callable[[Any], None], client: redis.Redis
) -> None:
    wrong(NeverLooks)
    with pytest.raises(AssertionError, match="should be told"):
        notice(client)


def test_a_refusal_that_counts_as_an_answer_is_caught(
    wrong: Callable[[Any], None], client: redis.Redis
) -> None:
    wrong(TakesARefusalForAnAnswer)
    with pytest.raises(AssertionError, match="the lock should be free"):
        told_of_a_release_by_a_server_that_forgot_the_scripts(client)


def test_a_release_that_is_overtaken_is_caught(wrong: Callable[[Any], None], client: redis.Redis) -> None:
    wrong(IsOvertaken)
    with pytest.raises(AssertionError, match="was overtaken"):
        ask_again_many_times(client)


def test_a_child_with_its_parents_releases_is_caught(
    wrong: Callable[[Any], None], client: redis.Redis
) -> None:
    wrong(IsTheParents)
    with pytest.raises(AssertionError):
        confirmed_in_a_child(client)
