"""Maxmemory: on a full server what gives back or keeps works; what takes something new is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import redis

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.beat.ledger import Ledger, Verdict
from celery_redislock.engine import Limits
from celery_redislock.engine.group_lease import STAY, Left, Member, members_in_flight
from celery_redislock.engine.lease.shared_verbs import SharedVerbs
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol.exclusive import Busy, Granted, Released
from celery_redislock.engine.protocol.keys import PAUSED
from celery_redislock.engine.protocol.shared import Words
from celery_redislock.engine.transport.clients import store_of
from celery_redislock.observing.statistics_record import Batch, StatisticsRecord
from celery_redislock.pending.runs import PendingIndex, PendingRun, PendingRuns
from celery_redislock.publish_lock.record import PublishLock

from ...support.deadlines import eventually
from ...support.scripts import FILES, loaded_scripts
from ...support.servers import Server
from ...support.waiting_threads import Waiting

TTL_MS, HOUR_MS = 30_000, 3_600_000


@pytest.fixture(scope="module", params=["redis", "valkey"])
def small(request: pytest.FixtureRequest, start_server: Callable[[str], Server]) -> Iterator[Server]:
    """Give a server of each kind that the tests of this file may fill."""
    start_server(request.param)  # skips, or fails, where there is none
    with Server(request.param) as server:
        yield server


class Full:
    """A lock on a server that is full from `fills` on, until the test ends."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.name = f"full:{uuid4().hex}"
        self.store = store_of(client)
        self.verbs = LockVerbs(self.store, self.name)
        self.runs = PendingRuns(self.client, self.name)

    def fills(self) -> None:
        """Reach the limit."""
        self.client.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            self.client.set("one", "more")

    def held(self) -> str:
        """Return the token of a holder."""
        token = uuid4().hex
        assert isinstance(self.ask(token), Granted)
        return token

    def queued(self) -> str:
        """Return the token of somebody who stands in line."""
        token = uuid4().hex
        assert isinstance(self.ask(token, patience_ms=4000), Busy)
        return token

    def ask(self, token: str, patience_ms: int = 0) -> Granted | Busy:
        """Ask for the lock."""
        return self.verbs.acquire(token, TTL_MS, patience_ms, "{}")

    def released(self, token: str, *, done: str = "", min_hold_ms: int = 0) -> bool:
        """Release the lock; return whether it was this token's."""
        return isinstance(self.verbs.release(token, min_hold_ms, done), Released)

    def member(self, token: str, waited_as: str = "") -> Member:
        """Return one of the batch that holds the lock."""
        return Member(self.client, self.name, token, uuid4().hex, waited_as=waited_as)

    def wants(self, task_id: str, task: str = "task") -> None:
        """Have a run wanted."""
        run = PendingRun(task, task_id, b"message")
        self.runs.record(run, keep="latest", question=uuid4().hex, is_listed=True)

    def is_free(self) -> bool:
        """Whether the lock is."""
        return not self.client.exists(self.name)


@pytest.fixture
def full(small: Server) -> Iterator[Full]:
    """Give a lock on an empty server that can be filled."""
    with small.client() as client:
        client.flushall()
        for script in loaded_scripts():
            client.script_load(script.source)
        yield Full(client)
        client.config_set("maxmemory", 0)
        client.flushall()


# -- what works, by the script that it needs


def release(full: Full) -> None:
    token = full.held()
    full.fills()
    assert full.released(token, done="work")
    assert full.released(token, done="work"), "also when asked again"
    assert full.is_free()


def release_to_a_waiter(full: Full) -> None:
    token, waiter = full.held(), full.queued()
    full.fills()
    assert full.released(token)
    assert isinstance(full.ask(waiter), Granted)
    assert full.client.llen(full.verbs.keys.mailbox(waiter)) == 0


def release_early(full: Full) -> None:
    token = full.held()
    full.queued()
    full.fills()
    assert full.released(token, min_hold_ms=60_000)
    assert full.client.get(full.name) == f"{token}:kept".encode()


def release_of_a_paused_lock(full: Full) -> None:
    token = full.held()
    Limits(full.client, full.name).pause(None, "ann", "")
    full.fills()
    assert full.released(token)
    assert full.client.get(full.name) == PAUSED


