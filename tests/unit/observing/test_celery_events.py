"""Celery events: what monitors are told of locks, by which setting, and that it is no state of a task."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals, states
from celery.events.dumper import Dumper
from celery.events.event import Event
from celery.events.state import State

from celery_redislock import ConfigurationError, Holder
from celery_redislock.events import Acquired, Conflicted, Forced, Lost, Orphaned, Released, Waiting
from celery_redislock.observing.celery_events import ALL, RARE, CeleryEvents, destination_of

from ...support.applications import busy, locked
from ...support.deadlines import eventually

TASK: Any = SimpleNamespace(name="shop.import_csv", send_events=True)
LOCK: Any = SimpleNamespace(name="redislock:a", fencing_token=7)
HOLDER = Holder({"id": "8f0c", "host": "worker2"}, lease_left=24.3, fencing_token=6)
SKIP = Conflicted(TASK, "3f1c", "redislock:a", "skip", HOLDER, "it is busy", waited_s=0.2)
SUPERSEDED = SKIP._replace(action="superseded", reason="superseded by task 8f0c", is_pending=True)


class Sent:
    """Takes the place of the sender, and lists what it is given."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def put(self, type_: str, fields: dict[str, Any]) -> None:
        self.events.append((type_, fields))

    def types(self) -> list[str]:
        return [type_ for type_, _ in self.events]


@pytest.fixture
def sent() -> Sent:
    """Give what is sent."""
    return Sent()


@pytest.fixture
def monitor(app: Celery) -> Iterator[Any]:
    """Give a receiver as monitors have it: called with a number, it returns so many events."""
    seen: list[dict[str, Any]] = []
    with app.connection_for_read() as given:
        receiver = app.events.Receiver(given, handlers={"*": seen.append})
        with receiver.consumer_context() as (connection, *_):

            def drained(number: int) -> bool:
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.2)
                return len(seen) >= number

            yield lambda number: eventually(lambda: drained(number)) and seen


def word_of(app: Celery) -> set[str]:
    """Return the types of events that the settings of an app ask for."""
    destination = destination_of(app)
    return set() if destination is None else set(destination._types.values())


# ---- the setting


def test_nothing_is_sent_where_nobody_asks_for_celerys_events(app: Celery) -> None:
    assert destination_of(app) is None


def test_where_the_setting_wants_celerys_events_the_rare_ones_are_sent(app: Celery) -> None:
    app.conf.worker_send_task_events = True

    assert word_of(app) == {"lock-conflict", "lock-lost", "lock-orphaned", "lock-forced"}


def test_where_the_command_line_wants_celerys_events_the_rare_ones_are_sent(app: Celery) -> None:
    worker = SimpleNamespace(app=app)
    signals.celeryd_init.send(
        sender="worker@here", instance=worker, conf=app.conf, options={"task_events": True}
    )

    destination = destination_of(app)
    assert destination is not None
    assert destination._sender._hostname == "worker@here"
    assert word_of(app) == set(RARE.values())


@pytest.mark.parametrize(("word", "types"), [("rare", RARE), ("all", ALL), ("off", {})])
def test_the_setting_says_which_are_sent(app: Celery, word: str, types: dict[Any, str]) -> None:
    app.conf.redislock_events = word

    assert word_of(app) == set(types.values())


@pytest.mark.parametrize("wrong", ["none", True, ["all"]])
def test_another_word_is_refused(app: Celery, wrong: Any) -> None:
    app.conf.redislock_events = wrong

    with pytest.raises(ConfigurationError, match='redislock_events setting must be "rare", "all" or "off"'):
        destination_of(app)


# ---- what is sent


@pytest.mark.parametrize(
    ("event", "type_"),
    [
        (SKIP, "lock-conflict"),
        (Lost(TASK, "3f1c", LOCK, "taken", "it is free"), "lock-lost"),
        (Orphaned(TASK, "3f1c", "redislock:a", "parent"), "lock-orphaned"),
        (Forced(None, "redislock:a", HOLDER), "lock-forced"),
        (Waiting(TASK, "3f1c", LOCK, HOLDER), "lock-waiting"),
        (Acquired(TASK, "3f1c", LOCK, "at_once", 0.0), "lock-acquired"),
        (Released(TASK, "3f1c", LOCK, 2.5, is_free=True), "lock-released"),
    ],
)
def test_each_event_has_its_type_and_names_its_lock(event: Any, type_: str, sent: Sent) -> None:
    CeleryEvents(ALL, sent, ends_tasks=False).hear(event)  # type: ignore[arg-type]

    ((found, fields),) = sent.events
    assert (found, fields["lock"]) == (type_, "redislock:a")


