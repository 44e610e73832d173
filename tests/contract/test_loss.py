"""Loss: a lock that we held and no longer do is never lost in silence, and never taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celery_redislock import LockLost

from ..support.deadlines import eventually
from .kinds import Can
from .trial import SLACK, Trial, pass_seconds

pytestmark = pytest.mark.needs(Can.TELL_LOSS)

EXPIRE = 0.6


def assert_lost(lock: Any) -> None:
    """Compare all that a lost lock shows."""
    assert lock.lost, "nobody was told of the loss"
    assert lock.remaining == 0
    assert not lock.owned()
    # Of several locks any may be the one whose lease has ended first.
    with pytest.raises(LockLost, match="|".join(getattr(lock, "names", [lock.name]))):
        lock.ensure_held()


def is_told(told: list[Any], lock: Any, within: float) -> None:
    """Return when `on_lost` was called with the lock."""
    eventually(lambda: told == [lock], within, "nobody was told of the loss")


@pytest.mark.needs(Can.RENEW_ITSELF)
@pytest.mark.parametrize("take_away", [Trial.take_away, Trial.give_away, Trial.lose_all_data])
def test_a_renewed_lock_that_is_taken_away_is_lost_within_a_third_of_its_lease(
    trial: Trial, take_away: Callable[[Trial], object]
) -> None:
    told: list[Any] = []
    lock = trial.held(EXPIRE, renew=True, on_lost=told.append)

    take_away(trial)
    left = trial.client.get(trial.name)

    eventually(lambda: lock.lost, EXPIRE / 3 + SLACK, "nobody was told of the loss")
    assert_lost(lock)
    pass_seconds(EXPIRE)
    assert told == [lock], "on_lost is called once"
    assert trial.client.get(trial.name) == left, "it was taken back"
    assert not lock.release()
    assert not lock.renew()


@pytest.mark.needs(Can.RENEW_ITSELF)
def test_a_lock_is_lost_by_the_end_of_its_lease_when_the_network_is_silent(trial: Trial) -> None:
    told: list[Any] = []
    lock = trial.held(EXPIRE, trial.victim, renew=True, on_lost=told.append)

    trial.proxy.blackhole()

    eventually(lambda: lock.lost, EXPIRE + SLACK, "nobody was told of the loss")
    is_told(told, lock, SLACK)


def test_a_lease_that_runs_out_is_a_loss_that_needs_no_thread_to_be_seen(trial: Trial) -> None:
    lock = trial.held(expire=0.1)

    pass_seconds(0.1)

    assert_lost(lock)


def test_on_lost_is_called_for_a_lock_that_is_not_renewed_too(trial: Trial) -> None:
    told: list[Any] = []
    lock = trial.held(expire=0.2, on_lost=told.append)

    is_told(told, lock, 0.2 + SLACK)

    assert_lost(lock)


@pytest.mark.needs(Can.RENEW)
def test_on_lost_is_called_when_a_renewal_by_hand_is_refused(trial: Trial) -> None:
    told: list[Any] = []
    lock = trial.held(on_lost=told.append)
    trial.take_away()

    assert not lock.renew()

    is_told(told, lock, 1)
    assert_lost(lock)


@pytest.mark.needs(Can.RENEW_ITSELF)
def test_a_release_is_no_loss(trial: Trial) -> None:
    told: list[Any] = []
    for _ in range(5):
        lock = trial.lock(1.5, renew=True, on_lost=told.append)
        with lock:
            pass_seconds(0.52)  # it has just been renewed
        assert not lock.lost

    pass_seconds(0.1)
    assert not told, "a release was taken for a loss"


def test_a_release_that_comes_too_late_tells_of_the_loss_once(trial: Trial) -> None:
    told: list[Any] = []
    lock = trial.held(on_lost=told.append)
    trial.give_away()

    assert [lock.release(), lock.release()] == [False, False]

    assert lock.lost, "nobody was told of the loss"
    pass_seconds(SLACK)
    assert told == [lock], "on_lost is called once"
    assert not trial.is_free()


@pytest.mark.parametrize("lose", [Trial.take_away, Trial.end_lease])
def test_leaving_with_after_a_loss_raises(trial: Trial, lose: Callable[[Trial], object]) -> None:
    with pytest.raises(LockLost, match=trial.name), trial.lock():
        lose(trial)


def test_leaving_with_after_its_lease_raises(trial: Trial) -> None:
    with pytest.raises(LockLost, match=trial.name), trial.lock(expire=0.05):
        pass_seconds(0.1)


def test_the_bodys_own_error_wins_and_the_loss_is_chained_to_it(trial: Trial) -> None:
    def fail() -> None:
        try:
            int("no number")
        except ValueError:
            {}["no key"]

    with pytest.raises(Exception) as caught, trial.lock():  # noqa: PT012
        trial.take_away()
        fail()

    chain = []
    error: BaseException | None = caught.value
    while error is not None:
        chain.append(type(error))
        error = error.__context__
    assert chain == [KeyError, ValueError, LockLost], "not the body's own error"


def test_the_bodys_error_is_chained_to_nothing_when_the_lock_was_kept(trial: Trial) -> None:
    with pytest.raises(KeyError) as caught, trial.lock():
        raise KeyError("a bug of the user's")

    assert caught.value.__context__ is None, "it was kept"
    assert trial.is_free()


def test_a_lost_lock_can_be_taken_again_when_asked(trial: Trial) -> None:
    lock = trial.held(expire=0.2)
    eventually(lambda: lock.lost, message="nobody was told of the loss")
    trial.until_free()

    assert lock.acquire(), "once lost, always lost"

    assert not lock.lost
    assert lock.owned()


def test_a_lock_that_was_never_held_is_not_lost_but_not_held_either(trial: Trial) -> None:
    lock = trial.lock()

    assert not lock.lost, "it never had it"
    with pytest.raises(LockLost, match="not held"):
        lock.ensure_held()
    assert not lock.release()
