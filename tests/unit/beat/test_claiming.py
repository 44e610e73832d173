"""Ticks: schedulers that claim what they send, over a Redis in this process, with clocks that are wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest
import redis
from celery import Celery
from celery.beat import Scheduler, SchedulingError
from celery.schedules import crontab, schedule

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.beat.claiming import claiming
from celery_redislock.beat.clock import from_ms, to_ms
from celery_redislock.beat.ledger import Ledger, Sent
from celery_redislock.beat.tenure import Tenure
from celery_redislock.engine.protocol.keys import keys_of
from celery_redislock.events import Ticked, listen, unlisten
from celery_redislock.messages.headers import BEAT_HEADER

LOCK = "redislock:beat:beat"
SENT = keys_of(LOCK).ledger
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def now() -> datetime:
    return datetime.now(timezone.utc)


class Recording(Scheduler):
    """Celery's scheduler, that keeps what it would publish."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.messages: list[dict[str, Any]] = []
        super().__init__(*args, **options)

    def send_task(self, *_: Any, **options: Any) -> Any:
        """Keep the message's headers."""
        self.messages.append(options["headers"])


class Direct(Recording):
    """One that publishes as RedBeat does: it asks the entry, not itself, what is due."""

    def tick(self, **_: Any) -> float:
        """Send all that is due."""
        for entry in list(self.schedule.values()):
            if entry.is_due()[0]:
                self.apply_async(entry)
        return 300.0


@dataclass
class Rig:
    """Makes leaders over one Redis.

    Attributes:
        ahead: How far the machine's clock is ahead of the server's.
    """

    client: redis.Redis
    app: Celery
    ahead: timedelta = timedelta()
    locks: list[RedisLock] = field(default_factory=list)

    def wall(self) -> datetime:
        return now() + self.ahead

    def every(self, interval: timedelta) -> schedule:
        return schedule(interval, nowfun=self.wall, app=self.app)

    def cron(self, **fields: Any) -> crontab:
        return crontab(**fields, nowfun=self.wall, app=self.app)

    def sent(self, entry: str, ago: timedelta, due: datetime | None = None) -> None:
        at = now() - ago
        self.client.hset(SENT, entry, f"{to_ms(due or at)} {to_ms(at)} x")

    def lead(self, kind: type[Scheduler] = Recording, **entries: Any) -> Any:
        """Return a leader of these entries, which were all last run, as it thinks, an hour ago."""
        for lock in self.locks:
            lock.force_release()
        lock = RedisLock(self.client, LOCK)
        assert lock.acquire()
        self.locks.append(lock)
        leader: Any = claiming(kind)(self.app)
        for name, when in entries.items():
            leader.add(name=name, task="t", schedule=when, last_run_at=self.wall() - HOUR)
        leader.begin(Tenure(lock, Ledger(self.client, LOCK)))
        return leader


@pytest.fixture
def rig(fake_client: redis.Redis) -> Iterator[Rig]:
    app = Celery("rig", broker="memory://", set_as_current=False)
    app.conf.result_expires = None
    app.finalize()
    yield Rig(fake_client, app)
    app.close()


def ticked(leader: Any, times: int = 6) -> list[tuple[str, datetime]]:
    """Tick, and return what was sent: entry and due time."""
    for _ in range(times):
        leader.tick()
    told = [headers[BEAT_HEADER] for headers in leader.messages]
    return [(tick["entry"], datetime.fromisoformat(tick["due"])) for tick in told]


@pytest.fixture
def told(rig: Rig) -> Iterator[list[Ticked]]:
    """Give what is told of the ticks of this app."""
    heard: list[Ticked] = []

    def hear(event: Ticked) -> None:
        if event.app is rig.app:
            heard.append(event)

    listen(Ticked, hear)
    yield heard
    unlisten(Ticked, hear)


both = pytest.mark.parametrize("kind", [Recording, Direct], ids=["asks itself", "asks the entry"])


@both
def test_a_message_says_which_tick_it_is(rig: Rig, kind: type[Scheduler]) -> None:
    rig.sent("a", 61 * timedelta(seconds=1))
    leader = rig.lead(kind, a=rig.every(MINUTE))
    last = from_ms(leader._tenure.sent["a"].at_ms)

    assert ticked(leader) == [("a", last + MINUTE)]
    assert leader.schedule["a"].options == {}


@both
def test_what_was_missed_is_sent_once_for_the_latest_due_time(rig: Rig, kind: type[Scheduler]) -> None:
    rig.sent("a", 10.5 * MINUTE)
    leader = rig.lead(kind, a=rig.every(MINUTE))
    last = from_ms(leader._tenure.sent["a"].at_ms)

    assert ticked(leader) == [("a", last + 10 * MINUTE)]


@both
def test_a_crontab_is_sent_for_its_minute(rig: Rig, kind: type[Scheduler]) -> None:
    before = now()
    [(_, due), *_] = ticked(rig.lead(kind, a=rig.cron()), 1)

    assert due.second == due.microsecond == 0
    assert before - MINUTE < due <= now()


