"""Tally: what happened is what is counted, later and in few writes; Redis away keeps nobody waiting."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery

from celery_redislock import ConfigurationError, Holder, StoreUnavailable, events
from celery_redislock.messages.headers import BEAT_HEADER
from celery_redislock.observing import tally as tallies
from celery_redislock.observing.background import Background
from celery_redislock.observing.statistics import Statistics, read
from celery_redislock.observing.statistics_record import Batch, StatisticsRecord, of_task
from celery_redislock.observing.tally import Tally, destination_of
from celery_redislock.observing.tally_sheet import IN_A_BATCH, LOCKS_OF_A_TASK, Sheet

from ...support.applications import application, locked, with_own_tasks
from ...support.deadlines import eventually

NAME = "shop.import_csv"
LOCK: Any = SimpleNamespace(name="redislock:a")
HOLDER = Holder({"task": NAME, "id": "holder", "host": "worker2"})


def task_with(headers: dict[str, Any] | None = None, *, id: str = "id", retries: int = 0) -> Any:  # noqa: A002
    """Return a task in a run whose message has these headers."""
    request = SimpleNamespace(id=id, headers=headers or {}, retries=retries)
    return SimpleNamespace(name=NAME, request=request, request_stack=SimpleNamespace(top=request))


TASK = task_with()


def due(ago_s: float) -> dict[str, Any]:
    """Return the headers of a message of a beat."""
    at = datetime.now(timezone.utc) - timedelta(seconds=ago_s)
    return {BEAT_HEADER: {"entry": "nightly", "due": at.isoformat(timespec="milliseconds")}}


class Redis(StatisticsRecord):
    """A record that notes its writes, and can be away."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client, "redislock:")
        self.writes: list[Batch] = []
        self.is_away = False
        self.loses_replies = False
        self.is_over = False

    def add(self, batch: Batch, within_s: float = 5.0) -> None:
        """Add, unless it is away."""
        if self.is_over:
            return
        self.writes.append(batch)
        if self.is_away:
            raise StoreUnavailable("statistics of redislock:*", "Redis is away")
        super().add(batch, within_s)
        if self.loses_replies:
            raise StoreUnavailable("statistics of redislock:*", "no reply came")


@pytest.fixture
def record(client: redis.Redis) -> Iterator[Redis]:
    """Give the record of the app's locks; what is left to be written is not, once the test is over."""
    record = Redis(client)
    yield record
    record.is_over = True


@pytest.fixture
def background() -> Background:
    """Give a thread that works at once."""
    return Background(pause_s=0.001)


@pytest.fixture
def after(app: Celery, record: Redis, background: Background) -> Callable[..., Statistics]:
    """Give a function: what is read after these events were heard and the process has ended."""

    def after_(*heard: Any, scheduled: tuple[str, ...] = ()) -> Statistics:
        tally = Tally(record, scheduled, background)
        for event in heard:
            tally.hear(event)
        tally.close()
        assert background.flush(10)
        return read(app)

    return after_


def conflicted(action: str, task: Any = TASK, **fields: Any) -> events.Conflicted:
    return events.Conflicted(task, "id", LOCK.name, action, HOLDER, "it is busy", **fields)


COUNTED: list[tuple[Any, str, str]] = [
    (events.Acquired(TASK, "id", LOCK, "at_once", 0.0), "acquired", "at_once"),
    (events.Acquired(TASK, "id", LOCK, "waited", 2.0), "acquired", "waited"),
    (events.Released(TASK, "id", LOCK, 2.0, is_free=True), "runs", "locked"),
    (conflicted("skip"), "conflicts", "skip"),
    (conflicted("retry"), "conflicts", "retry"),
    (conflicted("put_off"), "conflicts", "put_off"),
    (conflicted("skip", is_published=False), "conflicts", "not_published"),
    (conflicted("coalesce", is_published=False), "conflicts", "coalesce"),
    (conflicted("skip", is_shadow=True), "shadow", "skip"),
    (events.Lost(TASK, "id", LOCK, "forced", "by force"), "lost", "forced"),
    (events.Lapsed(TASK, "id", LOCK.name, 300.0), "lapsed", ""),
    (events.Orphaned(TASK, "id", LOCK.name, "parent"), "orphans", "parent"),
    (events.Forced(None, LOCK.name, HOLDER), "forced", ""),
    (events.Ran(TASK, "id", "failed", 1.0), "runs", "failed"),
]


