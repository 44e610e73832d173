"""Fencing tokens: numbers that only ever grow, so that a store can refuse a former holder's writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .kinds import Can
from .trial import Trial

pytestmark = pytest.mark.needs(Can.NUMBER)


def grow(numbers: list[int | None]) -> None:
    """Compare the numbers of grants that came one after the other."""
    assert None not in numbers
    assert numbers == sorted(set(numbers)), "a fencing token came again"  # type: ignore[type-var]


def test_a_thousand_grants_as_fast_as_possible_get_growing_numbers(trial: Trial) -> None:
    numbers = []
    for _ in range(1000):
        lock = trial.held()
        numbers.append(lock.fencing_token)
        assert lock.release()

    grow(numbers)


@pytest.mark.parametrize(
    "lose",
    [
        Trial.take_away,
        lambda trial: trial.client.delete(*trial.client.keys()),
        Trial.lose_all_data,
        Trial.end_lease,
    ],
    ids=["lock deleted", "every key deleted", "all data lost", "lease ended"],
)
def test_numbers_grow_over_every_kind_of_loss(trial: Trial, lose: Callable[[Trial], object]) -> None:
    """The guarded resource refuses smaller numbers: one that repeats lets a former holder in."""
    numbers = []
    for _ in range(10):
        lock = trial.held()
        numbers.append(lock.fencing_token)
        lose(trial)
        lock.release()

    grow(numbers)


@pytest.mark.needs(Can.WAIT)
def test_a_waiter_that_takes_over_has_a_larger_number_than_the_one_before(trial: Trial) -> None:
    first = trial.held()
    before = first.fencing_token
    waiting = trial.wait()
    trial.until_in_line(1)
    assert first.release()

    assert waiting.answer()

    grow([before, waiting.lock.fencing_token])


@pytest.mark.needs(Can.RENEW)
def test_a_renewal_keeps_the_number(trial: Trial) -> None:
    lock = trial.held()
    number = lock.fencing_token

    assert lock.renew()

    assert lock.fencing_token == number, "a renewal has a number of its own"


def test_the_number_is_known_only_while_the_lock_is_held(trial: Trial) -> None:
    lock = trial.lock()
    assert lock.fencing_token is None
    assert lock.acquire()
    assert isinstance(lock.fencing_token, int)

    assert lock.release()

    assert lock.fencing_token is None, "it has a number that is another's by now"
