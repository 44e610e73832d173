"""One id: two calls that were given one task id are two calls, as without a lock."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from celery_redislock import locked_batch

from ...support.deadlines import eventually
from ..ends.stage import Stage, new_key
from .test_runs import is_free

#: Celery's Redis backend stores with a command that redis-py calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

#: What a call that meets the first one does, where it runs after that.
RUNNING: dict[str, dict[str, Any]] = {
    "retry": {"on_conflict": "retry", "retry_delay": [0.1, 0.3]},
    "coalesce": {"on_conflict": "coalesce"},
    "coalesce, first": {"on_conflict": "coalesce", "keep": "first"},
    "replace": {"on_conflict": "replace"},
    "wait": {"wait": 15},
}


def begun(stage: Stage, key: str) -> int:
    """Count the bodies that began."""
    return len(stage.journal.entries(key, "begun"))


@pytest.mark.parametrize("policy", RUNNING)
def test_the_second_call_runs_after_the_first(stage: Stage, policy: str) -> None:
    key, lock = new_key(), {**RUNNING[policy], "ttl": 5}
    first = stage.hold("plain", key, ["gate", key], task_id=f"mine-{key}", lock=lock)

    second = stage.send("plain", key, ["give", "second"], task_id=first.id, lock=lock)
    if policy == "wait":
        waiters = f"redislock.waiters:{{{stage.lock_name('plain', key)}}}"
        eventually(lambda: stage.locks.exists(waiters))
    else:
        stage.journal.wait_for(stage.lock_name("plain", key), "conflict", id=second.id)
    if policy != "replace":  # which does not wait for the gate
        stage.journal.open(key)

    eventually(lambda: begun(stage, key) == 2, 15, "the second call should run")
    assert stage.journal.overlaps(key) == 0
    is_free(stage, key)


@pytest.mark.parametrize("policy", [*RUNNING, "skip", "fail"])
def test_a_call_after_the_first_has_ended_runs(stage: Stage, policy: str) -> None:
    key, lock = new_key(), RUNNING.get(policy, {"on_conflict": policy})
    for number in range(3):
        stage.send("plain", key, ["give", number], task_id=f"mine-{key}", lock=lock)
        eventually(lambda number=number: begun(stage, key) == number + 1, 10, "each call should run")
        is_free(stage, key)


@pytest.mark.parametrize("policy", ["skip", "fail"])
def test_the_second_call_is_treated_as_any_other_by_skip_and_fail(stage: Stage, policy: str) -> None:
    key, lock = new_key(), {"on_conflict": policy, "ttl": 5}
    first = stage.hold("plain", key, ["gate", key], task_id=f"mine-{key}", lock=lock)

    second = stage.send("plain", key, ["give", "second"], task_id=first.id, lock=lock)

    assert stage.journal.wait_for(stage.lock_name("plain", key), "conflict", id=second.id)["action"] == policy
    stage.journal.open(key)
    stage.ended(key, first)
    is_free(stage, key)
    assert begun(stage, key) == 1


def test_with_scope_queue_both_run(stage: Stage) -> None:
    key, lock = new_key(), {"scope": "queue"}
    first = stage.hold("plain", key, ["gate", key], task_id=f"mine-{key}", lock=lock)

    stage.send("plain", key, ["give", "second"], task_id=first.id, lock=lock)

    eventually(lambda: begun(stage, key) == 2)
    stage.journal.open(key)
    is_free(stage, key)


@pytest.mark.parametrize("policy", ["retry", "coalesce"])
def test_both_batches_run_that_were_given_one_id(stage: Stage, policy: str) -> None:
    first_key, second_key, name = new_key(), new_key(), uuid4().hex

    def batch(key: str, *steps: Any) -> Any:
        canvas = stage.sig("ordinary", key, *steps)
        return locked_batch(canvas, lock_key=name, lock_on_conflict=policy).apply_async(
            task_id=f"mine-{name}"
        )

    batch(first_key, ["gate", first_key])
    eventually(lambda: begun(stage, first_key))
    batch(second_key, ["give", 2])
    stage.journal.open(first_key)

    eventually(lambda: begun(stage, second_key), 20, "the second batch should run")
    eventually(lambda: not stage.locks.exists(f"redislock:{name}"), 10)
