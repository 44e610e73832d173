"""Safety: every check passes on the lock, and fails on a lock that breaks the rule behind it."""

from __future__ import annotations

import pytest

from celery_redislock import RedisLock

from ...mutants import locks as wrong
from . import checks
from .arena import Arena
from .checks import Check, LockClass

#: What is wrong, which check tells, and in what words.
CAUGHT: tuple[tuple[LockClass, Check, str], ...] = (
    (wrong.IsNeverBusy, checks.one_after_the_other, "two hold the lock"),
    (wrong.ReleasesWithoutLooking, checks.a_former_owner_cannot_release, "former owner released"),
    (wrong.ReleasesWithoutLooking, checks.a_loser_frees_nothing, "a loser released"),
    (wrong.ForgetsWhichObjectAcquired, checks.a_loser_frees_nothing, "a loser released"),
    (
        wrong.MakesATokenForEachSend,
        checks.a_lost_reply_of_acquire_is_no_refusal,
        "waited for itself",
    ),
    (
        wrong.ForgetsItsRelease,
        checks.a_lost_reply_of_release_is_a_release,
        "reported as a failure",
    ),
    (
        wrong.ForgetsItsRelease,
        checks.a_lost_reply_of_release_leaves_the_next_holder_alone,
        "reported as a failure",
    ),
    (wrong.TakesSilenceForALoss, checks.a_lost_reply_of_renew_is_a_renewal, "reported as a loss"),
    (wrong.RenewsAnyonesLock, checks.a_former_owner_cannot_renew, "a former owner renewed"),
    (wrong.RenewsWhatIsGone, checks.a_renewal_never_creates_the_lock, "back from the dead"),
    (wrong.CountsGrants, checks.fencing_tokens_grow, "came again"),
    (
        wrong.BelievesFromTheReplyOn,
        checks.a_lease_is_not_believed_longer_than_redis_keeps_it,
        "a lease that has ended",
    ),
    (wrong.HoldsWithoutRedis, checks.an_outage_is_never_a_grant, "what nobody gave"),
)


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_the_lock_is_safe(check: Check, arena: Arena) -> None:
    check(RedisLock, arena)


@pytest.mark.parametrize(
    ("lock_class", "check", "words"),
    CAUGHT,
    ids=[f"{lock_class.__name__}-{check.__name__}" for lock_class, check, _ in CAUGHT],
)
def test_a_wrong_lock_is_caught(lock_class: LockClass, check: Check, words: str, one_arena: Arena) -> None:
    with pytest.raises(AssertionError, match=words):
        check(lock_class, one_arena)


@pytest.mark.parametrize("lock_class", dict.fromkeys(case[0] for case in CAUGHT[1:]), ids=str)
def test_a_wrong_lock_looks_right_while_nothing_goes_wrong(lock_class: LockClass, one_arena: Arena) -> None:
    checks.one_after_the_other(lock_class, one_arena)


def test_every_check_has_caught_a_wrong_lock() -> None:
    assert {check for _, check, _ in CAUGHT} == set(checks.ALL)
