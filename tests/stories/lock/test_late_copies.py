"""Late copies: a request that was sent before, and arrives when all is over, takes nothing for nobody."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
import redis

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.beat.ledger import Ledger, Verdict
from celery_redislock.engine import group_lease as members
from celery_redislock.engine.group_lease import Left, Member
from celery_redislock.engine.inspection import release_orphan
from celery_redislock.engine.lease.lease import now
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol import exclusive
from celery_redislock.engine.protocol.exclusive import ACQUIRE, Busy, Granted, number_of
from celery_redislock.engine.protocol.script import Script
from celery_redislock.engine.transport.clients import store_of
from celery_redislock.pending import runs as wanted
from celery_redislock.pending.runs import PendingRun, PendingRuns
from celery_redislock.publish_lock import record as publish_lock
from celery_redislock.publish_lock.record import FREE, PublishLock

from ...mutants.scripts import gone_wrong
from ...support.arena import Arena
from ...support.deadlines import eventually
from ...support.servers import Server
from ...support.waiting_threads import Waiting, until_in_line

NAME = "late"
TTL_MS, IDLE_MS, HOUR_MS = 30_000, 60_000, 3_600_000


class Late:
    """A lock behind a network that keeps a copy of each request."""

    def __init__(self, arena: Arena) -> None:
        self.truth, self.proxy, self.client = arena.client, arena.proxy, arena.victim
        self.store = store_of(self.client)
        self.verbs = LockVerbs(self.store, NAME)
        self.runs = PendingRuns(self.client, NAME)
        self.queued = PublishLock(self.client, NAME)

    def lock(self, **options: Any) -> RedisLock:
        """Return a lock whose requests are copied."""
        return RedisLock(self.client, NAME, 30, **options)

    def others(self, times: int = 1) -> None:
        """Let others have the lock in between."""
        for _ in range(times):
            other = RedisLock(self.truth, NAME)
            assert other.acquire()
            assert other.release()

    def wants(self, task_id: str, question: str = "") -> Any:
        """Want a run."""
        run = PendingRun("task", task_id, b"message")
        return self.runs.record(run, keep="latest", question=question or uuid4().hex, is_listed=True)

    def state(self) -> dict[str, Any]:
        """Return what is taken, by whom."""
        found: dict[str, Any] = {}
        for key in self.truth.scan_iter():
            if (
                key.startswith((b"redislock.questions", b"redislock.holder", b"redislock.done"))
                or b":late}:" in key
            ):
                continue
            read = {b"string": self.truth.get, b"hash": self.truth.hgetall}.get(self.truth.type(key))
            found[key.decode()] = read(key) if read else self.truth.zrange(key, 0, -1, withscores=True)
        return found

    def copies_arrive(self) -> None:
        """Deliver a copy of everything that was sent."""
        assert list(self.copies())

    def copies(self) -> Iterator[bytes]:
        """Deliver a copy of everything that was sent, one after the other."""
        with socket.create_connection(
            ("127.0.0.1", self.truth.connection_pool.connection_kwargs["port"])
        ) as line:
            line.settimeout(5)
            for request in list(self.proxy.requests):
                if b"EVAL" in request:
                    line.sendall(request)
                    assert line.recv(65536)
                    yield request


@pytest.fixture
def late(one_arena: Arena) -> Late:
    """Give a lock of which copies are kept."""
    return Late(one_arena)


def released(late: Late) -> None:
    lock = late.lock()
    assert lock.acquire()
    assert lock.release()


def released_and_then_others(late: Late) -> None:
    released(late)
    late.others(400)


def released_while_another_holds(late: Late) -> None:
    released(late)
    assert RedisLock(late.truth, NAME).acquire()


def released_after_a_wait(late: Late) -> None:
    other = RedisLock(late.truth, NAME, 30)
    assert other.acquire()
    waiting = Waiting(late.lock(), then=RedisLock.release)
    until_in_line(late.truth, NAME, 1)
    assert other.release()
    assert waiting.answer()


def renewed_and_released(late: Late) -> None:
    lock = late.lock()
    assert lock.acquire()
    assert lock.renew()
    assert lock.release()
    assert not lock.release()


def kept_for_its_min_hold(late: Late) -> None:
    lock = late.lock(min_hold=0.1)
    assert lock.acquire()
    assert lock.release()
    eventually(lambda: not late.truth.exists(NAME))


def lost_and_told(late: Late) -> None:
    lock = late.lock()
    assert lock.acquire()
    late.truth.delete(NAME)
    assert not lock.release()


def left_the_line(late: Late) -> None:
    other = RedisLock(late.truth, NAME, 30)
    assert other.acquire()
    assert not late.lock().acquire(blocking=True, timeout=0.2)
    assert other.release()


def left_unseen(late: Late) -> None:
    token = uuid4().hex
    assert isinstance(late.verbs.acquire(token, TTL_MS, 0, "{}"), Granted)
    late.verbs.leave(token, within=1.0)


def released_for_the_dead(late: Late) -> None:
    token = uuid4().hex
    assert isinstance(late.verbs.acquire(token, TTL_MS, 0, "{}"), Granted)
    assert release_orphan(late.truth, NAME, token, 0)


def a_waiter_that_died(late: Late) -> None:
    other, token = RedisLock(late.truth, NAME, 30), uuid4().hex
    assert other.acquire()
    assert isinstance(late.verbs.acquire(token, TTL_MS, 4000, "{}"), Busy)
    assert not release_orphan(late.truth, NAME, token, 0)
    assert other.release()


def _batch(late: Late) -> tuple[str, Callable[..., Member]]:
    token = uuid4().hex
    assert late.lock().attempt(token=token) is None
    return token, lambda **options: Member(late.client, NAME, token, uuid4().hex, **options)


def a_batch_that_has_ended(late: Late) -> None:
    _, member = _batch(late)
    first, waits = member(), uuid4().hex
    assert first.run(TTL_MS, {})
    assert member(waited_as=waits).wait(IDLE_MS, {})
    assert first.depart(IDLE_MS, "batch", HOUR_MS) is Left.OTHERS
    second = member(waited_as=waits)
    assert second.run(TTL_MS, {})
    assert second.depart(IDLE_MS, "batch", HOUR_MS) is Left.NOBODY


def members_that_have_departed(late: Late) -> None:
    _, member = _batch(late)
    stays, waits = member(), uuid4().hex
    assert stays.run(TTL_MS, {})
    stays._stop_renewing()
    assert member(waited_as=waits).wait(IDLE_MS, {})
    runs = member(waited_as=waits)
    assert runs.run(TTL_MS, {})
    assert runs.depart(IDLE_MS, "batch", HOUR_MS) is Left.OTHERS
    late.proxy.requests[:] = [each for each in late.proxy.requests if stays._name.encode() not in each]


def a_member_that_has_stepped_aside_and_departed(late: Late) -> None:
    _, member = _batch(late)
    runs, stays = member(waited_as=uuid4().hex), member()
    assert stays.run(TTL_MS, {})
    stays._stop_renewing()
    assert runs.run(TTL_MS, {})
    assert runs.step_aside(IDLE_MS, {})
    assert runs.depart(IDLE_MS, "batch", HOUR_MS) is Left.OTHERS
    late.proxy.requests[:] = [each for each in late.proxy.requests if stays._name.encode() not in each]


def a_publish_lock_given_back(late: Late) -> None:
    token = uuid4().hex
    assert late.queued.take(token, "work", TTL_MS) is None
    assert late.queued.keep(token, 2 * TTL_MS)
    assert late.queued.free(token)


def a_publish_lock_freed_before_its_take_arrives(late: Late) -> None:
    token = uuid4().hex
    assert late.queued.take(token, "work", TTL_MS) is None
    late.truth.delete(late.verbs.keys.reservation, late.verbs.keys.questions_of(token))
    late.queued.free(token)


def a_publish_lock_whose_work_has_begun(late: Late) -> None:
    token = uuid4().hex
    assert late.queued.take(token, "work", TTL_MS) is None
    lock = late.lock(ticket=token)
    assert lock.acquire()
    assert late.queued.waiting() is None
    assert lock.release(done="work")


def a_publish_lock_of_a_copy_of_what_was_done(late: Late) -> None:
    lock = late.lock(ticket=uuid4().hex)
    assert lock.acquire()
    assert late.queued.take(uuid4().hex, "work", TTL_MS, again=True) is None
    assert lock.release(done="work")
    assert late.queued.waiting() is None


def a_publish_lock_that_was_taken_over(late: Late) -> None:
    assert late.queued.take(uuid4().hex, "work", TTL_MS, again=True) is None
    assert PublishLock(late.truth, NAME).take(uuid4().hex, "work", TTL_MS, again=True) is None


def a_publish_lock_taken_away(late: Late) -> None:
    assert late.queued.take(uuid4().hex, "work", TTL_MS) is None
    assert PublishLock(late.truth, NAME).force_free()


def a_claimed_due_time(late: Late) -> None:
    lock = late.lock()
    assert lock.acquire()
    ledger = Ledger(late.client, NAME)
    assert ledger.claim(str(lock.token), "entry", 1000, uuid4().hex).verdict is Verdict.CLAIMED
    assert ledger.claim(str(lock.token), "entry", 2000, uuid4().hex).verdict is Verdict.CLAIMED
    assert lock.release()


def a_wanted_run_that_has_begun(late: Late) -> None:
    holder = RedisLock(late.truth, NAME)
    assert holder.acquire()
    late.wants("a")
    assert holder.release()
    claimed = late.runs.claim("task")
    late.runs.confirm(claimed.to_publish[0], claimed.token)
    triggered_us = claimed.to_publish[0].triggered_us
    late.runs.begin("task", "a", keep="latest", triggered_us=triggered_us, token=claimed.token)
    assert RedisLock(late.truth, NAME).acquire()


def a_wish_that_met_a_free_lock(late: Late) -> None:
    assert late.wants("a").is_free
    assert RedisLock(late.truth, NAME).acquire()


def a_run_that_is_wanted_again_when_it_has_begun(late: Late) -> None:
    a_wanted_run_that_has_begun(late)
    other = PendingRuns(late.truth, NAME)
    other.record(PendingRun("task", "a", b"again"), keep="latest", question=uuid4().hex, is_listed=True)


def a_claim_of_wanted_runs_before_another_was_wanted(late: Late) -> None:
    a_wanted_run_that_has_begun(late)
    other = PendingRuns(late.truth, NAME)
    other.record(PendingRun("task", "b", b"message"), keep="latest", question=uuid4().hex, is_listed=True)
    assert RedisLock(late.truth, NAME).force_release()


OVER = [
    released,
    released_and_then_others,
    released_while_another_holds,
    released_after_a_wait,
    renewed_and_released,
    kept_for_its_min_hold,
    lost_and_told,
    left_the_line,
    left_unseen,
    released_for_the_dead,
    a_waiter_that_died,
    a_batch_that_has_ended,
    members_that_have_departed,
    a_member_that_has_stepped_aside_and_departed,
    a_publish_lock_given_back,
    a_publish_lock_freed_before_its_take_arrives,
    a_publish_lock_whose_work_has_begun,
    a_publish_lock_of_a_copy_of_what_was_done,
    a_publish_lock_that_was_taken_over,
    a_publish_lock_taken_away,
    a_claimed_due_time,
    a_wanted_run_that_has_begun,
    a_wish_that_met_a_free_lock,
    a_run_that_is_wanted_again_when_it_has_begun,
    a_claim_of_wanted_runs_before_another_was_wanted,
]


@pytest.mark.parametrize("story", OVER, ids=lambda story: story.__name__)
def test_copies_of_all_that_was_sent_change_nothing(story: Callable[[Late], None], late: Late) -> None:
    story(late)
    before = late.state()

    copies = 0
    for _ in range(2):
        for copy in late.copies():
            assert late.state() == before, copy
            copies += 1
    assert copies


def test_what_is_remembered_is_gone_within_two_minutes(late: Late) -> None:
    for story in (released, left_the_line, a_batch_that_has_ended, a_publish_lock_given_back):
        story(late)

    remembered = list(late.truth.scan_iter("redislock.questions*"))

    assert remembered
    assert all(0 < late.truth.pttl(key) <= 60_000 for key in remembered)


def test_a_late_copy_of_a_batchs_acquire_does_not_shorten_its_lease(late: Late) -> None:
    _, member = _batch(late)
    assert member().wait(10 * TTL_MS, {})

    late.copies_arrive()

    assert late.truth.pttl(NAME) > 9 * TTL_MS


def test_a_late_copy_does_not_shorten_a_publish_lock(late: Late) -> None:
    token = uuid4().hex
    assert late.queued.take(token, "work", TTL_MS) is None
    taken = list(late.proxy.requests)
    assert late.queued.keep(token, 10 * TTL_MS)
    late.proxy.requests[:] = taken

    late.copies_arrive()

    assert late.truth.pttl(late.verbs.keys.reservation) > 9 * TTL_MS


def test_who_left_with_an_earlier_question_does_not_lose_what_a_later_one_was_granted(late: Late) -> None:
    token = uuid4().hex
    late.verbs.leave(token, within=1.0)
    assert isinstance(late.verbs.acquire(token, TTL_MS, 0, "{}"), Granted)

    late.copies_arrive()

    assert late.verbs.is_held_with(token)


def keeps_it_when_the_first_of_two_questions_is_taken_back(late: Late) -> bool:
    """Ask, ask again before the answer, and let what takes the first question back arrive last."""
    token = uuid4().hex
    assert isinstance(late.verbs.acquire(token, TTL_MS, 0, "{}"), Granted)
    first_asked_at = now()
    while number_of(now()) == number_of(first_asked_at):
        pass  # two questions of one token are never asked in one microsecond
    assert isinstance(late.verbs.acquire(token, TTL_MS, 0, "{}"), Granted)
    late.store.run(*exclusive.leave(late.verbs.keys, token, first_asked_at))
    return late.verbs.is_held_with(token)


def test_who_asks_again_keeps_it_when_the_first_question_is_taken_back(late: Late) -> None:
    assert keeps_it_when_the_first_of_two_questions_is_taken_back(late)


def test_a_script_that_does_not_hear_the_second_question_is_found_out(late: Late) -> None:
    with gone_wrong(ACQUIRE, "redis.call('SET', holder, described .. ' ' .. number, 'KEEPTTL')", ""):
        assert not keeps_it_when_the_first_of_two_questions_is_taken_back(late)


def test_who_takes_a_publish_lock_back_does_not_lose_what_a_later_question_has_taken(late: Late) -> None:
    token = uuid4().hex
    keys = (late.verbs.keys.reservation, late.verbs.keys.questions_of(token))
    late.store.run(FREE, keys, (token, number_of(now())))
    assert late.queued.take(token, "work", TTL_MS) is None

    late.copies_arrive()

    assert late.queued.waiting() is not None
    assert late.queued.free(token)


def test_a_batch_takes_its_lock_again_with_its_own_token(late: Late) -> None:
    token, member = _batch(late)
    first = member()
    assert first.run(TTL_MS, {})
    assert first.depart(IDLE_MS, "batch", HOUR_MS) is Left.NOBODY

    assert late.lock().attempt(token=token, mark=uuid4().hex) is None
    late_one = member()
    assert late_one.run(TTL_MS, {})

    assert late_one.depart(IDLE_MS, "batch", HOUR_MS) is Left.NOBODY


def test_a_token_that_was_given_back_is_not_used_again(late: Late) -> None:
    token = uuid4().hex
    lock = late.lock()
    assert lock.attempt(token=token) is None
    assert lock.release()

    with pytest.raises(StoreUnavailable, match="already released"):
        lock.attempt(token=token)

    assert not late.truth.exists(NAME)


# -- over a network that holds one copy back


class Held(socketserver.ThreadingTCPServer):
    """A network that holds the first acquire back for a while, though its sender has given it up."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _Link)
        self.to, self.seconds, self.port = port, seconds, int(self.server_address[1])
        self.held: list[threading.Thread] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def hold(self, data: bytes) -> None:
        """Deliver this later."""

        def deliver() -> None:
            time.sleep(self.seconds)
            with socket.create_connection(("127.0.0.1", self.to)) as line:
                line.sendall(data)
                line.recv(65536)

        self.held.append(threading.Thread(target=deliver))
        self.held[-1].start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Link(socketserver.BaseRequestHandler):
    server: Held

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.to)) as upstream, suppress(OSError):
            back = threading.Thread(target=self._pump_back, args=(upstream,), daemon=True)
            back.start()
            while data := self.request.recv(65536):
                if ACQUIRE.sha.encode() in data and not self.server.held:
                    self.server.hold(data)
                else:
                    upstream.sendall(data)
            upstream.shutdown(socket.SHUT_RDWR)
            back.join(5)

    def _pump_back(self, upstream: socket.socket) -> None:
        with suppress(OSError):
            while data := upstream.recv(65536):
                self.request.sendall(data)


