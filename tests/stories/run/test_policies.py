"""Policies: retry, fail, a callable of the user's, waiting in the slot, shadow and off."""

from __future__ import annotations

import re
import socket

import pytest

from celery_redislock import LockBusy

from ...support.deadlines import eventually
from . import tasks_app
from .stage import Events, Stage


def test_a_retry_runs_once_the_holder_has_ended(stage: Stage) -> None:
    with stage.held(tasks_app.retry, "a") as holder:
        loser = stage.send(tasks_app.retry, "a", ["report", "ran"], ["give", 5])
        stage.journal.wait_for("conflict", times=8, id=loser.id)
        assert loser.state == "RETRY"
        assert not stage.journal.entries("ran")

    assert loser.get(timeout=10) == 5
    conflicts = stage.journal.entries("conflict", id=loser.id)
    assert {conflict["action"] for conflict in conflicts} == {"retry"}
    assert {conflict["holder"] for conflict in conflicts} == {holder.id}


def test_a_conflict_takes_nothing_from_the_users_own_retries(stage: Stage) -> None:
    """Celery's default is three: more conflicts than that must not count."""
    with stage.held(tasks_app.retry, "a"):
        loser = stage.send(tasks_app.retry, "a", ["retry", 2])
        stage.journal.wait_for("conflict", times=8, id=loser.id)

    loser.get(timeout=10)
    tries = stage.journal.entries("try", id=loser.id)
    assert [entry["retries"] for entry in tries] == [0, 1, 2]


def test_a_retry_because_of_a_conflict_is_no_error_in_the_log(stage: Stage) -> None:
    with stage.held(tasks_app.retry, "a"):
        loser = stage.send(tasks_app.retry, "a")
        stage.journal.wait_for("conflict", times=3, id=loser.id)
    loser.get(timeout=10)

    assert "ERROR" not in stage.log()
    assert "Traceback" not in stage.log()
    assert re.search(rf"INFO/\S+\] Task retry\[{loser.id}\] retry: lock ", stage.log())


def test_monitors_see_a_task_that_comes_again_as_retried(stage: Stage) -> None:
    with Events().listening(stage.app) as events, stage.held(tasks_app.retry, "a"):
        loser = stage.send(tasks_app.retry, "a")

        eventually(lambda: "task-retried" in events.of(loser.id))

        assert "task-failed" not in events.of(loser.id)


def test_retrying_ends_with_lock_busy_after_retry_for(stage: Stage) -> None:
    with stage.held(tasks_app.retry_for, "a") as holder:
        loser = stage.send(tasks_app.retry_for, "a")

        with pytest.raises(LockBusy) as caught:
            loser.get(timeout=10)

        assert caught.value.holder is not None
        assert caught.value.holder.metadata["id"] == holder.id
        actions = [entry["action"] for entry in stage.journal.entries("conflict", id=loser.id)]
        assert actions[-1] == "fail"
        assert set(actions[:-1]) == {"retry"}


def test_a_failed_conflict_is_rebuilt_with_its_holder_from_the_result(stage: Stage) -> None:
    with stage.held(tasks_app.fail, "a") as holder:
        loser = stage.send(tasks_app.fail, "a")

        with pytest.raises(LockBusy) as caught:
            loser.get(timeout=10)

    busy = caught.value
    assert loser.state == "FAILURE"
    assert busy.name == tasks_app.fail.lock_name("a")
    assert busy.holder is not None
    assert busy.holder.metadata["id"] == holder.id
    assert busy.holder.metadata["host"] == socket.gethostname()
    assert busy.holder.since is not None
    assert busy.retry_after is not None
    assert 0 < busy.retry_after <= 30


def test_a_failed_conflict_is_expected_and_has_no_traceback_in_the_log(stage: Stage) -> None:
    with stage.held(tasks_app.fail, "a"):
        loser = stage.send(tasks_app.fail, "a")
        loser.get(timeout=10, propagate=False)
        eventually(lambda: f"fail[{loser.id}] raised expected" in stage.log())

    assert "ERROR" not in stage.log()
    assert "Traceback" not in stage.log()


def test_a_callable_decides_in_the_worker(stage: Stage) -> None:
    with tasks_app.picky.lock_for("a"):
        loser = stage.send(tasks_app.picky, "a", ["give", 1])
        stage.journal.wait_for("conflict", times=3, id=loser.id, action="retry")

    assert loser.get(timeout=10) == 1


def test_a_callable_that_raises_fails_the_task_with_its_error(stage: Stage) -> None:
    with stage.held(tasks_app.picky, "a") as holder:
        loser = stage.send(tasks_app.picky, "a", ["give", 1])

        error = loser.get(timeout=10, propagate=False)

        assert loser.state == "FAILURE"
        assert type(error).__name__ == "Undecided"
        assert str(error) == f"lock {tasks_app.picky.lock_name('a')} has holder {holder.id}"
        assert len(stage.journal.entries("conflict", id=loser.id, action="callable")) == 1


def test_a_run_that_waits_in_its_slot_runs_as_soon_as_the_lock_is_free(stage: Stage) -> None:
    with stage.held(tasks_app.wait, "a"):
        waiting = stage.send(tasks_app.wait, "a", ["report", "ran"])
        waiters = f"redislock.waiters:{{{tasks_app.wait.lock_name('a')}}}"
        eventually(lambda: stage.locks.exists(waiters), message="it should stand in line")
        assert not stage.journal.entries("ran")

    assert waiting.get(timeout=10) is None
    assert len(stage.journal.entries("ran")) == 1
    assert not stage.journal.entries("conflict")


def test_a_run_that_waited_in_vain_follows_the_policy(stage: Stage) -> None:
    with stage.held(tasks_app.wait_briefly, "a"):
        waiting = stage.send(tasks_app.wait_briefly, "a", ["report", "ran"])
        waiting.get(timeout=10, propagate=False)

    assert waiting.state == "REVOKED"
    assert not stage.journal.entries("ran")


def test_a_task_whose_lock_is_off_takes_none(stage: Stage) -> None:
    with stage.held(tasks_app.off, "a"):
        assert not stage.locks.keys("redislock:*")
        stage.runs(tasks_app.off, "a")

    assert not stage.journal.entries("conflict")


def test_a_shadow_lock_tells_what_it_would_have_done_and_lets_all_run(stage: Stage) -> None:
    with stage.held(tasks_app.shadow, "a") as holder:
        assert stage.locks.exists(tasks_app.shadow.lock_name("a"))
        stage.runs(tasks_app.shadow, "a")
        conflict = stage.journal.wait_for("conflict")
        assert stage.locks.exists(tasks_app.shadow.lock_name("a")), "the second freed the lock of the first"

    assert conflict["shadow"] is True
    assert conflict["action"] == "skip"
    assert conflict["holder"] == holder.id
    assert re.search(r"INFO/\S+\] Task shadow\[\S+\] would skip: lock ", stage.log())
