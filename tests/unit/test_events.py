"""Events: every listener hears, and none can break who tells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celery_redislock import events
from celery_redislock.events import Renewed, StoreFailed, let_pass, listen, tell, unlisten

EVENT = Renewed("renewed", 0.25)


class Interruption(Exception):
    """Stands for what is raised in a run from outside."""


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    """Give a list; `listening` puts into it."""
    before, knowers = dict(events._listeners), events._knowers
    yield []
    events._listeners.clear()
    events._listeners.update(before)
    events._knowers = knowers


def fails(_: Any) -> None:
    """Listen, wrongly."""
    raise RuntimeError("an observer is broken")


def test_an_event_goes_to_each_listener_of_its_kind(heard: list[Any]) -> None:
    listen(Renewed, heard.append)
    listen(Renewed, lambda event: heard.append(event.late_s))

    tell(EVENT)
    tell(StoreFailed("acquire", "TimeoutError"))

    assert heard == [EVENT, 0.25]


def test_a_listener_that_fails_is_logged_and_the_others_hear(
    heard: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    for listener in (fails, heard.append):
        listen(Renewed, listener)

    with caplog.at_level(logging.ERROR):
        tell(EVENT)

    assert heard == [EVENT]
    assert "a listener to Renewed events has failed" in caplog.text
    assert "an observer is broken" in caplog.text


def is_struck(_: Any) -> None:
    """Be in the middle of something when the run is interrupted."""
    raise Interruption


def test_an_interruption_of_the_run_goes_on_once_all_have_heard(
    heard: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    let_pass(lambda error: isinstance(error, Interruption))
    for listener in (is_struck, fails, heard.append):
        listen(Renewed, listener)

    with pytest.raises(Interruption):
        tell(EVENT)

    assert heard == [EVENT]
    assert "an observer is broken" in caplog.text
    assert "Interruption" not in caplog.text


def test_what_nobody_knows_as_an_interruption_is_the_listeners(heard: list[Any]) -> None:
    """Else the test above would prove nothing."""
    for listener in (is_struck, heard.append):
        listen(Renewed, listener)

    tell(EVENT)

    assert heard == [EVENT]


def unsafe_tell(event: Any) -> None:
    """Tell as the wrong implementation would: what a listener raises goes on."""
    for listener in events._listeners.get(type(event), ()):
        listener(event)


@pytest.mark.parametrize("told_by", [tell, unsafe_tell])
def test_the_safety_of_telling_is_ours(heard: list[Any], told_by: Callable[[Any], None]) -> None:
    """Else the test above would prove nothing."""
    listen(Renewed, fails)

    try:
        told_by(EVENT)
    except RuntimeError:
        assert told_by is unsafe_tell
    else:
        assert told_by is tell


def test_who_listens_twice_hears_once(heard: list[Any]) -> None:
    for _ in range(2):
        listen(Renewed, heard.append)

    tell(EVENT)

    assert heard == [EVENT]


def test_who_listens_no_more_hears_no_more(heard: list[Any]) -> None:
    listen(Renewed, heard.append)
    unlisten(Renewed, heard.append)
    unlisten(StoreFailed, heard.append)

    tell(EVENT)

    assert heard == []


def test_a_listener_may_leave_while_it_hears(heard: list[Any]) -> None:
    def once(event: Any) -> None:
        unlisten(Renewed, once)
        heard.append(event)

    listen(Renewed, once)
    listen(Renewed, heard.append)

    for _ in range(2):
        tell(EVENT)

    assert heard == [EVENT] * 3


def test_no_event_can_be_changed() -> None:
    """One listener must not tell the next something else."""
    with pytest.raises(AttributeError):
        EVENT.result = "lost"  # type: ignore[misc]