def release_where_runs_are_wanted(full: Full) -> None:
    token = full.held()
    full.wants("a")
    full.fills()
    released = full.verbs.release(token, 0, done="")
    assert released == Released(has_pending=True)


def release_of_what_is_lost(full: Full) -> None:
    token = full.held()
    full.client.delete(full.name)
    full.fills()
    assert not full.released(token)


def renew(full: Full) -> None:
    token = full.held()
    full.client.pexpire(full.name, 1000)
    full.fills()
    assert full.verbs.renew(token, TTL_MS) is None
    assert full.client.pttl(full.name) > 1000


def acquire_once_more(full: Full) -> None:
    token = full.held()
    full.fills()
    assert isinstance(full.ask(token), Granted)


def acquire_in_line(full: Full) -> None:
    full.held()
    waiters = [full.queued() for _ in range(3)]
    full.fills()
    for waiter in waiters:
        assert isinstance(full.ask(waiter, patience_ms=4000), Busy)
    assert full.client.zcard(full.verbs.keys.waiters) == 3


def acquire_of_a_busy_lock(full: Full) -> None:
    full.held()
    waiter = full.queued()
    full.fills()
    assert isinstance(full.ask(uuid4().hex), Busy)
    assert isinstance(full.ask(waiter), Busy), "it waits no more"
    assert full.client.zcard(full.verbs.keys.waiters) == 0


def leave(full: Full) -> None:
    token, waiters = full.held(), [full.queued() for _ in range(2)]
    full.fills()
    full.verbs.leave(waiters[0], within=1.0)
    assert full.client.zrange(full.verbs.keys.waiters, 0, -1) == [waiters[1].encode()]
    full.verbs.leave(token, within=1.0)
    assert full.client.get(full.name) == waiters[1].encode()


def ring(full: Full) -> None:
    full.fills()
    mailbox = full.verbs.keys.mailbox(uuid4().hex)
    full.verbs.interrupt(mailbox)
    assert full.client.llen(mailbox) == 1
    assert full.client.pttl(mailbox) > 0


def force_release(full: Full) -> None:
    full.held()
    waiter = full.queued()
    full.fills()
    assert full.verbs.force_release()
    assert full.client.get(full.name) == waiter.encode()


def stay(full: Full) -> None:
    token = full.held()
    member = full.member(token)
    assert member.run(600, {})
    out = full.client.zrange(full.verbs.keys.inflight, 0, -1, withscores=True)
    full.fills()
    later = 2 * TTL_MS
    mark = f"{token}:{out[0][0].decode()}"
    assert full.store.run(STAY, full.verbs.keys.shared, (mark, later)) == 1
    assert full.client.zrange(full.verbs.keys.inflight, 0, -1, withscores=True)[0][1] > out[0][1]
    assert full.client.pttl(full.verbs.keys.inflight) > TTL_MS
    member._stop_renewing()


def join_of_one_that_waited(full: Full) -> None:
    token, waited = full.held(), uuid4().hex
    assert full.member(token, waited).wait(TTL_MS, {})
    full.fills()
    member = full.member(token, waited)
    assert member.run(TTL_MS, {})
    assert member.step_aside(TTL_MS, {})
    assert [said["state"] for said in members_in_flight(full.client, full.name)] == ["waits"]


def depart(full: Full) -> None:
    token = full.held()
    first, last = full.member(token), full.member(token)
    assert first.run(TTL_MS, {})
    assert last.run(TTL_MS, {})
    full.fills()
    assert first.depart(TTL_MS, "batch", HOUR_MS) is Left.OTHERS
    assert [last.depart(TTL_MS, "batch", HOUR_MS) for _ in range(2)] == [Left.NOBODY] * 2
    assert full.is_free()


def free(full: Full) -> None:
    lock, token = PublishLock(full.client, full.name), uuid4().hex
    assert lock.take(token, "work", TTL_MS) is None
    full.fills()
    assert lock.free(token)
    assert lock.waiting() is None


def keep(full: Full) -> None:
    lock, token = PublishLock(full.client, full.name), uuid4().hex
    assert lock.take(token, "work", TTL_MS) is None
    full.fills()
    assert lock.keep(token, 2 * TTL_MS)
    assert full.client.pttl(full.verbs.keys.reservation) > TTL_MS


