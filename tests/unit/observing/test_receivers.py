"""Receivers: each destination of an app hears its events, and none touches a run or the end of a process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals
from celery.exceptions import SoftTimeLimitExceeded

from celery_redislock import ConfigurationError, events
from celery_redislock.observing import destinations, receivers
from celery_redislock.observing.background import background_here
from celery_redislock.observing.destinations import all_destinations, destinations_of

from ...support.applications import locked

LOCK: Any = SimpleNamespace(name="redislock:a")


class Ear:
    """A destination that remembers."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.heard: list[Any] = []
        self.closed: list[int] = []

    def hear(self, event: Any) -> None:
        """Remember."""
        self.heard.append(event)

    def close(self) -> None:
        """Remember that it was closed, and what was heard until then."""
        self.closed.append(len(self.heard))


class Raises(Ear):
    """Fails at each event."""

    def hear(self, event: Any) -> None:
        """Fail."""
        raise RuntimeError("broken")

    def close(self) -> None:
        """Fail."""
        raise RuntimeError("broken at the end")


class IsStruck(Ear):
    """Is in the middle of it when the soft time limit of the run is over."""

    def hear(self, event: Any) -> None:
        """Be interrupted."""
        raise SoftTimeLimitExceeded


class NeverCloses(Ear):
    """Waits for a collector that does not answer."""

    gate = threading.Event()

    def close(self) -> None:
        """Wait."""
        self.gate.wait(20)