@pytest.mark.parametrize(("event", "kind", "word"), COUNTED, ids=lambda value: str(value)[:20])
def test_each_event_is_one_count(event: Any, kind: str, word: str, after: Any) -> None:
    task = after(event, event).tasks[NAME]

    assert task.count(kind, word) == 2
    assert {counted: number for counted, number in task.counts.items() if number} == {(kind, word): 2}


def test_every_kind_of_event_that_is_counted_has_a_case() -> None:
    rest = {events.Renewed, events.StoreFailed, events.Ticked}

    assert {type(event) for event, _, _ in COUNTED} | rest == set(tallies._NOTES)


def test_what_is_not_counted_is_let_pass(after: Any) -> None:
    assert after(events.Waiting(TASK, "id", LOCK, HOLDER)) == Statistics()


def test_lengths_of_time_are_counted(after: Any) -> None:
    task = after(
        events.Acquired(TASK, "id", LOCK, "waited", 2.0),
        events.Released(TASK, "id", LOCK, 30.0, is_free=True),
    ).task(NAME)

    assert task.percentile("wait", 0.5) == pytest.approx(2.0, rel=0.1)
    assert task.percentile("hold", 0.5) == pytest.approx(30.0, rel=0.1)
    assert task.percentile("run", 0.5) is None, "it is in no schedule"


def test_runs_of_the_schedule_have_their_times(after: Any) -> None:
    locked_ = events.Released(TASK, "id", LOCK, 30.0, is_free=True)
    plain = events.Ran(TASK, "id", "returned", 30.0)

    task = after(locked_, plain, scheduled=(NAME,)).task(NAME)

    assert task.samples("run") == 2
    assert task.percentile("run", 0.5) == pytest.approx(30.0, rel=0.1)


def runs_of_beat(*, is_locked: bool) -> list[Any]:
    """Return the events of a run that began a minute after its due time and took half a minute."""
    if not is_locked:
        return [events.Ran(task_with(due(90)), "id", "returned", 30.0)]
    return [
        events.Acquired(task_with(due(60)), "id", LOCK, "at_once", 0.0),
        events.Released(task_with(due(90)), "id", LOCK, 30.0, is_free=True),
    ]


@pytest.mark.parametrize("is_locked", [True, False])
def test_a_run_that_beat_has_sent_counts_for_its_entry(is_locked: bool, after: Any) -> None:
    found = after(*runs_of_beat(is_locked=is_locked))
    entry = found.entry("nightly")

    assert (entry.begun, entry.skipped) == (1, 0)
    assert entry.percentile("wait", 0.5) == pytest.approx(60, rel=0.1)
    assert entry.percentile("run", 0.5) == pytest.approx(30, rel=0.1)
    assert found.task(NAME).percentile("queue", 0.5) == pytest.approx(60, rel=0.1)


def test_a_retry_does_not_begin_an_entry_once_more(after: Any) -> None:
    retry = task_with(due(600), retries=1)

    assert after(events.Acquired(retry, "id", LOCK, "at_once", 0.0)).entries == {}


@pytest.mark.parametrize("action", ["skip", "fail", "superseded"])
def test_a_run_of_an_entry_that_does_not_run_is_skipped(action: str, after: Any) -> None:
    entry = after(conflicted(action, task_with(due(1)))).entry("nightly")

    assert (entry.skipped, entry.begun) == (1, 0)


def test_a_run_of_an_entry_that_is_not_published_is_skipped(after: Any) -> None:
    in_beat = task_with(id="")
    event = conflicted("skip", in_beat, is_published=False, headers=due(1))

    assert after(event).entry("nightly").count("skipped", "not_published") == 1


