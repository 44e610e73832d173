"""Body: what a task sees of its lock, and what its signals tell."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from celery_redislock import LockBusy
from celery_redislock.task.locked_task import LockedTask

from . import task_checks as checks
from . import tasks_app
from .stage import Stage

skip = tasks_app.skip


def test_the_body_sees_the_lock_that_it_holds(stage: Stage) -> None:
    lock = stage.send(skip, "a", ["describe"]).get(timeout=10)

    assert lock["name"] == skip.lock_name("a")
    assert lock["lost"] is False
    assert 0 < lock["remaining"] <= 30
    assert lock["is_current"] is True


@pytest.mark.parametrize(
    "key", [(1, (2, 3)), {"b": 1, "a": (2,)}, Decimal("1.50"), date(2024, 2, 29), UUID(int=7), "ключ\0", None]
)
def test_publisher_and_worker_name_the_lock_alike(key: Any, stage: Stage) -> None:
    """A tuple, for one, becomes a list on the way."""
    assert stage.send(skip, key, ["describe"]).get(timeout=10)["name"] == skip.lock_name(key)


def test_the_fencing_token_grows_from_run_to_run(stage: Stage) -> None:
    tokens = [stage.send(skip, "a", ["describe"]).get(timeout=10)["fencing_token"] for _ in range(10)]

    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("task", [tasks_app.skip, tasks_app.off], ids=["direct call", "mode off"])
def test_a_body_without_a_lock_has_one_that_does_nothing(task: Any, stage: Stage) -> None:
    called = skip("a", ["describe"]) if task is skip else None

    lock = called or stage.send(task, "a", ["describe"]).get(timeout=10)

    assert lock == {
        "name": "",
        "fencing_token": None,
        "remaining": float("inf"),
        "lost": False,
        "is_current": task is tasks_app.off,
    }
    assert not stage.locks.keys("redislock:*")


def test_the_lock_of_a_call_can_be_held_outside_celery_and_shuts_the_task_out(stage: Stage) -> None:
    with skip.lock_for("a") as lock:
        loser = stage.send(skip, "a", ["report", "ran"])
        loser.get(timeout=10, propagate=False)

        assert loser.state == "REVOKED"
        assert lock.name == skip.lock_name("a")
        assert "task skip" in str(lock.holder())
    stage.runs(skip, "a")


def test_a_running_task_shuts_others_out_of_its_lock_outside_celery(stage: Stage) -> None:
    with stage.held(skip, "a") as holder:
        lock = skip.lock_for("a")

        assert not lock.acquire()
        with pytest.raises(LockBusy, match=holder.id), lock:
            pytest.fail("it should be busy")

    assert lock.acquire()
    assert lock.release()


def test_the_signals_tell_of_taking_and_giving_back(stage: Stage) -> None:
    result = stage.send(skip, "a", ["give", 1])
    result.get(timeout=10)
    stage.journal.wait_for("released")

    told = {event: stage.journal.entries(event) for event in ("acquired", "released", "conflict", "lost")}

    assert [len(entries) for entries in told.values()] == [1, 1, 0, 0]
    for event in ("acquired", "released"):
        (entry,) = told[event]
        assert (entry["task"], entry["lock"], entry["id"]) == ("skip", skip.lock_name("a"), result.id)


def test_receivers_that_raise_break_no_run(stage: Stage) -> None:
    task = tasks_app.with_broken_receivers
    with stage.held(task, "a"):
        loser = stage.send(task, "a")
        loser.get(timeout=10, propagate=False)
        assert loser.state == "REVOKED"

    assert stage.send(task, "a", ["give", 4]).get(timeout=10) == 4
    stage.is_free(task, "a")
    assert stage.log().count("a broken receiver") >= 5


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_run_is_locked_in_other_pools_too(pool: str, stage_of: Any) -> None:
    stage = stage_of(pool)
    assert stage.send(skip, "a", ["describe"]).get(timeout=10)["name"] == skip.lock_name("a")
    if pool == "threads":
        with stage.held(skip, "a"):
            loser = stage.send(skip, "a")
            loser.get(timeout=10, propagate=False)
            assert loser.state == "REVOKED"
    with skip.lock_for("b"):
        loser = stage.send(skip, "b")
        loser.get(timeout=10, propagate=False)
        assert loser.state == "REVOKED"

    result = stage.send(skip, "a", ["retry", 3])

    result.get(timeout=10)
    ignored = stage.send(skip, "a", ["ignore"])
    stage.journal.wait_for("released", id=ignored.id)
    stage.runs(skip, "a")
    assert len(stage.journal.entries("try")) == 4


def test_runs_in_threads_never_overlap(stage_of: Any) -> None:
    stage = stage_of("threads")

    assert checks.meet(stage, tasks_app.retry, runs=100) == 0


@pytest.mark.parametrize("name", ["by_class", "shared"])
def test_tasks_that_are_classes_or_belong_to_no_application_are_locked(name: str, stage: Stage) -> None:
    sig = stage.app.signature(name, ("a", ["describe"]), immutable=True).set(queue=stage.queue)

    lock = sig.apply_async().get(timeout=10)["name"]

    assert lock.startswith(f"redislock:{name}:")


def test_a_task_takes_every_kind_of_argument(stage: Stage) -> None:
    args, kwargs = (1, 2, 3), {"named": 4, "other": 5}
    with tasks_app.many.lock_for(1, "else", named=4, what=6):
        loser = tasks_app.many.apply_async(args, kwargs, queue=stage.queue)
        loser.get(timeout=10, propagate=False)
        assert loser.state == "REVOKED"

    ran = tasks_app.many.apply_async(args, kwargs, queue=stage.queue, priority=5)

    assert ran.get(timeout=10) == [1, [2, 3], 4, {"other": 5}]


def test_the_decorator_makes_a_locked_task_of_an_application(stage: Stage) -> None:
    assert isinstance(tasks_app.add, LockedTask)
    with tasks_app.add.lock_for(1, 2):
        loser = tasks_app.add.apply_async((1, 2), queue=stage.queue)
        loser.get(timeout=10, propagate=False)
        assert loser.state == "REVOKED"

    assert tasks_app.add.apply_async((1, 2), queue=stage.queue).get(timeout=10) == 3
