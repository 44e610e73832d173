"""Lease: a lock ends by itself, only its owner prolongs it, and nobody believes in it for longer."""

from __future__ import annotations

import time

import pytest

from .kinds import Can
from .trial import LONG, SLACK, Trial, pass_seconds

#: A lease that is to be kept, seconds: a busy machine stands still for some of it.
KEPT = 2.4


def test_a_lock_that_nobody_gives_back_is_free_when_its_lease_ends(trial: Trial) -> None:
    former = trial.held(expire=0.3)
    taken_at = time.monotonic()

    trial.until_free(within=0.3 + SLACK)

    assert time.monotonic() - taken_at > 0.2
    assert not former.owned()
    assert trial.lock().acquire()


@pytest.mark.needs(Can.RENEW)
def test_a_renewal_starts_a_full_lease(trial: Trial) -> None:
    lock = trial.held()
    trial.shorten_lease(5)

    assert lock.renew()

    assert trial.lease_left() > LONG / 2, "nothing was renewed"
    assert lock.owned()


@pytest.mark.needs(Can.RENEW)
def test_a_former_owner_cannot_renew(trial: Trial) -> None:
    """A holder that was too slow must not take the lock of the next, nor prolong it."""
    former = trial.held(expire=0.05)
    trial.until_free()
    owner = trial.held()

    assert not former.renew(), "a former owner renewed"

    assert owner.owned()
    assert trial.lease_left() > LONG / 2


@pytest.mark.needs(Can.RENEW)
def test_a_renewal_never_creates_the_lock(trial: Trial) -> None:
    """Where the lock is gone another may have had it: taking it again in silence hides that."""
    lock = trial.held()
    trial.take_away()

    assert not lock.renew(), "it came back from the dead"

    assert trial.is_free()


@pytest.mark.needs(Can.RENEW_ITSELF)
def test_a_lock_that_renews_itself_outlives_its_lease(trial: Trial) -> None:
    lock = trial.held(expire=KEPT, renew=True)

    pass_seconds(1.5 * KEPT)

    assert lock.owned(), "its lease has ended"
    assert lock.release()


@pytest.mark.needs(Can.RENEW_ITSELF)
def test_a_lock_survives_an_outage_that_is_shorter_than_its_lease(trial: Trial) -> None:
    lock = trial.held(expire=KEPT, client=trial.victim, renew=True)

    trial.proxy.cut()
    pass_seconds(KEPT / 3)
    trial.proxy.heal()
    pass_seconds(KEPT)

    assert lock.owned(), "its lease has ended"
    assert lock.release()


@pytest.mark.needs(Can.TELL_LOSS | Can.RENEW)
def test_a_lease_is_not_believed_longer_than_redis_keeps_it(trial: Trial) -> None:
    """On a slow network the lease has begun long before its holder hears of it."""
    lock = trial.lock(expire=2.0, client=trial.arena.make_victim(socket_timeout=2))
    trial.proxy.delay(replies=0.15)

    def believed_until() -> float:
        return time.monotonic() + float(lock.remaining)

    def kept_until() -> float:
        left = trial.lease_left()
        return time.monotonic() + left

    assert lock.acquire()
    assert believed_until() <= kept_until(), "it believes in a lease that has ended"
    assert lock.renew()
    assert believed_until() <= kept_until(), "it believes in a lease that has ended"