Slow: TypeAlias = tuple[redis.Redis, Held, redis.Redis]


@pytest.fixture
def slow(server: Server) -> Iterator[Slow]:
    """Give a client past the network, the network, and a client behind it."""
    with (
        server.client() as truth,
        Held(server.port, 0.8) as held,
        redis.Redis(port=held.port, socket_timeout=0.2) as client,
    ):
        truth.flushall()
        truth.script_load(ACQUIRE.source)
        yield truth, held, client
        truth.flushall()


def test_what_was_released_is_not_taken_by_the_first_copy(
    slow: Slow,
) -> None:
    truth, held, client = slow
    lock = RedisLock(client, NAME, 30)
    assert lock.acquire()
    assert lock.release()

    held.held[0].join(5)

    assert not truth.exists(NAME)
    assert RedisLock(truth, NAME).acquire()


def test_what_was_refused_is_not_taken_by_the_first_copy(slow: Slow) -> None:
    truth, held, client = slow
    other = RedisLock(truth, NAME, 30)
    assert other.acquire()
    assert not RedisLock(client, NAME, 30).acquire()
    assert other.release()

    held.held[0].join(5)

    assert not truth.exists(NAME)


def test_who_holds_it_keeps_it_when_the_first_copy_arrives(
    slow: Slow,
) -> None:
    _, held, client = slow
    lock = RedisLock(client, NAME, 30)
    assert lock.acquire()

    held.held[0].join(5)

    assert lock.owned()
    assert lock.release()