def confirm(full: Full) -> None:
    token = full.held()
    full.wants("a")
    full.verbs.release(token, 0, done="")
    claimed = full.runs.claim("task")
    full.fills()
    assert not full.runs.confirm(claimed.to_publish[0], claimed.token)
    assert full.client.hget(full.verbs.keys.pending, "sent task a").startswith(b"0 ")
    assert full.client.pttl(full.verbs.keys.pending) > 0


def begin(full: Full) -> None:
    token = full.held()
    full.wants("a")
    full.verbs.release(token, 0, done="")
    claimed = full.runs.claim("task")
    full.fills()
    triggered_us = claimed.to_publish[0].triggered_us
    begun = full.runs.begin("task", "a", keep="latest", triggered_us=triggered_us, token=claimed.token)
    assert not begun.is_copy
    assert not full.client.exists(full.verbs.keys.pending)


def begin_in_place_of_others(full: Full) -> None:
    token = full.held()
    full.wants("a")
    full.verbs.release(token, 0, done="")
    claimed = full.runs.claim("task")
    full.held()
    full.wants("b")
    full.fills()
    last = claimed.to_publish[0].triggered_us + 10**9
    assert [run.id for run in full.runs.begin("task", "c", keep="latest", triggered_us=last).superseded] != []
    assert full.client.pttl(full.verbs.keys.pending) > 0


def withdraw(full: Full) -> None:
    token = full.held()
    full.wants("a")
    full.wants("b")
    full.verbs.release(token, 0, done="")
    claimed = full.runs.claim("task")
    full.fills()
    assert full.runs.withdraw("task", "b", claimed.token)
    assert full.client.hexists(full.verbs.keys.pending, "next task")


def expel(full: Full) -> None:
    full.held()
    run = PendingRun("task", "a", b"message")
    full.runs.record(run, keep="latest", question=uuid4().hex, is_listed=True, stop_after_ms=0)
    full.fills()
    assert full.runs.expel(60_000)[1] is not None
    assert full.runs.expel(60_000)[1] is None


def recall(full: Full) -> None:
    ledger = Ledger(full.client, full.name)
    ledger.note_seen("entry", 1)
    full.fills()
    assert ledger.read()[0] == {}, "what is too old is forgotten"


def schedule_nothing(full: Full) -> None:
    index = PendingIndex(full.client, "full:")
    index.schedule(full.name, 60_000)
    full.fills()
    index.schedule(full.name, None)
    assert index.due() == (None, [])


WORKS = [
    release,
    release_to_a_waiter,
    release_early,
    release_of_a_paused_lock,
    release_where_runs_are_wanted,
    release_of_what_is_lost,
    renew,
    acquire_once_more,
    acquire_in_line,
    acquire_of_a_busy_lock,
    leave,
    ring,
    force_release,
    stay,
    join_of_one_that_waited,
    depart,
    free,
    keep,
    confirm,
    begin,
    begin_in_place_of_others,
    withdraw,
    expel,
    recall,
    schedule_nothing,
]


@pytest.mark.parametrize("what", WORKS, ids=lambda what: what.__name__)
def test_what_gives_back_or_keeps_works_on_a_full_server(what: Callable[[Full], None], full: Full) -> None:
    what(full)


# -- what is refused


def acquire(full: Full) -> Callable[[], object]:
    return lambda: full.ask(uuid4().hex)


def acquire_a_place_in_line(full: Full) -> Callable[[], object]:
    full.held()
    return lambda: full.ask(uuid4().hex, patience_ms=4000)


def join(full: Full) -> Callable[[], object]:
    token = full.held()
    assert full.member(token).wait(TTL_MS, {})
    return lambda: full.member(token).wait(TTL_MS, {})


def take(full: Full) -> Callable[[], object]:
    return lambda: PublishLock(full.client, full.name).take(uuid4().hex, "work", TTL_MS)


def record(full: Full) -> Callable[[], object]:
    full.held()
    return lambda: full.wants("a")


