"""Background: work is done in order and once, whatever fails, ends or forks meanwhile."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from celery_redislock.observing import background
from celery_redislock.observing.background import Background, background_here

from ...support.deadlines import eventually


def quick() -> Background:
    """Return one that works at once."""
    return Background(pause_s=0.001)


def blocked(works: Background) -> threading.Event:
    """Have its thread stand still; return what ends that."""
    gate, stands = threading.Event(), threading.Event()

    def stand() -> None:
        stands.set()
        gate.wait(20)

    works.put(stand)
    assert stands.wait(10)
    return gate


def test_work_is_done_in_the_order_in_which_it_came() -> None:
    works, done = quick(), list[int]()

    for number in range(500):
        works.put(lambda number=number: done.append(number))  # type: ignore[misc]

    assert works.flush(10)
    assert done == list(range(500))


def test_it_is_done_in_another_thread() -> None:
    works, seen = quick(), list[int]()

    works.put(lambda: seen.append(threading.get_ident()))

    eventually(lambda: seen)
    assert seen != [threading.get_ident()]


def test_what_fails_is_logged_and_the_rest_is_done(caplog: pytest.LogCaptureFixture) -> None:
    works, done = quick(), list[int]()

    with caplog.at_level(logging.ERROR):
        works.put(lambda: 1 / 0)
        works.put(lambda: done.append(1))
        assert works.flush(10)

    assert done == [1]
    assert "what was seen of a lock could not be passed on" in caplog.text


def leave() -> None:
    """End the thread that does this, as no work should."""
    raise SystemExit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_work_has_ended_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "BEGUN_S", 0.0)
    works, done = quick(), list[int]()
    works.put(leave)
    eventually(lambda: not works._work and not works._duty.locked())

    works.put(lambda: done.append(1))

    assert works.flush(10)
    assert done == [1]


def test_who_leaves_work_never_waits_for_a_thread_that_stands_still() -> None:
    works, done = quick(), list[int]()
    gate = blocked(works)

    works.put(lambda: done.append(1))

    assert not works.flush(0.01), "it cannot be done yet, and nobody waits longer than he said"
    gate.set()
    assert works.flush(10)
    assert done == [1]


def test_of_too_much_work_the_latest_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MOST", 3)
    works, done = quick(), list[int]()
    gate = blocked(works)

    for number in range(5):
        works.put(lambda number=number: done.append(number))  # type: ignore[misc]
    gate.set()

    assert works.flush(10), "a flush is never dropped"
    assert (done, works.dropped) == ([0, 1, 2], 2)


def test_a_thread_without_work_ends_and_another_begins_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "IDLE_PAUSES", 2)
    monkeypatch.setattr(background, "BEGUN_S", 0.0)
    works = quick()
    for _ in range(3):
        done = list[int]()
        works.put(lambda done=done: done.append(1))  # type: ignore[misc]
        eventually(lambda done=done: done)  # type: ignore[misc]
        eventually(lambda: not works._duty.locked(), message="the idle thread should end")


class LeavesAtOnce(Background):
    """Does not look once more before its thread ends: what came at that moment stays."""

    def _run(self) -> None:
        with self._duty:
            self._serve()


@pytest.mark.parametrize("kind", [Background, LeavesAtOnce])
def test_work_that_comes_as_the_thread_ends_is_done(
    kind: type[Background], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "IDLE_PAUSES", 1)
    works, done = kind(pause_s=0.001), list[int]()
    serve = works._serve

    def serve_then_get_more() -> None:
        serve()
        if not done:
            # As `put` does while the duty is still taken.
            works._work.append(lambda: done.append(1))

    monkeypatch.setattr(works, "_serve", serve_then_get_more)
    works.put(lambda: None)

    eventually(lambda: not works._duty.locked() and (done or works._work))
    if kind is Background:
        eventually(lambda: done)
    else:
        assert not done, "the wrong one leaves it undone"


@pytest.mark.parametrize("threads", [8])
def test_one_thread_works_however_many_leave_work_at_once(threads: int) -> None:
    works, working, most = quick(), list[int](), list[int]()
    begin_together = threading.Barrier(threads)

    def work() -> None:
        working.append(1)
        most.append(len(working))
        working.pop()

    def leave_work() -> None:
        begin_together.wait(10)
        for _ in range(200):
            works.put(work)

    leaving = [threading.Thread(target=leave_work) for _ in range(threads)]
    for thread in leaving:
        thread.start()
    for thread in leaving:
        thread.join()

    assert works.flush(10)
    assert max(most) == 1
    assert len(most) == threads * 200


def test_a_put_that_a_signal_interrupts_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A soft time limit may raise anywhere: here before the thread is begun."""
    works, done = quick(), list[int]()

    def interrupted(*_: Any) -> bool:
        raise TimeoutError("a soft time limit")

    with monkeypatch.context() as patch:
        patch.setattr(background, "begin", interrupted)
        with pytest.raises(TimeoutError):
            works.put(lambda: done.append(1))
    monkeypatch.setattr(background, "BEGUN_S", 0.0)

    works.put(lambda: done.append(2))

    eventually(lambda: done == [1, 2])


def test_without_a_thread_a_flush_does_the_work_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of the interpreter."""
    monkeypatch.setattr(background, "begin", lambda *_: False)
    works, done = quick(), list[int]()
    works.put(lambda: done.append(1))

    assert works.flush(10)
    assert done == [1]


def test_later_is_not_before_its_time_and_not_out_of_order() -> None:
    works, done = quick(), list[str]()
    works.put_later(lambda: done.append("last"), 0.06)
    works.put_later(lambda: done.append("first"), 0.03)
    works.put_later(lambda: done.append("much later"), 3600)
    works.put(lambda: done.append("at once"))

    eventually(lambda: len(done) == 3)

    assert done == ["at once", "first", "last"]


def test_a_thread_with_something_for_later_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "IDLE_PAUSES", 1)
    works, done = quick(), list[int]()

    works.put_later(lambda: done.append(1), 0.05)

    eventually(lambda: done)


def in_a_fork(check: Callable[[], bool]) -> bool:
    """Return what a check says in the child of a fork."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = int(not check())
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def test_the_child_of_a_fork_has_a_thread_of_its_own() -> None:
    """The parent's stays behind, with the duty that it held."""
    parents = background_here()
    parents.put(lambda: None)
    eventually(parents._duty.locked)
    done = list[int]()

    def works_in_the_child() -> bool:
        background_here().put(lambda: done.append(1))
        return background_here().flush(20) and done == [1] and background_here() is not parents

    assert background_here() is parents
    assert in_a_fork(works_in_the_child)
    assert in_a_fork(lambda: not parents.flush(0.05)), "else the check would prove nothing"
    assert done == []