def test_a_beat_says_of_which_entry_the_call_is_that_it_does_not_publish(app: Celery) -> None:
    heard: list[events.Conflicted] = []
    hear = heard.append
    events.listen(events.Conflicted, hear)
    task = locked(app, lambda: None, name="t", lock_scope="task")
    task.apply_async()
    task.apply_async(headers=due(1))
    events.unlisten(events.Conflicted, hear)

    assert heard[0].headers[BEAT_HEADER]["entry"] == "nightly"


@pytest.mark.parametrize("fields", [{"action": "retry"}, {"action": "skip", "is_shadow": True}], ids=str)
def test_a_run_of_an_entry_that_runs_later_or_all_the_same_is_not_skipped(fields: Any, after: Any) -> None:
    assert after(conflicted(task=task_with(due(1)), **fields)).entry("nightly").skipped == 0


def test_a_superseded_call_is_told_from_the_run_that_ends_it(after: Any) -> None:
    """The run in whose process it is told may be of another entry, or of none."""
    other = task_with({BEAT_HEADER: {"entry": "other", "due": "2026-12-01T00:00:00Z"}}, id="another")

    entries = after(conflicted("superseded", other, headers=due(1))).entries

    assert entries.keys() == {"nightly"}
    assert after(conflicted("superseded", other)).entries.keys() == {"nightly"}, (
        "of this one nothing is known"
    )


@pytest.mark.parametrize("header", ["x", {}, {"entry": 5}, {"entry": "nightly"}, None], ids=repr)
def test_a_header_of_another_form_counts_for_no_entry(header: Any, after: Any) -> None:
    found = after(events.Acquired(task_with({BEAT_HEADER: header}), "id", LOCK, "at_once", 0.0))

    assert found.entries == {}
    assert found.task(NAME).count("acquired") == 1


def test_a_due_time_that_is_none_leaves_the_wait_out(after: Any) -> None:
    header = {BEAT_HEADER: {"entry": "nightly", "due": "soon"}}

    entry = after(events.Acquired(task_with(header), "id", LOCK, "at_once", 0.0)).entry("nightly")

    assert (entry.begun, entry.percentile("wait", 0.5)) == (1, None)


def test_ticks_and_the_interval_of_an_entry(after: Any) -> None:
    ticks = [
        events.Ticked(None, "nightly", NAME, "2026-12-01T00:00:00Z", result, 60.0)
        for result in ("sent", "sent", "taken")
    ]

    entry = after(*ticks).entry("nightly")

    assert (entry.ticks("sent"), entry.ticks("taken"), entry.ticks()) == (2, 1, 3)
    assert entry.interval_s == 60.0
    assert entry.ahead_s == 0.0


def test_the_clock_of_a_beat_is_that_of_its_last_tick(after: Any) -> None:
    ticks = [
        events.Ticked(None, "nightly", NAME, "2026-12-01T00:00:00Z", "sent", 60.0, ahead_s)
        for ahead_s in (9.0, -3.25)
    ]

    assert after(*ticks).entry("nightly").ahead_s == -3.25


def test_the_lock_idle_of_the_last_batch_that_lost_its_lock_is_kept(after: Any) -> None:
    lapses = [events.Lapsed(TASK, "id", LOCK.name, idle_s) for idle_s in (300.0, 0.5)]

    assert after(*lapses).task(NAME).idle_s == 0.5


def test_renewals_and_errors_are_of_all_locks(after: Any) -> None:
    engine = after(
        events.Renewed("renewed", 0.0),
        events.Renewed("failed", 9.0),
        events.StoreFailed("renew", "TimeoutError"),
    ).engine

    assert (engine.count("renewals", "renewed"), engine.count("renewals", "failed")) == (1, 1)
    assert engine.count("late") == 1
    assert engine.worst_late_s == pytest.approx(9.0, rel=0.1)
    assert engine.store_errors("renew", "TimeoutError") == 1


def test_the_last_conflicts_name_both_and_no_argument(after: Any) -> None:
    (met,) = (
        after(conflicted("skip"), conflicted("superseded"), conflicted("put_off")).task(NAME).last_conflicts
    )

    assert met[1:] == (LOCK.name, "id", "holder", "worker2", "skip")


