"""Mutants: every test of the contract fails on a lock that breaks the promise, and says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ..mutants import locks as wrong
from ..support.arena import Arena
from . import test_exclusion as exclusion
from . import test_fencing as fencing
from . import test_lease as lease
from . import test_loss as loss
from . import test_lost_replies as lost_replies
from . import test_waiting as waiting
from .counting import PROCESSES, ROUNDS, count
from .kinds import REDIS_LOCK, Can, LockKind
from .promises import CONTRACT, Promise, promises_of
from .trial import Trial

#: Shown to fail by a test of its own.
SHOWN_APART = exclusion.test_processes_that_share_a_file_lose_no_update_and_never_meet


class Caught(NamedTuple):
    """A wrong lock, the promise that it breaks, and what the test says of it."""

    lock_class: Callable[..., Any]
    promise: Promise
    words: str
    given: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def __str__(self) -> str:
        return f"{self.lock_class.__name__}-{self.promise.__name__}"


CAUGHT: tuple[Caught, ...] = (
    Caught(wrong.IsNeverBusy, exclusion.test_one_has_the_lock_after_the_other, "two hold the lock"),
    Caught(wrong.IsNeverBusy, exclusion.test_of_many_threads_one_gets_a_free_lock, "two hold the lock"),
    Caught(
        wrong.IsNeverBusy,
        exclusion.test_an_object_that_holds_the_lock_finds_it_busy_like_anyone_else,
        "took its own lock",
    ),
    Caught(wrong.IsNeverBusy, exclusion.test_threads_that_share_one_object_exclude_each_other, "lost what"),
    Caught(
        wrong.ReleasesWithoutLooking, exclusion.test_a_former_owner_cannot_release, "former owner released"
    ),
    Caught(wrong.ReleasesWithoutLooking, exclusion.test_a_loser_frees_nothing, "a loser released"),
    Caught(wrong.ForgetsWhichObjectAcquired, exclusion.test_a_loser_frees_nothing, "a loser released"),
    Caught(wrong.HoldsWithoutRedis, exclusion.test_an_outage_is_never_a_grant, "what nobody gave"),
    Caught(
        wrong.NeverEnds,
        lease.test_a_lock_that_nobody_gives_back_is_free_when_its_lease_ends,
        "should be free",
    ),
    Caught(wrong.OnlySaysThatItRenews, lease.test_a_renewal_starts_a_full_lease, "nothing was renewed"),
    Caught(wrong.RenewsAnyonesLock, lease.test_a_former_owner_cannot_renew, "a former owner renewed"),
    Caught(wrong.RenewsWhatIsGone, lease.test_a_renewal_never_creates_the_lock, "back from the dead"),
    Caught(
        wrong.IgnoresThatItShouldRenew,
        lease.test_a_lock_that_renews_itself_outlives_its_lease,
        "its lease has ended",
    ),
    Caught(
        wrong.IgnoresThatItShouldRenew,
        lease.test_a_lock_survives_an_outage_that_is_shorter_than_its_lease,
        "its lease has ended",
    ),
    Caught(
        wrong.BelievesFromTheReplyOn,
        lease.test_a_lease_is_not_believed_longer_than_redis_keeps_it,
        "a lease that has ended",
    ),
    Caught(
        wrong.MakesATokenForEachSend,
        lost_replies.test_a_lost_reply_of_acquire_is_no_refusal,
        "waited for itself",
    ),
    Caught(
        wrong.ForgetsItsRelease,
        lost_replies.test_a_lost_reply_of_release_is_a_release,
        "reported as a failure",
    ),
    Caught(
        wrong.ForgetsItsRelease,
        lost_replies.test_a_lost_reply_of_release_leaves_the_next_holder_alone,
        "reported as a failure",
        {"next_releases": False},
    ),
    Caught(
        wrong.TakesSilenceForALoss,
        lost_replies.test_a_lost_reply_of_renew_is_a_renewal,
        "reported as a loss",
    ),
    Caught(
        wrong.DoesNotAskForMoreTime,
        lost_replies.test_a_grant_that_was_long_under_way_is_not_half_over,
        "half of its lease is over",
    ),
    Caught(
        wrong.NeverTellsOfALoss,
        loss.test_a_renewed_lock_that_is_taken_away_is_lost_within_a_third_of_its_lease,
        "nobody was told",
        {"take_away": Trial.take_away},
    ),
    Caught(
        wrong.TellsTwice,
        loss.test_a_renewed_lock_that_is_taken_away_is_lost_within_a_third_of_its_lease,
        "called once",
        {"take_away": Trial.give_away},
    ),
    Caught(
        wrong.TakesBackWhatItLost,
        loss.test_a_renewed_lock_that_is_taken_away_is_lost_within_a_third_of_its_lease,
        "taken back",
        {"take_away": Trial.lose_all_data},
    ),
    Caught(
        wrong.NeverTellsOfALoss,
        loss.test_a_lock_is_lost_by_the_end_of_its_lease_when_the_network_is_silent,
        "nobody was told",
    ),
    Caught(
        wrong.NeverTellsOfALoss,
        loss.test_a_lease_that_runs_out_is_a_loss_that_needs_no_thread_to_be_seen,
        "nobody was told",
    ),
    Caught(
        wrong.NeverTellsOfALoss,
        loss.test_on_lost_is_called_for_a_lock_that_is_not_renewed_too,
        "nobody was told",
    ),
    Caught(
        wrong.NeverTellsOfALoss,
        loss.test_on_lost_is_called_when_a_renewal_by_hand_is_refused,
        "nobody was told",
    ),
    Caught(wrong.TakesAReleaseForALoss, loss.test_a_release_is_no_loss, "taken for a loss"),
    Caught(wrong.TellsTwice, loss.test_a_release_that_comes_too_late_tells_of_the_loss_once, "called once"),
    Caught(
        wrong.NeverTellsOfALoss,
        loss.test_leaving_with_after_a_loss_raises,
        "DID NOT RAISE",
        {"lose": Trial.take_away},
    ),
    Caught(wrong.NeverTellsOfALoss, loss.test_leaving_with_after_its_lease_raises, "DID NOT RAISE"),
    Caught(
        wrong.RaisesInPlaceOfTheBody,
        loss.test_the_bodys_own_error_wins_and_the_loss_is_chained_to_it,
        "not the body's own error",
    ),
    Caught(
        wrong.TakesAReleaseForALoss,
        loss.test_the_bodys_error_is_chained_to_nothing_when_the_lock_was_kept,
        "it was kept",
    ),
    Caught(wrong.IsLostForEver, loss.test_a_lost_lock_can_be_taken_again_when_asked, "always lost"),
    Caught(
        wrong.IsLostFromTheStart,
        loss.test_a_lock_that_was_never_held_is_not_lost_but_not_held_either,
        "never had it",
    ),
    Caught(
        wrong.GivesEveryGrantTheSameNumber,
        fencing.test_a_thousand_grants_as_fast_as_possible_get_growing_numbers,
        "came again",
    ),
    Caught(
        wrong.CountsGrants,
        fencing.test_numbers_grow_over_every_kind_of_loss,
        "came again",
        {"lose": Trial.lose_all_data},
    ),
    Caught(
        wrong.GivesEveryGrantTheSameNumber,
        fencing.test_a_waiter_that_takes_over_has_a_larger_number_than_the_one_before,
        "came again",
    ),
    Caught(wrong.NumbersEachRenewal, fencing.test_a_renewal_keeps_the_number, "a number of its own"),
    Caught(
        wrong.RemembersItsNumber, fencing.test_the_number_is_known_only_while_the_lock_is_held, "another's"
    ),
    Caught(
        wrong.AsksAgainAndAgain,
        waiting.test_threads_get_the_lock_in_the_order_of_their_coming,
        "not first come, first served",
    ),
    Caught(
        wrong.AsksAgainAndAgain, waiting.test_a_waiter_gets_the_lock_when_it_is_released, "it was not woken"
    ),
    Caught(wrong.DoesNotWait, waiting.test_a_waiter_gets_the_lock_when_it_is_released, "it got nothing"),
    Caught(
        wrong.DoesNotWait,
        waiting.test_a_waiter_gets_the_lock_when_the_lease_of_its_holder_ends,
        "it got nothing",
    ),
    Caught(wrong.DoesNotWait, waiting.test_many_waiters_of_a_dead_holder_are_all_served, "some got nothing"),
    Caught(wrong.AsksAgainAndAgain, waiting.test_nobody_overtakes_those_in_line, "somebody has overtaken"),
    Caught(
        wrong.WaitsLongerThanItWasTold,
        waiting.test_a_timeout_is_kept,
        "for longer, or not so long",
        {"timeout": 0.2},
    ),
    Caught(wrong.DoesNotWait, waiting.test_a_timeout_is_kept, "for longer, or not so long", {"timeout": 0.9}),
    Caught(wrong.WaitsLongerThanItWasTold, waiting.test_a_timeout_of_zero_asks_once, "it waited for longer"),
    Caught(
        wrong.StaysInLine, waiting.test_a_waiter_that_leaves_by_timeout_passes_the_turn_on, "still stands"
    ),
    Caught(
        wrong.DoesNotWait,
        waiting.test_a_waiter_gets_the_lock_although_the_message_was_lost,
        "it got nothing",
    ),
    Caught(
        wrong.DoesNotWait,
        waiting.test_a_thread_that_waits_on_a_shared_object_takes_over_from_the_one_that_releases,
        "it got nothing",
    ),
)

#: Who cannot be seen while it waits.
NOT_IN_LINE = (wrong.AsksAgainAndAgain, wrong.DoesNotWait)


def kind_of(lock_class: Callable[..., Any]) -> LockKind:
    """Return what a wrong lock takes itself for."""
    can = REDIS_LOCK.can & ~Can.STAND_IN_LINE if lock_class in NOT_IN_LINE else REDIS_LOCK.can
    return LockKind(lock_class, can)


@pytest.mark.parametrize("caught", CAUGHT, ids=str)
def test_a_wrong_lock_is_caught(caught: Caught, one_arena: Arena) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=caught.words):
        caught.promise(Trial(kind_of(caught.lock_class), one_arena), **caught.given)


def test_without_a_lock_processes_that_share_a_file_do_meet(one_arena: Arena, tmp_path: Path) -> None:
    reached, met = count(Trial(kind_of(wrong.IsNeverBusy), one_arena), tmp_path, ROUNDS)

    assert met > 0
    assert reached < PROCESSES * ROUNDS


@pytest.mark.parametrize(
    "lock_class",
    dict.fromkeys(caught.lock_class for caught in CAUGHT if caught.lock_class is not wrong.IsNeverBusy),
    ids=lambda lock_class: lock_class.__name__,
)
def test_a_wrong_lock_looks_right_while_nothing_goes_wrong(
    lock_class: Callable[..., Any], one_arena: Arena
) -> None:
    exclusion.test_one_has_the_lock_after_the_other(Trial(kind_of(lock_class), one_arena))


def test_every_promise_has_caught_a_wrong_lock() -> None:
    assert {caught.promise for caught in CAUGHT} | {SHOWN_APART} == set(promises_of(CONTRACT))
