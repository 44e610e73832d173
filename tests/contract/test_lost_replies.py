"""Lost replies: what Redis did and nobody heard of is neither refused, nor lost, nor done twice."""

from __future__ import annotations

import threading

import pytest

from ..support.proxy import Proxy
from .kinds import Can
from .trial import LONG, NAME, Trial

pytestmark = pytest.mark.needs(Can.ASK_AGAIN)


def swallow(proxy: Proxy) -> None:
    """Lose the next reply that has to do with the lock; its client sees nothing but silence."""
    proxy.swallow_replies(1, matching=NAME.encode())


def drop(proxy: Proxy) -> None:
    """Lose the next reply that has to do with the lock; its client sees the connection close."""
    proxy.drop_connection_after_request(1, matching=NAME.encode())


FAULTS = (swallow, drop)


def test_a_lost_reply_of_acquire_is_no_refusal(trial: Trial) -> None:
    """The lock was granted and nobody heard: asking again must not find it busy with ourselves."""
    for fault in FAULTS:
        for client in (trial.victim, trial.arena.make_victim_that_sends_once()):
            before = trial.proxy.fired
            lock, other = trial.lock(client=client), trial.lock()
            fault(trial.proxy)

            assert lock.acquire(), "it waited for itself"

            assert trial.proxy.fired == before + 1, "the fault did not happen"
            assert lock.owned()
            assert not other.acquire()
            assert lock.release()
            assert trial.is_free()


def test_a_lost_reply_of_release_is_a_release(trial: Trial) -> None:
    """The lock was freed and nobody heard: asking again must not report it as lost."""
    for fault in FAULTS:
        for client in (trial.victim, trial.arena.make_victim_that_sends_once()):
            lock = trial.held(client=client)
            fault(trial.proxy)

            assert lock.release(), "a release that happened was reported as a failure"

            assert trial.is_free()


@pytest.mark.needs(Can.STAND_IN_LINE)
@pytest.mark.parametrize("next_releases", [False, True])
def test_a_lost_reply_of_release_leaves_the_next_holder_alone(trial: Trial, next_releases: bool) -> None:
    """When the release is sent again, the next may hold the lock already, or have released it too."""
    lock = trial.held(client=trial.victim)
    waiting = trial.wait()
    trial.until_in_line(1)
    swallow(trial.proxy)
    released: list[bool] = []
    releasing = threading.Thread(target=lambda: released.append(lock.release()))
    releasing.start()
    assert waiting.answer()
    assert releasing.is_alive(), "the reply was not lost"
    if next_releases:
        assert waiting.lock.release()
    releasing.join()

    assert released == [True], "a release that happened was reported as a failure"

    assert waiting.lock.owned() is not next_releases
    assert waiting.lock.release() is not next_releases


@pytest.mark.needs(Can.RENEW)
def test_a_lost_reply_of_renew_is_a_renewal(trial: Trial) -> None:
    """The lease goes on and nobody heard: it must not be taken for lost."""
    for fault in FAULTS:
        lock = trial.held(client=trial.victim)
        trial.shorten_lease(5)
        fault(trial.proxy)

        assert lock.renew(), "a renewal that happened was reported as a loss"

        assert trial.lease_left() > LONG / 2
        assert lock.release()


@pytest.mark.needs(Can.TELL_LOSS)
def test_a_grant_that_was_long_under_way_is_not_half_over(trial: Trial) -> None:
    """Its reply was lost, and asking again took a good part of the lease: it is asked for once more."""
    lock = trial.lock(expire=1, client=trial.arena.make_victim(socket_timeout=0.6))
    swallow(trial.proxy)

    assert lock.acquire()

    assert lock.remaining > 0.5, "half of its lease is over"
    assert lock.owned()
    assert lock.release()