def test_a_holder_that_says_nothing_of_itself(after: Any) -> None:
    found = after(conflicted("skip")._replace(holder=None), events.Forced(None, LOCK.name, None))

    assert found.task(NAME).last_conflicts[0][3:5] == ("", "")
    assert found.engine.count("forced") == 1


def test_different_locks_are_told_from_equal_ones(after: Any) -> None:
    same = [events.Acquired(TASK, "id", LOCK, "at_once", 0.0)] * 30
    others = [
        events.Acquired(TASK, "id", SimpleNamespace(name=f"redislock:{number}"), "at_once", 0.0)
        for number in range(20)
    ]

    assert after(*same, *others).task(NAME).distinct_locks == pytest.approx(21, abs=1)


# -- when it writes


@contextmanager
def stopped(background: Background) -> Iterator[None]:
    """Have the thread stand still for the length of a ``with`` block."""
    gate = threading.Event()
    background.put(lambda: gate.wait(20))
    try:
        yield
    finally:
        gate.set()


def acquired(number: int = 0) -> events.Acquired:
    return events.Acquired(TASK, "id", SimpleNamespace(name=f"redislock:{number}"), "at_once", 0.0)


def test_it_writes_now_and_then_and_not_at_each_event(
    app: Celery, record: Redis, background: Background
) -> None:
    tally = Tally(record, (), background, every_s=0.01)

    with stopped(background):
        for number in range(200):
            tally.hear(acquired(number))
    eventually(lambda: read(app).task(NAME).count("acquired") == 200)

    assert len(record.writes) == 1


def test_what_is_heard_after_a_write_is_in_the_next(
    app: Celery, record: Redis, background: Background
) -> None:
    """Also without another event that would tell the thread once more."""
    tally = Tally(record, (), background, every_s=0.02)
    for number in range(1, 4):
        tally.hear(acquired())
        tally._woken_at = -tallies.WAKE_S
        eventually(lambda number=number: read(app).task(NAME).count("acquired") == number)  # type: ignore[misc]

    assert len(record.writes) == 3


def test_without_events_nothing_is_written(record: Redis, background: Background) -> None:
    tally = Tally(record, (), background, every_s=0.01)
    tally.hear(acquired())
    eventually(lambda: record.writes)

    tally.close()
    background.flush(10)

    assert len(record.writes) == 1
    eventually(lambda: not background._later, message="nothing should be left for later")


