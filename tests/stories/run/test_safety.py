"""Safety: what no run may do to another, and that the checks would notice."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ...support.deadlines import eventually
from . import task_checks as checks
from . import tasks_app
from .stage import Stage

RIGHT = [
    tasks_app.skip,
    tasks_app.late,
    tasks_app.several,
    tasks_app.forgetful,
    tasks_app.mixed,
    tasks_app.with_hooks,
]

#: The check that each wrong task must fail, and why.
WRONG = {
    ("wrong.no_lock", checks.a_loser_frees_nothing): "two ran at once",
    ("wrong.no_lock", checks.an_eager_loser_frees_nothing): "it ran beside the holder",
    ("wrong.frees", checks.a_loser_frees_nothing): "two ran at once",
    ("wrong.frees", checks.an_eager_loser_frees_nothing): "it freed the holder's lock",
    ("wrong.leaks", checks.every_end_releases): "should be free",
    ("wrong.leaks", checks.a_retry_does_not_meet_its_own_lock): "'try'",
}

Check = Callable[[Any, Stage], None]


def name_of(value: Any) -> str:
    return str(getattr(value, "name", None) or getattr(value, "__name__", value))


@pytest.mark.parametrize("check", checks.ALL, ids=name_of)
@pytest.mark.parametrize("task", RIGHT, ids=lambda task: task.name)
def test_a_locked_task_is_safe_whatever_its_hooks_do(task: Any, check: Check, stage: Stage) -> None:
    check(task, stage)


@pytest.mark.parametrize(("name", "check"), WRONG, ids=lambda value: str(getattr(value, "__name__", value)))
def test_the_checks_catch_a_wrong_task(name: str, check: Check, stage: Stage) -> None:
    """A check that never fails proves nothing."""
    stage.journal.patience_s = 2.0

    with pytest.raises(AssertionError, match=WRONG[name, check]):
        check(tasks_app.app.tasks[name], stage)


@pytest.mark.parametrize("task", [tasks_app.retry, tasks_app.wait], ids=lambda task: task.name)
def test_300_runs_on_3_keys_in_4_processes_never_overlap(task: Any, stage: Stage) -> None:
    assert checks.meet(stage, task) == 0

    for number in range(checks.KEYS):
        stage.is_free(task, f"key-{number}")
    left_over = {key: stage.locks.pttl(key) for key in stage.locks.scan_iter()}
    # Of what the statistics say, not of one lock.
    left_over = {key: left for key, left in left_over.items() if not key.startswith("redislock.stats:")}
    assert not [key for key in left_over if key.startswith("redislock:")]
    assert all(key.startswith("redislock.") for key in left_over)
    # Those that were retried waited for their time at the broker, which may deliver such a message again.
    done = {key for key, left in left_over.items() if left > 120_000}
    assert all(key.startswith("redislock.done") for key in done)
    assert all(0 < left <= 3_600_000 for left in left_over.values())


def test_200_runs_that_each_take_two_of_four_locks_in_any_order_never_overlap(stage: Stage) -> None:
    """None waits for one that waits for it: each waits for a minute, and all end in less."""
    runs, chance = 200, random.Random(14)
    for _ in range(runs):
        pair = "+".join(chance.sample("abcd", 2))
        stage.send(tasks_app.pair, pair, ["work_at_both", chance.uniform(0.0, 0.008)], ignore_result=True)

    eventually(lambda: len(stage.journal.entries("visit")) >= 2 * runs, 50, f"{runs} runs should have ended")

    assert stage.journal.overlaps() == 0
    assert not stage.journal.entries("conflict")
    for pair in ("a+b", "c+d"):
        stage.is_free(tasks_app.pair, pair)


@pytest.mark.parametrize("name", ["off", "wrong.no_lock"])
def test_the_same_runs_overlap_without_the_lock(name: str, stage: Stage, record_property: Any) -> None:
    """Else the absence of overlaps would prove nothing."""
    overlaps = checks.meet(stage, tasks_app.app.tasks[name])

    record_property("overlaps", overlaps)
    print(f"overlaps with {name}: {overlaps}")
    assert overlaps > 0


@pytest.mark.parametrize("task", [tasks_app.skip, tasks_app.autoretry], ids=["retry", "autoretry_for"])
def test_200_retries_without_a_delay_never_meet_their_own_lock(task: Any, stage: Stage) -> None:
    step = "retry" if task is tasks_app.skip else "fail"
    result = stage.send(task, "a", [step, 200])

    assert result.get(timeout=60) is None

    assert len(stage.journal.entries("try", id=result.id)) == 201
    assert not stage.journal.entries("conflict")
    # The result is there a moment before the last release.
    eventually(lambda: len(stage.journal.entries("released", id=result.id)) == 201)


@pytest.mark.parametrize(("task", "times"), [(tasks_app.skip, 200), (tasks_app.lingering, 50)], ids=name_of)
def test_whoever_read_the_result_is_not_skipped(task: Any, times: int, stage: Stage) -> None:
    """Celery stores the result before it calls `after_return`."""
    for number in range(times):
        assert stage.send(task, "a", ["give", number]).get(timeout=20) == number

    assert not stage.journal.entries("conflict")


def test_calls_that_mean_the_same_share_a_lock(stage: Stage) -> None:
    holder = tasks_app.defaults.apply_async((1,), queue=stage.queue)
    stage.journal.wait_for("begun", id=holder.id)
    same = [((), {"a": 1}), ((1,), {"b": 7}), ((1, 7), {}), ((), {"b": 7, "a": 1})]

    skipped = [tasks_app.defaults.apply_async(args, kwargs, queue=stage.queue) for args, kwargs in same]

    assert [type(result.get(timeout=20, propagate=False)).__name__ for result in skipped] == [
        "TaskRevokedError"
    ] * 4
    stage.journal.open("defaults")
    holder.get(timeout=20)


def test_calls_that_differ_in_a_type_run_side_by_side(stage: Stage) -> None:
    results = [tasks_app.defaults.apply_async((a,), queue=stage.queue) for a in (1, "1", True, 1.0)]

    stage.journal.wait_for("begun", times=4)

    assert len({tasks_app.defaults.lock_name(a) for a in (1, "1", True, 1.0)}) == 4
    stage.journal.open("defaults", times=4)
    for result in results:
        result.get(timeout=20)


def test_no_value_of_an_argument_is_stored_or_logged(stage: Stage) -> None:
    secret = "S3cretValue"
    holder = tasks_app.secret.apply_async((secret,), {"other": [secret]}, queue=stage.queue)
    stage.journal.wait_for("begun", id=holder.id)
    loser = tasks_app.secret.apply_async((secret,), {"other": [secret]}, queue=stage.queue)
    reason = str(loser.get(timeout=20, propagate=False))

    while_it_runs = stage.everything_in_the_lock_store()
    stage.journal.open("secret")
    holder.get(timeout=20)
    stage.is_free(tasks_app.secret, secret, other=[secret])
    afterwards = stage.everything_in_the_lock_store()

    assert holder.id in while_it_runs, "the scan should see what the holder says of itself"
    for text in (while_it_runs, afterwards, reason, stage.log(), repr(stage.journal.entries("conflict"))):
        assert secret not in text


def test_a_key_of_the_users_own_shows_what_he_put_into_it(stage: Stage) -> None:
    """The scan for values would find one."""
    tasks_app.keyed.apply_async(("InTheOpen",), queue=stage.queue).get(timeout=20)

    assert "InTheOpen" in stage.everything_in_the_lock_store()