def claim_of_a_run(full: Full) -> Callable[[], object]:
    token = full.held()
    full.wants("a")
    full.verbs.release(token, 0, done="")
    return lambda: full.runs.claim("task")


def claim(full: Full) -> Callable[[], object]:
    token = full.held()
    return lambda: Ledger(full.client, full.name).claim(token, "entry", 1, uuid4().hex)


def schedule(full: Full) -> Callable[[], object]:
    return lambda: PendingIndex(full.client, "full:").schedule(full.name, 1000)


def count(full: Full) -> Callable[[], object]:
    return lambda: StatisticsRecord(full.client, "full:").add(Batch())


def limit(full: Full) -> Callable[[], object]:
    return lambda: Limits(full.client, full.name).pause(None, "ann", "")


REFUSED = [
    acquire,
    acquire_a_place_in_line,
    join,
    take,
    record,
    claim_of_a_run,
    claim,
    schedule,
    count,
    limit,
]


@pytest.mark.parametrize("what", REFUSED, ids=lambda what: what.__name__)
def test_what_takes_something_new_is_refused_and_says_so(
    what: Callable[[Full], Callable[[], object]], full: Full
) -> None:
    take = what(full)
    keys = sorted(full.client.keys())
    full.fills()

    with pytest.raises(StoreUnavailable, match="maxmemory"):
        take()

    assert sorted(full.client.keys()) == keys


def test_what_was_refused_is_taken_when_there_is_room_again(full: Full) -> None:
    take = claim(full)
    full.fills()
    with pytest.raises(StoreUnavailable):
        take()
    full.client.config_set("maxmemory", 0)

    answer = take()

    assert getattr(answer, "verdict", None) is Verdict.CLAIMED


def test_shared_holders_renew_and_release_on_a_full_server_and_no_more_come(full: Full) -> None:
    """Those who have a place keep it, and a place that is given back goes to the next in line."""
    first, second = (RedisLock(full.client, full.name, 30, limit=2) for _ in range(2))
    assert first.acquire()
    assert second.acquire()
    waiter = SharedVerbs(store_of(full.client), full.name, 0, Words(2))
    assert isinstance(waiter.acquire("f" * 32, TTL_MS, 4000, "{}"), Busy)
    full.fills()

    assert first.renew()
    assert isinstance(waiter.acquire("f" * 32, TTL_MS, 4000, "{}"), Busy), "who waits may ask again"
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        RedisLock(full.client, full.name, 30, limit=9).acquire(blocking=True, timeout=0.1)
    assert second.release()
    assert isinstance(waiter.acquire("f" * 32, TTL_MS, 4000, "{}"), Granted)
    assert first.release()
    waiter.release("f" * 32, 0, done="")
    assert full.is_free()
    full.client.config_set("maxmemory", 0)
    assert RedisLock(full.client, full.name, 30, shared=True).acquire()
    full.fills()
    assert RedisLock(full.client, full.name).force_release()
    assert full.is_free()


def test_a_group_does_not_begin_on_a_full_server(full: Full) -> None:
    full.fills()

    with pytest.raises(StoreUnavailable, match="maxmemory"):
        RedisLock(full.client, full.name, 30, shared=True).acquire()

    assert full.is_free()


def test_every_script_is_tried_on_a_full_server() -> None:
    tried = {what.__name__.split("_")[0] for what in (*WORKS, *REFUSED)}
    tried |= {what.__name__ for what in (*WORKS, *REFUSED)}
    takes_memory = re.compile(r"^-- maxmemory  (?!only reads)", re.MULTILINE)

    assert {path.stem for path in FILES if takes_memory.search(path.read_text())} <= tried


def test_a_lock_goes_through_its_whole_life_on_a_server_that_fills_meanwhile(full: Full) -> None:
    holder = RedisLock(full.client, full.name, 1, renew=True)
    waiter = RedisLock(full.client, full.name, 30, renew=True)
    assert holder.acquire()
    waiting = Waiting(waiter, then=RedisLock.release)
    eventually(lambda: full.client.zcard(full.verbs.keys.waiters) == 1)
    full.fills()
    eventually(lambda: not holder.lost and full.client.pttl(full.name) > 900, 3)

    assert holder.release()

    assert waiting.answer()
    assert full.is_free()