# -- and that this is seen

LAST_OF_TAKE = "redis.call('SET', questions, ARGV[8], 'PX', '60000')\nreturn {1}\n"

#: What a script says, what it says when it forgets, and the story that shows it.
FORGETFUL: list[tuple[Script, str, str, Callable[[Late], None]]] = [
    (exclusive.RELEASE, "redis.call('SET', questions, RELEASED, 'PX', '60000')", "", released),
    (exclusive.RELEASE, "redis.call('SET', questions, LOST, 'PX', '60000')", "", lost_and_told),
    (exclusive.LEAVE, "redis.call('SET', questions, number, 'PX', '60000')", "", left_unseen),
    (
        exclusive.ACQUIRE,
        "    redis.call('SET', questions, number, 'PX', '60000')\n    end\n",
        "end\n",
        left_the_line,
    ),
    (members.DEPART, "redis.call('SET', questions, RELEASED, 'PX', '60000')", "", a_batch_that_has_ended),
    (members.DEPART, "redis.call('SET', gone,", "tostring(", members_that_have_departed),
    (
        publish_lock.FREE,
        "redis.call('SET', KEYS[2], ARGV[2], 'PX', '60000')",
        "",
        a_publish_lock_freed_before_its_take_arrives,
    ),
    (publish_lock.TAKE, LAST_OF_TAKE, "return {1}\n", a_publish_lock_that_was_taken_over),
    (wanted.RECORD, "redis.call('SET', questions, fact", "tostring(fact", a_wish_that_met_a_free_lock),
    (
        wanted.BEGIN,
        "redis.call('EXISTS', KEYS[2]) == 1",
        "false",
        a_run_that_is_wanted_again_when_it_has_begun,
    ),
    (
        wanted.CLAIM,
        "redis.call('EXISTS', KEYS[3]) == 1",
        "false",
        a_claim_of_wanted_runs_before_another_was_wanted,
    ),
]


@pytest.mark.parametrize("forgetful", FORGETFUL, ids=lambda forgetful: forgetful[3].__name__)
def test_a_script_that_forgets_is_found_out(forgetful: Any, late: Late) -> None:
    script, right, wrong, story = forgetful

    with gone_wrong(script, right, wrong):
        story(late)
        before = late.state()
        assert any(late.state() != before for _ in late.copies())