class LeavesWork(Ear):
    """Leaves what it has heard to the background, as it should; what is left too, when it is closed."""

    def hear(self, event: Any) -> None:
        """Leave it."""
        background_here().put(lambda: self.heard.append(event))

    def close(self) -> None:
        """Leave the last of it."""
        super().close()
        background_here().put(lambda: self.heard.append("the end"))


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the destinations of other tests, and what was reported in them."""
    monkeypatch.setattr(destinations, "_made", type(destinations._made)())
    monkeypatch.setattr(receivers, "_reported", set())


@pytest.fixture
def going_to(monkeypatch: pytest.MonkeyPatch, app: Celery) -> Callable[..., list[Any]]:
    """Give an app these destinations, and return them."""

    def go(*makers: Any) -> list[Any]:
        monkeypatch.setattr(destinations, "MAKERS", makers)
        return list(destinations_of(app))

    return go


@pytest.fixture
def task(app: Celery) -> Any:
    """Give a task of the app."""
    return locked(app, lambda: None, name="t")


def acquired(task: Any) -> events.Acquired:
    return events.Acquired(task, "id", LOCK, "at_once", 0.0)


def test_a_soft_time_limit_that_strikes_in_a_destination_is_the_runs(
    task: Any, going_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _, ear = going_to(IsStruck, Ear)

    with pytest.raises(SoftTimeLimitExceeded):
        events.tell(acquired(task))

    assert ear.heard
    assert "could not pass on" not in caplog.text


def test_each_destination_hears_each_event_of_its_app(task: Any, going_to: Any) -> None:
    one, other = going_to(Ear, Ear)

    events.tell(acquired(task))
    events.tell(events.Ticked(task.app, "nightly", "t", "2026-12-01T00:00:00Z", "sent", 60.0))

    assert [type(event) for event in one.heard] == [events.Acquired, events.Ticked]
    assert one.heard == other.heard


def test_another_apps_events_are_not_heard(task: Any, going_to: Any) -> None:
    (ear,) = going_to(Ear)
    other = Celery("other", set_as_current=False)

    events.tell(events.Ticked(other, "nightly", "t", "2026-12-01T00:00:00Z", "sent", 60.0))

    assert ear.heard == []
    assert len(all_destinations()) == 2
    other.close()


def test_what_the_engine_tells_is_heard_by_all(task: Any, going_to: Any) -> None:
    (ear,) = going_to(Ear)

    events.tell(events.Renewed("renewed", 0.0))

    assert ear.heard == [events.Renewed("renewed", 0.0)]


def test_a_destination_that_fails_is_reported_once_and_the_others_hear(
    task: Any, going_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _, ear = going_to(Raises, Ear)

    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            events.tell(acquired(task))

    assert len(ear.heard) == 3
    assert caplog.text.count("Raises could not pass on what was seen; it is not said again") == 1


def test_a_run_goes_on_beside_a_destination_that_fails(app: Celery, going_to: Any) -> None:
    going_to(Raises)
    task = locked(app, lambda: "done", name="runs")

    result = task.apply()

    assert result.get() == "done"
    assert not task.lock_for().locked()


def test_an_app_without_a_destination_asks_for_nothing(task: Any, going_to: Any) -> None:
    assert going_to(lambda _: None) == []

    events.tell(acquired(task))
    receivers.close()


def test_a_wrong_setting_is_logged_once_and_stops_no_run(
    task: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: Celery) -> None:
        raise ConfigurationError("redislock_x setting must be a bool")

    monkeypatch.setattr(destinations, "MAKERS", (refuse,))

    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            events.tell(acquired(task))

    assert (
        caplog.text.count("nothing is seen of the locks of this process: redislock_x setting must be a bool")
        == 1
    )


def test_destinations_are_made_once(app: Celery, going_to: Any) -> None:
    made = going_to(Ear)

    assert list(destinations_of(app)) == made


def test_threads_that_come_at_once_are_given_the_same(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one of them tells must not go to a destination that is forgotten, and never closed."""
    together = threading.Barrier(2)

    def slow(app: Celery) -> Ear:
        together.wait(10)
        return Ear(app)

    monkeypatch.setattr(destinations, "MAKERS", (slow,))
    given: list[Any] = []
    threads = [threading.Thread(target=lambda: given.append(destinations_of(app))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert given[0] is given[1]
    assert list(given[0]) == all_destinations()


def test_the_child_of_a_fork_makes_its_own(task: Any, going_to: Any) -> None:
    (parents,) = going_to(Ear)
    child = os.fork()
    if not child:
        code = 1
        try:
            events.tell(acquired(task))
            (own,) = all_destinations()
            code = int(not (len(own.heard) == 1 and own is not parents and parents.heard == []))
        finally:
            os._exit(code)

    assert os.waitpid(child, 0)[1] == 0


# -- the end of a process


def test_at_the_end_what_was_left_to_the_background_is_done_first(task: Any, going_to: Any) -> None:
    ears = going_to(LeavesWork, LeavesWork)
    for _ in range(3):
        events.tell(acquired(task))

    receivers.close()

    assert [ear.closed for ear in ears] == [[3], [3]]
    assert [ear.heard[-1] for ear in ears] == ["the end"] * 2, "also what they leave when they are closed"


@pytest.fixture
def _open_gate() -> Iterator[None]:
    """Let who never closes end with the test."""
    yield
    NeverCloses.gate.set()


@pytest.mark.usefixtures("_open_gate")
def test_one_that_does_not_close_keeps_neither_the_others_nor_the_process(
    going_to: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(receivers, "LAST_S", 0.3)
    monkeypatch.setattr(receivers, "LEAST_S", 0.1)
    *_, last = going_to(NeverCloses, Raises, Ear)

    with caplog.at_level(logging.ERROR):
        receivers.close()

    assert last.closed == [0]
    assert "Raises could not pass on what was seen" in caplog.text


def test_at_the_end_of_the_interpreter_it_closes_without_a_thread(
    going_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "begin", lambda *_: False)
    (ear,) = going_to(Ear)

    receivers.close()

    assert ear.closed == [0]


@pytest.mark.parametrize("signal", [signals.worker_process_shutdown, signals.worker_shutdown])
def test_celery_tells_when_a_process_ends(signal: Any, going_to: Any) -> None:
    (ear,) = going_to(Ear)

    signal.send(sender=None)

    assert ear.closed == [0]


def test_what_is_told_while_releases_are_confirmed_is_passed_on() -> None:
    """Celery calls receivers in the order in which they were connected."""
    names = [
        receiver[1]().__name__ if hasattr(receiver[1], "__self__") else getattr(receiver[1], "__name__", "")
        for receiver in signals.worker_process_shutdown.receivers
    ]

    assert names.index("confirm_releases") < names.index("close")
