"""Exclusion: one holder at a time, whoever else asks, releases or cannot reach Redis."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from celery_redislock import StoreUnavailable

from ..support.deadlines import eventually
from .counting import PROCESSES, ROUNDS, count
from .kinds import Can
from .trial import Trial


def test_one_has_the_lock_after_the_other(trial: Trial) -> None:
    """It is busy for others while it is held, and free afterwards: what a demo shows."""
    first, second = trial.lock(), trial.lock()

    assert first.acquire()
    assert not second.acquire(), "two hold the lock"
    assert first.release()
    assert second.acquire()
    assert second.release()

    assert trial.is_free()


def test_a_loser_frees_nothing(trial: Trial) -> None:
    """``finally: lock.release()`` also runs in those who did not get the lock."""
    winner, loser = trial.held(), trial.lock()
    assert not loser.acquire()

    assert not loser.release(), "a loser released"

    assert winner.owned()


def test_a_former_owner_cannot_release(trial: Trial) -> None:
    """A holder that was too slow must not free the lock of the next."""
    former = trial.held(expire=0.05)
    trial.until_free()
    owner = trial.held()

    assert not former.release(), "a former owner released"

    assert owner.owned()


def test_an_object_that_holds_the_lock_finds_it_busy_like_anyone_else(trial: Trial) -> None:
    lock = trial.held()

    assert not lock.acquire(), "it took its own lock"

    assert lock.owned()
    assert lock.release()
    assert trial.is_free()


def test_of_many_threads_one_gets_a_free_lock(trial: Trial) -> None:
    locks = [trial.lock() for _ in range(20)]
    start, got = threading.Barrier(20), []

    def race(lock: Any) -> None:
        start.wait()
        got.append(lock.acquire())

    threads = [threading.Thread(target=race, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got) == [False] * 19 + [True], "two hold the lock"


@pytest.mark.needs(Can.BE_SHARED)
def test_threads_that_share_one_object_exclude_each_other(trial: Trial) -> None:
    lock, inside, most, rounds = trial.lock(expire=30), [0], [0], [0]
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    rounds[0] += 1
                    inside[0] -= 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failed, "one lost what another held"
    assert (most, rounds) == ([1], [120])
    assert trial.is_free()


@pytest.mark.needs(Can.WAIT)
def test_processes_that_share_a_file_lose_no_update_and_never_meet(trial: Trial, tmp_path: Path) -> None:
    assert count(trial, tmp_path, ROUNDS) == (PROCESSES * ROUNDS, 0)


def test_an_outage_is_never_a_grant(trial: Trial) -> None:
    """Fail-open is the favourite short cut of those who never had two runs at once."""
    trial.proxy.cut()
    lock = trial.lock(client=trial.victim)

    with suppress(StoreUnavailable):
        assert not lock.acquire(), "it holds what nobody gave"

    trial.proxy.heal()
    eventually(lambda: not lock.owned())
    assert trial.is_free()
