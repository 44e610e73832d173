"""Assertions: each passes on a task that does what was meant, and says what differs in one that does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, group
from celery.result import AsyncResult

from celery_redislock import LockedTask, LockLost
from celery_redislock.testing import (
    assert_lock_required,
    assert_locked,
    assert_other_lock,
    assert_ran_once,
    assert_same_lock,
    assert_skipped,
)

from ...support.applications import busy, locked


def import_csv(path: str, chunk_size: int = 10, **more: Any) -> str:
    """Import a file."""
    return path


def message_of(assertion: Callable[..., object], *args: Any, **kwargs: Any) -> str:
    """Return what an assertion says that must fail."""
    with pytest.raises(AssertionError) as caught:
        assertion(*args, **kwargs)
    return str(caught.value)


class TestNames:
    def task(self, app: Celery, name: str = "shop.import", **options: Any) -> Any:
        return locked(app, import_csv, name=name, **options)

    def test_calls_that_share_a_lock_do(self, app: Celery) -> None:
        task = self.task(app, lock_args=["path"])

        assert_same_lock(task.s("a"), task.si(path="a", chunk_size=3))
        assert_other_lock(task.s("a"), task.s("b"))

    def test_both_keys_and_the_argument_that_makes_the_difference_are_told(self, app: Celery) -> None:
        task = self.task(app)
        one, other = task.s("a", chunk_size=3, user=1), task.s("a", user=1)

        told = message_of(assert_same_lock, one, other)

        assert f"shop.import takes {task.lock_name('a', chunk_size=3, user=1)!r}" in told
        assert f"shop.import takes {task.lock_name('a', user=1)!r}" in told
        assert "argument 'chunk_size' differs and makes the difference" in told

    def test_an_argument_that_differs_without_effect_is_told(self, app: Celery) -> None:
        task = self.task(app, lock_args=["path"])

        told = message_of(assert_other_lock, task.s("a"), task.s("a", chunk_size=3))

        assert told.count(repr(task.lock_name("a"))) == 2
        assert "argument 'chunk_size' differs, but makes no difference" in told

    def test_equal_calls_are_told_as_such(self, app: Celery) -> None:
        task = self.task(app)

        told = message_of(assert_other_lock, task.s("a"), task.s("a", chunk_size=10))

        assert "no argument differs" in told

    @pytest.mark.parametrize(
        ("key", "other_key", "args", "told"),
        [
            ("file:{path}", "csv:{path}", ("a", "a"), "the tasks differ"),
            ("file:{path}", "file:{path}", ("a", "b"), "argument 'path' differs"),
            (None, None, ("a", "a"), "the tasks differ"),
        ],
    )
    def test_of_two_tasks_it_is_told_whether_the_tasks_or_their_arguments_differ(
        self, app: Celery, key: Any, other_key: Any, args: tuple[str, str], told: str
    ) -> None:
        one = self.task(app, "shop.one", lock_key=key)
        another = self.task(app, "shop.another", lock_key=other_key)

        assert told in message_of(assert_same_lock, one.s(args[0]), another.s(args[1]))

    def test_of_several_locks_one_that_is_common_keeps_calls_apart(self, app: Celery) -> None:
        def transfer(source: str, target: str) -> None:
            """Move money."""

        task = locked(app, transfer, lock_key=["account:{source}", "account:{target}"])

        assert_same_lock(task.s("a", "b"), task.s("b", "a"))
        assert_other_lock(task.s("a", "b"), task.s("c", "d"))
        assert "argument 'source' differs, but makes" not in message_of(
            assert_same_lock, task.s("a", "b"), task.s("c", "b")
        )
        assert "take the same lock" in message_of(assert_other_lock, task.s("a", "b"), task.s("b", "c"))

    def test_the_lock_options_of_a_call_count(self, app: Celery) -> None:
        task = self.task(app)
        own = task.s("a").set(lock={"key": "mine"})

        assert_same_lock(own, task.s("b").set(lock={"key": "mine"}))
        assert "lock options of their own" in message_of(assert_same_lock, own, task.s("a"))

    def test_a_task_without_a_lock_is_told(self, app: Celery) -> None:
        plain = app.task(import_csv, name="shop.plain", shared=False)

        assert "shop.plain is not a locked task: declare it with @locked_task" in message_of(
            assert_same_lock, plain.s("a"), plain.s("a")
        )

    def test_what_is_no_call_is_refused(self, app: Celery) -> None:
        task = self.task(app)

        for other, told in ((group(task.s("a"), task.s("b")), "not a group"), ("a", "not a str")):
            with pytest.raises(TypeError, match=told):
                assert_same_lock(task.s("a"), other)
        with pytest.raises(TypeError, match=r"shop.import\(\) missing a required argument: 'path'"):
            assert_same_lock(task.s("a"), task.s())


class TestLocked:
    def test_a_lock_that_is_held_passes_and_a_free_one_is_named(self, app: Celery) -> None:
        task = locked(app, import_csv)

        with busy(task, "a"):
            assert_locked(task, "a")
            told = message_of(assert_locked, task, "b")

        assert f"nobody holds {task.lock_name('b')!r}" in told

    def test_a_call_that_takes_no_lock_says_why(self, app: Celery) -> None:
        off = locked(app, import_csv, name="shop.off", lock_mode="off")
        queue = locked(app, import_csv, name="shop.queue", lock_scope="queue")

        assert 'shop.off takes no lock: its lock_mode is "off"' in message_of(assert_locked, off, "a")
        assert 'its lock_scope is "queue"' in message_of(assert_locked, queue, "a")


class TestSkipped:
    @pytest.mark.parametrize("by", [None, "shop.import", "holder-7"])
    def test_a_skipped_call_passes_whoever_had_the_lock(self, app: Celery, by: Any) -> None:
        task = locked(app, import_csv, name="shop.import")

        with task.lock_for("a"):
            skipped = task.apply(("a",))

        if by == "holder-7":
            assert "not skipped by 'holder-7': its lock was held by: task shop.import" in message_of(
                assert_skipped, skipped, by=by
            )
        else:
            assert_skipped(skipped, by=by)

    def test_the_holder_may_be_a_result(self, app: Celery) -> None:
        def outer(self: LockedTask) -> Any:
            """Call another task under the lock of this run."""
            other = threading.Thread(target=lambda: skipped.append(inner.apply()))
            other.start()
            other.join()

        skipped: list[Any] = []
        task = locked(app, outer, bind=True, lock_key="k")
        inner = locked(app, lambda: None, lock_key="k")

        result = task.apply()

        assert_skipped(skipped[0], by=result)
        assert "not skipped by" in message_of(assert_skipped, skipped[0], by=AsyncResult("other", app=app))

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"lock_on_conflict": "fail"}, "its state is FAILURE: LockBusy: lock"),
            ({"lock_on_conflict": "coalesce"}, "its state is RETRY: it is tried again"),
            ({"lock_mode": "shadow"}, "its state is SUCCESS: its body ran"),
        ],
    )
    def test_another_end_is_told(self, app: Celery, options: Any, told: str) -> None:
        task = locked(app, import_csv, **options)

        with busy(task, "a"):
            assert told in message_of(assert_skipped, task.apply(("a",)))

    def test_a_result_that_does_not_come_is_told(self, app: Celery) -> None:
        task = locked(app, import_csv)

        assert "its state is PENDING: it has not ended; is there a worker?" in message_of(
            assert_skipped, task.delay("a"), within=0.05
        )

    def test_a_call_that_somebody_has_revoked_was_not_skipped(self, app: Celery) -> None:
        task = locked(app, import_csv)
        result = task.delay("a")
        app.backend.mark_as_revoked(result.id, "terminated")

        assert "not skipped because its lock was busy" in message_of(assert_skipped, result)


def told_after(task: Any, calls: Callable[[], object]) -> str:
    """Return what `assert_ran_once` says after these calls, of the call with "a"."""

    def count() -> None:
        with assert_ran_once(task, "a"):
            calls()

    return message_of(count)


class TestRanOnce:
    def task(self, app: Celery, **options: Any) -> Any:
        return locked(app, import_csv, name="shop.import", lock_args=["path"], **options)

    def test_one_run_passes_beside_a_call_that_is_skipped(self, app: Celery) -> None:
        task = self.task(app)

        with assert_ran_once(task, "a"):
            task.apply(("a",))
            with busy(task, "a"):
                task.apply(("a",))

    @pytest.mark.parametrize("mode", ["on", "off"])
    def test_two_runs_are_counted_also_where_the_task_takes_no_lock(self, app: Celery, mode: str) -> None:
        task = self.task(app, lock_mode=mode)

        told = told_after(task, lambda: [task.apply(("a",)), task.apply(("a", 3))])

        assert "shop.import ran 2 times" in told
        assert ('it takes no lock: its lock_mode is "off"' in told) is (mode == "off")

    def test_runs_under_another_lock_and_calls_without_a_body_are_told(self, app: Celery) -> None:
        task = self.task(app)

        with busy(task, "a"):
            told = told_after(task, lambda: [task.apply(("a",)), task.apply(("b",))])

        assert f"shop.import ran 0 times under {task.lock_name('a')!r}" in told
        assert "under other locks it ran once" in told
        assert "1 of its 2 calls ended without their body" in told

    def test_a_run_that_has_not_ended_is_waited_for(self, app: Celery) -> None:
        has_begun, goes_on = threading.Event(), threading.Event()

        def slow() -> None:
            """Run until the block is left."""
            has_begun.set()
            goes_on.wait(5)

        task = locked(app, slow)
        thread = threading.Thread(target=task.apply)

        with assert_ran_once(task):
            thread.start()
            assert has_begun.wait(5)
            threading.Timer(0.1, goes_on.set).start()
        thread.join()

    def test_an_error_in_the_block_goes_on(self, app: Celery) -> None:
        with pytest.raises(ZeroDivisionError), assert_ran_once(self.task(app), "a"):
            raise ZeroDivisionError


class TestLockRequired:
    def test_a_function_that_refuses_passes(self) -> None:
        def refuse(amount: int) -> None:
            raise LockLost("(none)", "there is no lock")

        assert_lock_required(refuse, 3)

    @pytest.mark.parametrize(
        ("amount", "told"),
        [(1, "pay ran without a lock: call"), (0, "pay ran without a lock, and raised Zero")],
    )
    def test_one_that_runs_is_told(self, amount: int, told: str) -> None:
        def pay(amount: int) -> float:
            return 1 / amount

        assert told in message_of(assert_lock_required, pay, amount)
