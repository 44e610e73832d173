"""Withdrawal: the run that is wanted ends before it begins, and one that stood back runs in its place."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery.result import AsyncResult

from ...support.deadlines import eventually
from ..ends.stage import Stage, new_key
from .pending_checks import is_met, nothing_is_left

POLICIES = ["latest", "first", "replace"]


#: Seconds after which one expires that is to: it has to meet the lock before.
EXPIRES_S = 2.5


def triggers_of(stage: Stage, task: str, key: str, how: str) -> list[AsyncResult[Any]]:
    """Have three triggers meet the lock, of which the one that is wanted is to go away."""
    found = []
    for number in range(3):
        call = stage.sig(task, key, ["give", number])
        if number == (0 if task == "first" else 2):
            call = call.stamp(by=key) if how == "revoked by its stamp" else call
            call = call.set(expires=EXPIRES_S) if how == "expires" else call
        found.append(call.apply_async())
        eventually(lambda: is_met(stage, key, found[-1], task), message="it should meet the lock")
    return found


def one_that_stood_back_runs(stage: Stage, task: str, key: str, triggers: list[AsyncResult[Any]]) -> None:
    """Of those that are left the one that counts runs, once, and the others are told of it alone."""
    left = triggers[1:] if task == "first" else triggers[:-1]
    runs = left[0] if task == "first" else left[-1]
    assert runs.get(timeout=20) == triggers.index(runs)
    for each in left:
        if each is not runs:
            assert stage.state_of(each) == "REVOKED"
            assert f"superseded by task {runs.id}" in str(each.result)
    begun = [entry["id"] for entry in stage.journal.entries(key, "begun")]
    assert begun[1:] == [runs.id]
    if task != "replace":  # whom it asked to stop is forgotten when that was to be ended
        nothing_is_left(stage, key, task)


@pytest.mark.parametrize("task", POLICIES)
@pytest.mark.parametrize("how", ["expires", "revoked", "revoked by its stamp"])
def test_one_that_stood_back_runs(stage: Stage, task: str, how: str) -> None:
    key, began = new_key(), time.monotonic()
    stage.hold(task, key, ["gate", key], lock={"on_lost": "continue"})
    triggers = triggers_of(stage, task, key, how)
    doomed = triggers[0] if task == "first" else triggers[-1]
    if how == "revoked":
        doomed.revoke()
    elif how == "revoked by its stamp":
        doomed.revoke_by_stamped_headers({"by": [key]})
    else:
        time.sleep(max(0.0, began + EXPIRES_S + 1 - time.monotonic()))
    stage.journal.open(key)

    one_that_stood_back_runs(stage, task, key, triggers)
    assert stage.state_of(doomed) == "REVOKED"
    assert "superseded" not in str(doomed.result)


def test_all_that_are_wanted_may_go_away_and_nobody_hangs(stage: Stage) -> None:
    key = new_key()
    stage.hold("latest", key, ["gate", key])
    triggers = triggers_of(stage, "latest", key, "revoked")
    for each in triggers:
        each.revoke()
    stage.journal.open(key)

    assert {stage.state_of(each) for each in triggers} == {"REVOKED"}
    nothing_is_left(stage, key)
    assert len(stage.journal.entries(key, "begun")) == 1
