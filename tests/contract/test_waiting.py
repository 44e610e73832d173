"""Waiting: first come, first served; woken at once; as long as told; who leaves holds up nobody."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest

from ..support.deadlines import eventually
from .kinds import Can
from .trial import Trial

pytestmark = pytest.mark.needs(Can.WAIT)


@pytest.mark.needs(Can.STAND_IN_LINE)
def test_threads_get_the_lock_in_the_order_of_their_coming(trial: Trial) -> None:
    holder, order, waiting = trial.held(), [], []
    for n in range(10):

        def take_note(lock: Any, n: int = n) -> None:
            order.append(n)
            assert lock.release()

        waiting.append(trial.wait(then=take_note))
        trial.until_in_line(n + 1)

    assert holder.release()

    assert all(waiter.answer(within=20) for waiter in waiting)
    assert order == list(range(10)), "not first come, first served"


def test_a_waiter_gets_the_lock_when_it_is_released(trial: Trial) -> None:
    holder, waiting = trial.held(), trial.wait()
    trial.until_in_line(1)

    assert holder.release()
    released_at = time.monotonic()

    assert waiting.answer(), "it got nothing"
    assert waiting.ended_at - released_at < 0.5, "it was not woken"
    assert waiting.lock.owned()


def test_a_waiter_gets_the_lock_when_the_lease_of_its_holder_ends(trial: Trial) -> None:
    trial.held(expire=0.7)
    began_at = time.monotonic()
    waiting = trial.wait()

    assert waiting.answer(), "it got nothing"

    assert 0.5 < waiting.ended_at - began_at < 1.2, "it was not woken"
    assert waiting.lock.owned()


def test_many_waiters_of_a_dead_holder_are_all_served(trial: Trial) -> None:
    trial.held(expire=0.7)
    waiting = [trial.wait(then=lambda lock: lock.release()) for _ in range(20)]

    assert all(waiter.answer(within=20) for waiter in waiting), "some got nothing"

    trial.until_free()
    eventually(lambda: trial.in_line() == 0, message="the line should be empty")


@pytest.mark.needs(Can.STAND_IN_LINE)
def test_nobody_overtakes_those_in_line(trial: Trial) -> None:
    holder, waiting = trial.held(), trial.wait()
    trial.until_in_line(1)

    assert holder.release()

    assert not trial.lock().acquire(), "somebody has overtaken those in line"
    assert waiting.answer()


@pytest.mark.parametrize("timeout", [0.2, 0.9])
def test_a_timeout_is_kept(trial: Trial, timeout: float) -> None:
    holder = trial.held()
    waiters = [trial.wait(timeout) for _ in range(3)]

    assert not any(waiter.answer() for waiter in waiters)

    late = [waiter.ended_at - waiter.began_at - timeout for waiter in waiters]
    assert abs(statistics.median(late)) < 0.15, "it waited for longer, or not so long"
    assert holder.release()


def test_a_timeout_of_zero_asks_once(trial: Trial) -> None:
    lock = trial.lock()
    assert lock.acquire(blocking=True, timeout=0)
    began_at = time.monotonic()

    assert not trial.lock().acquire(blocking=True, timeout=0)

    assert time.monotonic() - began_at < 0.5, "it waited for longer"
    assert trial.in_line() == 0


@pytest.mark.needs(Can.STAND_IN_LINE)
def test_a_waiter_that_leaves_by_timeout_passes_the_turn_on(trial: Trial) -> None:
    holder = trial.held()
    leaving = trial.wait(timeout=2)
    trial.until_in_line(1)
    staying = trial.wait()
    trial.until_in_line(2)
    assert not leaving.answer()
    assert trial.in_line() == 1, "who left still stands in line"

    assert holder.release()
    released_at = time.monotonic()

    assert staying.answer()
    assert staying.ended_at - released_at < 0.5


@pytest.mark.needs(Can.STAND_IN_LINE)
def test_a_waiter_gets_the_lock_although_the_message_was_lost(trial: Trial) -> None:
    holder = trial.held(expire=2)
    waiting = trial.wait(lock=trial.lock(client=trial.arena.make_victim()))
    trial.until_in_line(1)
    trial.proxy.cut()
    trial.proxy.heal()

    assert holder.release()

    assert waiting.answer(within=3), "it got nothing"


@pytest.mark.needs(Can.BE_SHARED | Can.STAND_IN_LINE)
def test_a_thread_that_waits_on_a_shared_object_takes_over_from_the_one_that_releases(trial: Trial) -> None:
    lock = trial.held()
    waiting = trial.wait(lock=lock)
    trial.until_in_line(1)

    assert lock.release()

    assert waiting.answer(), "it got nothing"
    assert lock.owned()
    assert lock.release()
