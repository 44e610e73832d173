"""Public surface: the names by which users, other versions and other programs know us."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

import pytest
from celery import Celery
from celery.utils.imports import symbol_by_name

import celery_redislock
from celery_redislock import locked_batch
from celery_redislock.engine.protocol.keys import LockKeys

#: What is imported from the package itself.
NAMES = {
    *("RedisLock", "RedisLocks", "Holder"),
    *("LockedTask", "LockedRequest", "locked_task", "locked_batch", "current_lock"),
    *("Conflict", "LockKey", "TaskLock", "Unlocked", "CallOptions"),
    *("RedislockError", "ConfigurationError", "LockBusy", "LockKeyError", "LockLost", "StoreUnavailable"),
}

#: What stands as text in settings, options and command lines.
PATHS = [
    "celery_redislock:LockedTask",
    "celery_redislock:LockedRequest",
    "celery_redislock.beat:LockedScheduler",
    "celery_redislock.signals:lock_acquired",
    "celery_redislock.signals:lock_released",
    "celery_redislock.signals:lock_conflict",
    "celery_redislock.signals:lock_lost",
    "celery_redislock.engine:RedisLock",
    "celery_redislock.testing:LockStore",
    "celery_redislock.testing:assert_lock_required",
    "celery_redislock.testing:assert_locked",
    "celery_redislock.testing:assert_other_lock",
    "celery_redislock.testing:assert_ran_once",
    "celery_redislock.testing:assert_same_lock",
    "celery_redislock.testing:assert_skipped",
    "celery_redislock.testing.plugin:redislock",
]

#: Kinds of keys in Redis, ``redislock.<kind>...``: workers of two versions share them.
KINDS = {
    *("holder", "done", "waiters", "seen", "questions", "reservation", "pending"),
    *("members", "inflight", "ledger"),
}


def test_the_package_has_these_names_and_no_other() -> None:
    assert set(celery_redislock.__all__) == NAMES


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_users_write_leads_somewhere(path: str) -> None:
    assert symbol_by_name(path) is not None


def test_the_command_line_finds_its_commands() -> None:
    (found,) = (
        each for each in entry_points(group="celery.commands") if each.module.startswith("celery_redislock")
    )

    assert found.name == "locks"
    assert found.load().name == "locks"


def test_each_app_has_the_task_that_publishes_batches_under_its_name() -> None:
    importlib.import_module("celery_redislock.batch")
    with Celery(set_as_current=False) as app:
        assert "celery_redislock.start_batch" in app.tasks


def test_a_batch_is_written_with_the_words_that_another_version_reads() -> None:
    with Celery(set_as_current=False) as app:
        batch = locked_batch(app.signature("step"), lock_key="k")

    assert (batch["task"], batch["subtask_type"]) == ("celery_redislock.batch", "locked_batch")


def test_the_keys_in_redis_are_of_these_kinds() -> None:
    assert set(LockKeys.__annotations__) - {"lock"} == KINDS