def test_many_numbers_are_written_a_batch_a_second(
    app: Celery, record: Redis, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    paces: list[float] = []
    put_later = background.put_later

    def put_sooner(work: Any, after_s: float) -> None:
        paces.append(after_s)
        put_later(work, 0.001)

    monkeypatch.setattr(background, "put_later", put_sooner)
    tally = Tally(record, (), background)
    tasks = [
        SimpleNamespace(name=f"task-{number}", request_stack=TASK.request_stack)
        for number in range(IN_A_BATCH + 10)
    ]

    with stopped(background):
        for task in tasks:
            tally.hear(events.Acquired(task, "id", LOCK, "at_once", 0.0))
    eventually(lambda: len(read(app).tasks) == len(tasks) and not background._later)

    assert len(record.writes) == 3, "each task has a count and two times"
    assert paces == [tallies.EVERY_S, tallies.PACE_S, tallies.PACE_S]


# -- when Redis is away


def test_numbers_wait_until_redis_is_back_and_one_warning_says_so(
    app: Celery, record: Redis, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    record.is_away = True
    tally = Tally(record, (), background, every_s=0.01)

    with caplog.at_level(logging.WARNING):
        tally.hear(acquired())
        eventually(lambda: len(record.writes) >= 3)
        tally.hear(acquired())
    record.is_away = False

    tally._woken_at = -tallies.WAKE_S
    tally.hear(acquired())
    eventually(lambda: read(app).task(NAME).count("acquired") == 3)
    assert [each.getMessage() for each in caplog.records] == [
        "statistics could not be written: Redis is away; this process tries again, and does not say so"
    ]


def test_a_write_whose_reply_was_lost_counts_once(app: Celery, record: Redis, background: Background) -> None:
    record.loses_replies = True
    tally = Tally(record, (), background, every_s=0.01)
    tally.hear(acquired())
    eventually(lambda: len(record.writes) >= 2)
    record.loses_replies = False

    tally.close()
    assert background.flush(10)

    assert read(app).task(NAME).count("acquired") == 1


class WritesAnew(Sheet):
    """Makes a new batch of what was not acknowledged, as a wrong implementation would."""

    def next_batch(self) -> Batch:
        """Return the same numbers under a new mark."""
        batch = super().next_batch()
        self._pending = Batch(batch.counts, batch.latest, batch.times, batch.locks, batch.conflicts)
        return self._pending


def test_the_mark_of_a_batch_is_what_keeps_it_from_counting_twice(
    app: Celery, record: Redis, background: Background
) -> None:
    """Else the test above would prove nothing."""
    record.loses_replies = True
    tally = Tally(record, (), background, every_s=0.01)
    tally._sheet = WritesAnew()

    tally.hear(acquired())
    eventually(lambda: len(record.writes) >= 3)

    assert read(app).task(NAME).count("acquired") > 1


def test_at_the_end_it_gives_up_where_redis_is_away(record: Redis, background: Background) -> None:
    record.is_away = True
    tally = Tally(record, (), background)
    tally.hear(acquired())

    tally.close()

    assert background.flush(10)
    assert len(record.writes) == 1


def test_a_run_never_waits_for_a_write(record: Redis, background: Background) -> None:
    gate = threading.Event()
    background.put(lambda: gate.wait(20))
    tally = Tally(record, (), background)

    for _ in range(100):
        tally.hear(acquired())

    assert record.writes == []
    gate.set()
    assert background.flush(10)


def test_more_events_than_wait_are_counted_as_dropped(
    app: Celery, record: Redis, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "MOST_HEARD", 5)
    gate = threading.Event()
    background.put(lambda: gate.wait(20))
    tally = Tally(record, (), background)

    for _ in range(8):
        tally.hear(acquired())
    gate.set()
    tally.close()
    assert background.flush(10)

    found = read(app)
    assert (found.task(NAME).count("acquired"), found.engine.count("dropped")) == (5, 3)


def test_however_many_different_locks_a_sheet_stays_small() -> None:
    sheet = Sheet()

    for number in range(3 * LOCKS_OF_A_TASK):
        sheet.add_lock(of_task(NAME), f"redislock:{number}")

    batch = sheet.next_batch()
    assert len(batch.locks[NAME]) == LOCKS_OF_A_TASK
    assert sum(batch.times.values()) == LOCKS_OF_A_TASK, "and says how many it has looked at"


# -- settings


@pytest.fixture
def made() -> Iterator[Callable[..., Any]]:
    """Give a function: what an app with these settings has."""
    apps: list[Celery] = []

    def make(**settings: Any) -> Tally | None:
        app = application("redis://127.0.0.1:1/0", **settings)
        apps.append(app)
        return destination_of(app)

    yield make
    for app in apps:
        app.close()


def test_statistics_are_on_unless_they_are_turned_off(made: Any) -> None:
    assert isinstance(made(), Tally)
    assert made(redislock_stats=False) is None


@pytest.mark.parametrize("value", ["no", 0, 1, []], ids=repr)
def test_the_setting_is_true_or_false(value: Any, made: Any) -> None:
    with pytest.raises(ConfigurationError, match="redislock_stats setting must be True or False"):
        made(redislock_stats=value)


def test_where_no_task_takes_a_lock_no_redis_is_looked_for() -> None:
    app = with_own_tasks(Celery("app", broker="memory://", set_as_current=False))
    locked(app, lambda: None, name="t", lock_mode="off")

    assert destination_of(app) is None
    app.close()


def test_the_tasks_of_the_schedule_are_known(made: Any) -> None:
    tally = made(beat_schedule={"nightly": {"task": NAME, "schedule": 60}})

    assert tally._scheduled == {NAME}
