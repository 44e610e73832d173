"""Schedule statistics: what is counted of an entry, whatever becomes of its messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.beat import Scheduler

from celery_redislock import events
from celery_redislock.messages.headers import BEAT_HEADER
from celery_redislock.observing.schedule_statistics import Added, Tick, at_begin, of_event, tick_in

from ...support.applications import busy, locked

DUE_S = 1_795_992_800.0
HEADER = {"entry": "import", "due": "2026-11-29T22:53:20.000+00:00"}
HEADERS = {BEAT_HEADER: HEADER}


@pytest.fixture
def added() -> Iterator[list[Added]]:
    """Give what the events of the test add, in their order."""
    heard: list[Added] = []

    def hear(event: Any) -> None:
        heard.extend(of_event(event, DUE_S + 7))

    kinds = (events.Acquired, events.Released, events.Conflicted, events.Ticked)
    for kind in kinds:
        events.listen(kind, hear)
    yield heard
    for kind in kinds:
        events.unlisten(kind, hear)


def counts(added: list[Added]) -> dict[str, int]:
    """Return how often each kind was counted."""
    return dict(Counter(each.kind for each in added))


def test_a_message_of_a_beat_says_which_due_time_it_is_for() -> None:
    assert tick_in(HEADERS) == Tick("import", DUE_S)


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {},
        {BEAT_HEADER: "import"},
        {BEAT_HEADER: {"entry": "import"}},
        {BEAT_HEADER: {"entry": 7, "due": HEADER["due"]}},
        {BEAT_HEADER: {"entry": "import", "due": "noon"}},
    ],
)
def test_a_header_that_no_beat_has_written_says_nothing(headers: Any) -> None:
    assert tick_in(headers) is None


def test_a_run_counts_as_begun_with_its_wait_and_its_time(app: Celery, added: list[Added]) -> None:
    locked(app, lambda: None, name="t").apply(headers=HEADERS).get()

    assert counts(added) == {"begun": 1, "wait": 1, "run": 1}
    assert added[:2] == [Added("import", "begun"), Added("import", "wait", seconds=7.0)]


def test_a_run_that_no_beat_has_sent_is_not_counted(app: Celery, added: list[Added]) -> None:
    locked(app, lambda: None, name="t").apply().get()

    assert not added


def test_a_retry_is_no_due_time_of_its_own(app: Celery, added: list[Added]) -> None:
    def body(self: Any) -> None:
        if not self.request.retries:
            raise self.retry(countdown=0)

    locked(app, body, name="t", bind=True).apply(headers=HEADERS).get()

    assert counts(added) == {"begun": 1, "wait": 1, "run": 2}


@pytest.mark.parametrize(
    ("policy", "counted"),
    [
        ("skip", {"skipped": 1}),
        ("fail", {"skipped": 1}),
        ("coalesce", {}),
    ],
)
def test_a_run_that_finds_its_lock_busy_counts_as_skipped_unless_another_stands_for_it(
    app: Celery, added: list[Added], policy: str, counted: dict[str, int]
) -> None:
    task = locked(app, lambda: None, name="t", lock_on_conflict=policy)
    with busy(task):
        task.apply(headers=HEADERS)

    assert counts(added) == counted


def test_a_run_of_a_trial_counts_as_begun(app: Celery, added: list[Added]) -> None:
    task = locked(app, lambda: None, name="t", lock_mode="shadow")
    with busy(task):
        task.apply(headers=HEADERS).get()

    assert counts(added) == {"begun": 1, "wait": 1}


def test_a_message_that_is_not_published_counts_as_skipped(app: Celery, added: list[Added]) -> None:
    locked(app, lambda: None, name="t", lock_scope="task").apply_async(headers=HEADERS)
    entry = Scheduler(app, lazy=True).Entry(
        "import", "t", schedule=60, options={"headers": dict(HEADERS)}, app=app
    )
    Scheduler(app, lazy=True).apply_async(entry, advance=False)

    assert counts(added) == {"skipped": 1}


@pytest.mark.parametrize(
    ("interval_s", "kinds"), [(60.0, {"ticks": 1, "interval_s": 1}), (0.0, {"ticks": 1})]
)
def test_a_due_time_is_counted_by_its_result(
    app: Celery, added: list[Added], interval_s: float, kinds: dict[str, int]
) -> None:
    events.tell(events.Ticked(app, "import", "t", HEADER["due"], "sent", interval_s))

    assert added[0] == Added("import", "ticks", "sent")
    assert counts(added) == kinds


def test_a_clock_that_is_behind_gives_no_wait_below_zero(app: Celery) -> None:
    task = locked(app, lambda: None, name="t")
    task.push_request(headers=HEADERS, retries=0)
    try:
        assert at_begin(task.request, DUE_S - 5)[1].seconds == 0.0
    finally:
        task.pop_request()