@both
def test_the_next_leader_does_not_send_what_was_sent(rig: Rig, kind: type[Scheduler]) -> None:
    entries = {"a": rig.every(2 * MINUTE), "b": rig.cron(minute=0, hour=0)}
    first = ticked(rig.lead(kind, **entries))

    assert len([entry for entry, _ in first if entry == "a"]) == 1
    assert ticked(rig.lead(kind, **entries)) == []


@both
def test_an_own_record_that_is_later_wins(rig: Rig, kind: type[Scheduler]) -> None:
    rig.sent("a", HOUR)
    leader = rig.lead(kind, a=rig.every(2 * MINUTE))
    leader.schedule["a"].last_run_at, leader.schedule["a"].total_run_count = rig.wall() - MINUTE, 7

    assert ticked(leader) == []


def test_to_have_been_seen_first_later_is_no_record(rig: Rig) -> None:
    """Or a beat that is restarted more often than its slowest entry comes would never send that."""
    rig.sent("a", HOUR)
    leader = rig.lead(a=rig.every(2 * MINUTE))
    leader.schedule["a"].last_run_at = rig.wall() - MINUTE

    assert len(ticked(leader)) == 1


def test_since_when_an_entry_waits_outlives_the_leader(rig: Rig) -> None:
    first = rig.lead(a=rig.every(2 * HOUR))
    assert ticked(first) == []
    second = rig.lead(a=rig.every(2 * HOUR))
    second.schedule["a"].last_run_at = rig.wall()

    ticked(second)

    assert now() - from_ms(second._tenure.sent["a"].at_ms) > HOUR - MINUTE


@both
def test_who_leads_no_more_sends_nothing(rig: Rig, kind: type[Scheduler]) -> None:
    former = rig.lead(kind, a=rig.every(MINUTE))
    rig.client.set(LOCK, "another")

    assert ticked(former) == []
    assert rig.locks[-1].lost