def test_a_task_of_which_monitors_are_told_nothing_sends_nothing(sent: Sent) -> None:
    quiet: Any = SimpleNamespace(name="quiet", send_events=False)

    CeleryEvents(ALL, sent, ends_tasks=True).hear(SUPERSEDED._replace(task=quiet))  # type: ignore[arg-type]

    assert sent.events == []


def test_the_end_of_a_superseded_call_is_told_as_celery_tells_it(sent: Sent) -> None:
    CeleryEvents({}, sent, ends_tasks=True).hear(SUPERSEDED)  # type: ignore[arg-type]

    ((type_, fields),) = sent.events
    assert type_ == "task-revoked"
    assert (fields["uuid"], fields["result"]) == ("3f1c", "superseded by task 8f0c")


def test_the_end_of_a_call_that_a_worker_tells_is_not_told_twice(sent: Sent) -> None:
    events = CeleryEvents(RARE, sent, ends_tasks=True)  # type: ignore[arg-type]
    events.hear(SKIP)
    events.hear(SUPERSEDED._replace(is_pending=False))

    assert sent.types() == ["lock-conflict", "lock-conflict"]


# ---- from a call to a monitor


def test_a_monitor_gets_the_events_of_a_call_with_the_fields_of_its_log_line(
    app: Celery, monitor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app.conf.redislock_events = "all"
    task = locked(app, lambda word: None, name="t", lock_wait=0.05)
    with caplog.at_level("INFO", "celery_redislock"):
        with busy(task, "a secret"):
            skipped = task.apply(("a secret",))
        task.apply(("a secret",))

    events = monitor(4)
    assert [event["type"] for event in events] == [
        "lock-waiting",
        "lock-conflict",
        "lock-acquired",
        "lock-released",
    ]
    conflict = events[1]
    (line,) = [record for record in caplog.records if "skip: " in record.getMessage()]
    fields = {n.removeprefix("redislock_"): v for n, v in vars(line).items() if n.startswith("redislock_")}
    assert fields["task_id"] == skipped.id
    assert {name: conflict[name] for name in fields if name != "held_for"} == {
        name: value for name, value in fields.items() if name != "held_for"
    } | {"lease_left": conflict["lease_left"]}
    assert "a secret" not in str(events)


# ---- what monitors make of them


def seen_by_celery(*events: dict[str, Any]) -> Any:
    """Return the task as Celery's state of a cluster has it after these events; Flower's rests on that."""
    state: Any = State()
    for number, event in enumerate(events):
        state.event(
            {**event, "hostname": "w@here", "timestamp": number, "local_received": number, "clock": number}
        )
    assert list(state.workers) == ["w@here"]
    return state.tasks["3f1c"]


RECEIVED = {"type": "task-received", "uuid": "3f1c", "name": "t"}
STARTED = {"type": "task-started", "uuid": "3f1c"}
REVOKED = {"type": "task-revoked", "uuid": "3f1c", "result": "it is busy"}


@pytest.mark.parametrize("type_", ALL.values())
def test_a_monitor_shows_the_state_of_the_task_and_the_reason(type_: str) -> None:
    told = {"type": type_, "uuid": "3f1c", "task_id": "3f1c", "task": "t", "action": "skip"}

    task = seen_by_celery(RECEIVED, STARTED, told, REVOKED)

    assert (task.state, task.result) == (states.REVOKED, "it is busy")


def test_a_type_of_celerys_own_group_would_hide_the_state_of_the_task() -> None:
    """What the test above would find if we called ours so."""
    told = {"type": "task-lock-conflict", "uuid": "3f1c"}

    assert seen_by_celery(RECEIVED, STARTED, told, REVOKED).state == "LOCK-CONFLICT"


def test_celery_events_prints_them() -> None:
    printed = io.StringIO()
    event = Event("lock-conflict", hostname="w@here", clock=1, action="skip", lock="redislock:a")
    Dumper(out=printed).on_event(event)  # type: ignore[no-untyped-call]

    assert "lock conflict: action=skip, clock=1, lock=redislock:a" in printed.getvalue()
