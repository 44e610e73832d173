"""Replies: with ``rpc://`` results are sent to who has asked; who is ended by somebody else is told too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain, group
from celery.exceptions import TaskRevokedError

from celery_redislock import locked_batch

from ...support.deadlines import eventually
from .stage import Stage, new_key, stage_with_worker

SETTINGS = {"result_backend": "rpc://"}
COALESCE = {"on_conflict": "coalesce"}


@pytest.fixture(scope="module")
def stage(store: str) -> Iterator[Stage]:
    """Give a stage whose results are sent."""
    with stage_with_worker(store, "replies", settings=SETTINGS) as stage:
        yield stage


def met(stage: Stage, key: str, result: Any) -> None:
    """Return when a trigger has met the busy lock."""
    name = f"redislock.pending:{{{stage.lock_name('plain', key)}}}"
    eventually(lambda: any(result.id in entry for entry in stage.locks.hvals(name)))


def is_revoked(result: Any) -> bool:
    """Wait for the end of a call, and say whether it is that."""
    try:
        result.get(timeout=15)
    except TaskRevokedError:
        return True
    return False


def test_who_is_superseded_is_told(stage: Stage) -> None:
    key = new_key()
    holder = stage.hold("plain", key, ["gate", key], lock=COALESCE)
    triggers = []
    for number in range(3):
        triggers.append(stage.send("plain", key, ["give", number], lock=COALESCE))
        met(stage, key, triggers[-1])
    stage.journal.open(key)

    assert triggers[-1].get(timeout=15) == 2
    assert holder.get(timeout=15) is None
    assert [is_revoked(each) for each in triggers[:-1]] == [True, True]


def test_who_is_replaced_is_told(stage: Stage) -> None:
    key = new_key()
    holder = stage.hold("plain", key, ["doze", 30], lock={"on_conflict": "replace"})
    newcomer = stage.send("plain", key, ["give", 1], lock={"on_conflict": "replace"})

    assert newcomer.get(timeout=15) == 1
    assert is_revoked(holder)


def test_a_pending_run_that_is_revoked_is_told_and_the_next_one_answers(stage: Stage) -> None:
    key = new_key()
    stage.hold("plain", key, ["gate", key], lock=COALESCE)
    older = stage.send("plain", key, ["give", "older"], lock=COALESCE)
    met(stage, key, older)
    newer = stage.send("plain", key, ["give", "newer"], lock=COALESCE)
    met(stage, key, newer)
    newer.revoke()
    stage.journal.open(key)

    assert older.get(timeout=15) == "older"
    assert is_revoked(newer)


def test_a_duplicate_in_a_group_is_told(stage: Stage) -> None:
    key = new_key()
    once = stage.sig("plain", key, ["gate", key]).set(lock={"scope": "task"})

    results = group(once, once.clone()).apply_async().results
    stage.journal.open(key)

    assert sorted(is_revoked(each) for each in results) == [False, True]


def test_a_call_that_is_published_later_by_a_worker_is_answered_here(stage: Stage) -> None:
    key = new_key()
    lock = {"scope": "task", "on_conflict": "coalesce"}
    stage.hold("plain", key, ["gate", key], lock=lock)
    later = stage.send("plain", key, ["give", 2], lock=lock)
    stage.journal.open(key)

    assert later.get(timeout=15) == 2


@pytest.mark.parametrize("policy", ["skip", "coalesce", "retry"])
def test_a_batch_that_meets_another_ends_or_runs(stage: Stage, policy: str) -> None:
    key = new_key()

    def batch(*steps: Any) -> Any:
        tasks = [stage.sig("ordinary", key, *steps), stage.sig("ordinary", key, ["give", "end"])]
        return locked_batch(chain(*tasks), lock_key=key, lock_on_conflict=policy).delay()

    first = batch(["gate", key])
    eventually(lambda: stage.journal.entries(key, "begun"))
    others = [batch(["give", number]) for number in range(2)]
    stage.journal.open(key)

    assert first.get(timeout=15) == "end"
    told = [is_revoked(part) for other in others for part in (other.parent, other)]
    assert told == {"skip": [True] * 4, "coalesce": [True] * 2 + [False] * 2, "retry": [False] * 4}[policy]