@both
def test_a_lease_that_ends_between_claim_and_publication_ends_the_publication(
    rig: Rig, kind: type[Scheduler], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leader = rig.lead(kind, a=rig.every(MINUTE))
    claim = leader._tenure.claim

    def claim_and_lose(*args: Any) -> Any:
        answer = claim(*args)
        rig.locks[-1].release()
        return answer

    monkeypatch.setattr(leader._tenure, "claim", claim_and_lose)

    assert ticked(leader, 1) == []
    assert "is not sent: the lease of this beat has ended" in caplog.text
    assert rig.client.hget(SENT, "a").split()[0] != b"0"


@both
def test_without_redis_nothing_is_sent_and_it_is_said_once(
    kind: type[Scheduler], rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    server = fakeredis.FakeServer(version=(7,))
    with fakeredis.FakeRedis(server=server) as rig.client, caplog.at_level(logging.WARNING):
        leader = rig.lead(kind, a=rig.every(MINUTE), b=rig.every(MINUTE))
        server.connected = False

        assert ticked(leader, 3) == []
        assert caplog.text.count("nothing is sent") == 1

        server.connected = True
        leader._heap = None
        assert {entry for entry, _ in ticked(leader)} == {"a", "b"}


@both
def test_a_clock_that_is_ahead_sends_nothing_early_and_holds_up_nobody(
    rig: Rig, kind: type[Scheduler]
) -> None:
    soon = now() + 10 * MINUTE
    rig.ahead = HOUR
    rig.sent("cron", 23 * HOUR)
    rig.sent("late", 61 * timedelta(seconds=1))
    leader = rig.lead(kind, cron=rig.cron(hour=soon.hour, minute=soon.minute), late=rig.every(MINUTE))

    assert [entry for entry, _ in ticked(leader)] == ["late"]


@both
def test_a_clock_that_was_put_back_stops_no_interval(rig: Rig, kind: type[Scheduler]) -> None:
    rig.sent("a", 61 * timedelta(seconds=1))
    leader = rig.lead(kind, a=rig.every(MINUTE))
    leader.schedule["a"].last_run_at = rig.wall()
    rig.ahead = -HOUR

    if kind is Recording:
        assert len(ticked(leader)) == 1
    else:
        # Who asks the entry alone never comes to us: it waits as it would without us.
        assert ticked(leader) == []


def test_an_entry_that_is_sent_only_once_is_known_to_have_been(rig: Rig) -> None:
    """django_celery_beat disables those whose count is not zero; a leader that died did not write it down."""
    leader = rig.lead()
    rig.sent("once", MINUTE)
    leader.begin(Tenure(rig.locks[-1], Ledger(rig.client, LOCK)))
    entry = leader.add(name="once", task="t", schedule=rig.every(HOUR), last_run_at=rig.wall() - 2 * HOUR)
    entry.model = SimpleNamespace(last_run_at=entry.last_run_at, total_run_count=0)

    leader._catch_up(entry)

    assert (entry.total_run_count, entry.model.total_run_count) == (1, 1)
    assert abs((entry.model.last_run_at - (rig.wall() - MINUTE)).total_seconds()) < 1


def test_a_claim_whose_reply_was_lost_is_still_ours(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = rig.lead(a=rig.cron(minute=0, hour=0))
    ledger, claim = leader._tenure._ledger, leader._tenure._ledger.claim
    monkeypatch.setattr(ledger, "claim", _losing_the_first_reply(claim))
    rig.sent("a", timedelta(days=2))
    leader.begin(leader._tenure.__class__(rig.locks[-1], ledger))

    assert ticked(leader, 1) == []
    leader._heap = None
    assert [entry for entry, _ in ticked(leader)] == ["a"]


def _losing_the_first_reply(claim: Callable[..., Any]) -> Callable[..., Any]:
    replies: list[Any] = []

    def asked(*args: Any) -> Any:
        replies.append(claim(*args))
        if len(replies) == 1:
            raise StoreUnavailable(LOCK, "the reply was lost")
        return replies[-1]

    return asked


def test_a_claim_that_came_too_early_is_made_again_with_its_token(rig: Rig) -> None:
    """Or a copy of it that comes late would take the due time for nobody."""
    tenure = rig.lead(a=rig.every(MINUTE))._tenure
    early, marks = now() + timedelta(seconds=0.2), []
    claim = tenure._ledger.claim
    tenure._ledger.claim = lambda *args: marks.append(args[-1]) or claim(*args)

    delay_s = tenure.claim("early", early).delay_s
    assert delay_s
    time.sleep(delay_s + 0.05)

    assert tenure.claim("early", early).delay_s is None
    assert len(set(marks)) == 1


def test_a_record_is_read_back_as_it_was_written(rig: Rig) -> None:
    leader = rig.lead(a=rig.every(MINUTE))
    [(_, due)] = ticked(leader)

    records, _ = Ledger(rig.client, LOCK).read()

    assert records["a"] == Sent(to_ms(due), leader._tenure.sent["a"].at_ms)


@both
def test_a_tick_that_is_sent_is_told_once(rig: Rig, told: list[Ticked], kind: type[Scheduler]) -> None:
    [(_, due)] = ticked(rig.lead(kind, a=rig.every(2 * MINUTE)))

    text = due.isoformat(timespec="milliseconds")
    assert [tick._replace(ahead_s=None) for tick in told] == [Ticked(rig.app, "a", "t", text, "sent", 120.0)]


def test_a_tick_tells_how_far_the_clock_of_its_host_is_ahead(
    rig: Rig, told: list[Ticked], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = rig.lead(a=rig.every(2 * MINUTE))
    monkeypatch.setattr(type(leader._tenure.clock), "ahead_s", property(lambda _clock: 3.5))

    ticked(leader)

    assert [tick.ahead_s for tick in told] == [3.5]


def test_a_tick_that_another_beat_has_is_told_as_taken(rig: Rig, told: list[Ticked]) -> None:
    leader = rig.lead(a=rig.every(MINUTE))
    rig.sent("a", timedelta())

    assert ticked(leader) == []
    assert [tick.result for tick in told] == ["taken"]


@both
def test_an_entry_that_is_asked_for_too_early_is_told_once(
    rig: Rig, told: list[Ticked], kind: type[Scheduler]
) -> None:
    soon = now() + 10 * MINUTE
    rig.ahead = HOUR
    rig.sent("a", 23 * HOUR)

    assert ticked(rig.lead(kind, a=rig.cron(hour=soon.hour, minute=soon.minute))) == []
    assert [(tick.result, tick.interval_s) for tick in told] == [("early", 86400.0)]


@both
def test_a_tick_that_is_claimed_and_not_published_is_told_as_lost(
    rig: Rig, told: list[Ticked], kind: type[Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no broker")

    monkeypatch.setattr(Recording, "send_task", refuse)
    leader = rig.lead(kind, a=rig.every(MINUTE))

    with suppress(SchedulingError):
        ticked(leader)
    assert [tick.result for tick in told] == ["lost"]


def test_a_tick_whose_lease_has_ended_before_it_is_published_is_told_as_lost(
    rig: Rig, told: list[Ticked], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = rig.lead(a=rig.every(MINUTE))
    monkeypatch.setattr(leader._tenure, "leads", lambda: False)

    assert ticked(leader, 1) == []
    assert [tick.result for tick in told] == ["lost"]


def test_who_hears_of_ticks_and_fails_stops_none(rig: Rig) -> None:
    def fail(_: Ticked) -> None:
        raise ValueError("a listener")

    listen(Ticked, fail)
    try:
        assert len(ticked(rig.lead(a=rig.every(2 * MINUTE)))) == 1
    finally:
        unlisten(Ticked, fail)


def test_a_schedule_whose_interval_cannot_be_told_has_none(rig: Rig) -> None:
    class Odd(schedule):
        @property
        def seconds(self) -> float:
            raise ValueError("it depends")

    entry = SimpleNamespace(name="a", schedule=Odd(60, app=rig.app))

    assert rig.lead()._interval_s(entry) == 0.0
