"""Migration: what users of celery-once and celery-singleton rely on, said in our options.

``docs/howto/migrate_from_*.md`` map each option of theirs; the tests below hold what the pages promise. A
docstring names the test of theirs that is said anew. ``tests/docs/guides/test_migrate_*.py`` follow them.
"""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from celery import Celery
from celery_once import QueueOnce
from celery_singleton import DuplicateTaskError, Singleton
from click.testing import CliRunner
from redbeat import RedBeatScheduler

from celery_redislock import LockBusy, LockedTask
from celery_redislock.operations.commands import locks
from celery_redislock.signals import lock_conflict

from ...support.applications import application
from ...support.deadlines import eventually
from ...support.places import DOCS
from ..ends.stage import Stage, new_key

#: Page -> every option, setting and call of theirs that a user can have written.
THEIRS = {
    "celery_once": [
        *("QueueOnce", "once={", "keys", "timeout", "graceful", "unlock_before_run", "AlreadyQueued"),
        *("ONCE", "default_timeout", "blocking", "blocking_timeout", "url", "location", "backend"),
        *("countdown", "get_key", "clear_lock"),
    ],
    "celery_singleton": [
        *("Singleton", "unique_on", "raise_on_duplicate", "lock_expiry", "DuplicateTaskError", "clear_locks"),
        *("singleton_key_prefix", "singleton_backend_class", "singleton_backend_url"),
        *("singleton_backend_kwargs", "singleton_json_encoder_class", "singleton_raise_on_duplicate"),
        *("singleton_lock_expiry", "release_lock", "on_duplicate", "generate_lock", "get_existing_task_id"),
    ],
    "redis_py": [
        *("client.lock(", "timeout", "blocking=False", "blocking_timeout", "LockError", "LockNotOwnedError"),
        *("extend()", "reacquire()", "sleep", "thread_local", "with client.lock("),
    ],
    "the_cookbook": ["lock_id", "cache.add(", "cache.delete(", "if acquired", "return None"],
    "redbeat": [
        *("redbeat.RedBeatScheduler", "redbeat_lock_key", "redbeat_lock_timeout", "redbeat_redis_url"),
        *("redbeat_key_prefix", "redbeat_redis_options", "LockNotOwnedError", "RedBeatSchedulerEntry"),
    ],
}


@pytest.mark.parametrize("package", THEIRS)
def test_the_guide_maps_every_option_of_theirs(package: str) -> None:
    page = (DOCS / "howto" / f"migrate_from_{package}.md").read_text(encoding="utf-8")
    (section,) = (section for section in page.split("\n## ") if section.startswith("What replaces what"))
    theirs = "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("|"))

    assert not [word for word in THEIRS[package] if word not in theirs]


# ---- what the pages say of the others


def test_celery_once_takes_text_for_a_number_and_a_default_for_a_difference(store: str) -> None:
    app = Celery("once", broker="memory://", set_as_current=False)
    app.conf.ONCE = {"backend": "celery_once.backends.Redis", "settings": {"url": f"{store}/7"}}
    once = app.task(base=QueueOnce, name="once", shared=False)(plain)

    assert once.get_key([1]) == once.get_key(["1"])
    assert once.get_key([1]) != once.get_key([1, 2])


def test_celery_singleton_takes_a_keyword_for_a_difference_and_a_retry_for_a_duplicate(store: str) -> None:
    app = Celery("singleton", broker="memory://", backend=f"{store}/7", set_as_current=False)
    app.conf.singleton_key_prefix = new_key()
    singleton = app.task(base=Singleton, name=new_key(), shared=False)(plain)
    with app:
        first = singleton.apply_async([1])
        queue = app.conf.task_default_queue

        assert singleton.generate_lock("once", [1]) != singleton.generate_lock("once", [], {"a": 1})
        assert singleton.apply_async([1], task_id=first.id, retries=1).id == first.id
        with app.connection_for_read() as connection:
            assert connection.SimpleQueue(queue).qsize() == 1, "the retry should not be published"


def test_the_error_of_celery_singleton_cannot_be_unpickled() -> None:
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(DuplicateTaskError("there", task_id="1")))


def test_a_lock_of_redbeat_outlives_its_beat_by_25_minutes() -> None:
    assert RedBeatScheduler.lock_timeout == 25 * 60


def test_a_waiter_of_redis_py_asks_ten_times_a_second() -> None:
    assert inspect.signature(redis.lock.Lock).parameters["sleep"].default == 0.1


# ---- one name for two locks


def test_a_task_and_redis_pys_own_lock_exclude_each_other_under_one_name(store: str) -> None:
    app = application(f"{store}/7", redislock_prefix="")

    @app.task(base=LockedTask, name="report", lock_key="nightly-report", shared=False)
    def report() -> str:
        return "ran"

    with redis.Redis.from_url(f"{store}/7") as client, app:
        with client.lock("nightly-report", timeout=60, blocking=False):
            assert report.apply().state == "REVOKED"
        with report.lock_for():
            assert not client.lock("nightly-report", timeout=60).acquire(blocking=False)
        assert report.apply().get() == "ran"


@pytest.fixture
def migrated(store: str) -> Iterator[Callable[..., Any]]:
    """Make tasks of an app of the test's own, without a worker."""
    app = application(f"{store}/7", task_default_queue=new_key())

    def make(function: Callable[..., Any], **options: Any) -> Any:
        app.conf.update({name: options.pop(name) for name in list(options) if name.startswith("redislock_")})
        options = {"lock_scope": "task", "name": new_key(), **options}
        return app.task(base=LockedTask, shared=False, lazy=False, **options)(function)

    yield make
    app.close()


def lease(task: Any, *args: Any) -> float:
    """Return how long a waiting call of a task blocks others, seconds."""
    client = task.lock_for(*args).redis_client
    return float(client.pttl(f"redislock.reservation:{{{task.lock_name(*args)}}}") / 1000)


def plain(a: Any = 1, b: Any = 2) -> None: ...


# ---- which calls are equal


def test_positional_and_keyword_arguments_are_one_call(migrated: Any) -> None:
    """celery-once: test_get_key_args_1, _args_2; celery-singleton gets this wrong."""
    task = migrated(plain)

    assert task.delay(1, 2).id == task.delay(b=2, a=1).id == task.delay(1).id == task.delay().id


def test_some_arguments_can_make_the_key(migrated: Any) -> None:
    """celery-once: test_get_key_select_args_1; celery-singleton: TestUniqueOn."""
    task = migrated(plain, lock_args=["a"])

    assert task.delay(1, 2).id == task.delay(1, 3).id == task.delay(a=1).id != task.delay(2).id


def test_none_can_make_it_too(migrated: Any) -> None:
    """celery-once: ``keys=[]``."""
    task = migrated(plain, lock_args=())

    assert task.delay(1).id == task.delay(2).id


def test_self_is_no_argument(migrated: Any) -> None:
    """celery-once: test_get_key_bound_task, test_get_call_args_bound."""

    def bound(self: Any, a: int) -> None: ...

    task = migrated(bound, bind=True)

    assert task.delay(1).id == task.delay(a=1).id != task.delay(2).id


def test_autoretry_does_not_change_the_key(migrated: Any) -> None:
    """celery-once: test_get_key_autoretry_for."""
    task = migrated(plain, name="once", autoretry_for=(ValueError,))
    same = migrated(plain, name="once")

    assert task.lock_name(1) == same.lock_name(1)


def test_keys_do_not_collide(migrated: Any) -> None:
    """celery-once takes all of these for one call."""
    task = migrated(plain)

    assert len({task.delay(*call).id for call in [("1_b-2",), (1, 2), ("1", "2")]}) == 3


def test_nested_values_and_text_of_any_language_are_stable(migrated: Any) -> None:
    """celery-once: nested_dict_is_sorted, unicode; celery-singleton: TestCustomJSONEncoder."""
    task, one = migrated(plain), uuid4()

    assert task.delay({"x": {"a": 1, "b": "é"}}).id == task.delay({"x": {"b": "é", "a": 1}}).id
    assert task.delay((1, 2)).id == task.delay([1, 2]).id
    assert task.delay(one).id == task.delay(UUID(str(one))).id != task.delay(uuid4()).id


# ---- what a duplicate is answered


def test_ten_duplicates_have_one_id(migrated: Any) -> None:
    """celery-singleton: queue_duplicates same id."""
    task = migrated(plain)

    assert len({task.delay().id for _ in range(10)}) == 1


def test_ten_different_calls_have_ten(migrated: Any) -> None:
    """celery-singleton: queue_multiple_uniques, different ids."""
    task = migrated(plain)

    assert len({task.delay(number).id for number in range(10)}) == 10


def test_a_duplicate_can_raise_and_the_error_names_the_first(migrated: Any) -> None:
    """celery-once: test_raise_already_queued; celery-singleton: raise_on_duplicate."""
    task = migrated(plain, lock_on_conflict="fail")
    first = task.delay()

    with pytest.raises(LockBusy) as caught:
        task.delay()

    # Theirs cannot be unpickled, which stops a worker.
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.holder.metadata["id"] == first.id
    assert 0 < error.retry_after <= 3600


def test_the_policy_of_a_task_beats_that_of_the_settings(migrated: Any) -> None:
    """celery-singleton: RaiseOnDuplicateConfig; celery-once: graceful of a task, of a call."""
    quiet = migrated(plain, redislock_on_conflict="fail", lock_on_conflict="skip")
    assert quiet.delay().id == quiet.delay().id

    loud = migrated(plain)
    first = loud.delay()
    with pytest.raises(LockBusy):
        loud.delay()
    assert loud.apply_async(lock={"on_conflict": "skip"}).id == first.id


def test_something_of_ones_own_can_be_done_about_a_duplicate(migrated: Any) -> None:
    """celery-singleton: an overridden on_duplicate."""
    task, seen = migrated(plain), []

    def receive(sender: Any, conflict: Any, action: str, **_: Any) -> None:
        seen.append((sender.name, conflict.holder.metadata["id"], action))

    lock_conflict.connect(receive)
    first = task.delay()
    task.delay()
    lock_conflict.disconnect(receive)

    assert seen == [(task.name, first.id, "skip")]


# ---- how long it blocks


def test_the_timeout_comes_from_the_call_then_the_task_then_the_settings(migrated: Any) -> None:
    """celery-once: test_apply_async_timeout, test_default_timeout; celery-singleton: TestLockExpiry."""
    by_setting = migrated(plain, redislock_queue_ttl=100)
    by_setting.delay()
    by_task = migrated(plain, lock_queue_ttl=50)
    by_task.delay(1)
    by_task.apply_async((2,), lock={"queue_ttl": 20})

    assert 95 < lease(by_setting) <= 100
    assert 45 < lease(by_task, 1) <= 50
    assert 15 < lease(by_task, 2) <= 20


def test_after_the_timeout_it_is_published_again(migrated: Any) -> None:
    """celery-once: test_redis_raise_or_lock_locked_and_expired, test_delay_expired."""
    task = migrated(plain, lock_queue_ttl=0.3)
    first = task.delay()

    eventually(lambda: lease(task) < 0)

    assert task.delay().id != first.id


def test_a_countdown_does_not_eat_the_timeout(migrated: Any) -> None:
    """celery-once #127: the lock was gone before the task was due."""
    task = migrated(plain, lock_queue_ttl=10)
    task.apply_async(countdown=100)

    assert 105 < lease(task) <= 110


# ---- what an operator does


def test_one_call_can_be_cleared_and_others_stay(migrated: Any) -> None:
    """celery-singleton: clear_locks, release_lock; celery-once: clear_lock."""
    task = migrated(plain)
    purged, other = task.delay(1), task.delay(2)

    def run(*words: str) -> str:
        return str(CliRunner().invoke(locks, words, obj=SimpleNamespace(app=task.app)).output)

    name = task.lock_name(1)
    assert f"published and not begun: id {purged.id}" in run("show", name)
    assert json.loads(run("show", "--json", name))["waiting_to_begin"] == purged.id
    assert "nothing done" in run("release", name)
    assert task.delay(1).id == purged.id
    assert f"{name}: publish lock freed" in run("release", "--force", name)

    assert task.delay(1).id != purged.id
    assert task.delay(2).id == other.id


# ---- with a worker


def call(stage: Stage, key: str, *steps: Any, task: str = "plain", **lock: Any) -> Any:
    return stage.send(task, key, *steps, lock={"scope": "task", **lock})


@pytest.mark.parametrize("step", ["give", "raise"])
def test_it_is_free_after_success_and_after_an_error(stage: Stage, step: str) -> None:
    """celery-singleton: after_success, after_error, different ids; celery-once: test_delay."""
    key = new_key()
    first = call(stage, key, *([["give", 1]] if step == "give" else [["raise"]]))
    stage.state_of(first)

    second = call(stage, key, ["give", 2])

    assert second.id != first.id
    assert second.get(timeout=20) == 2


def test_it_is_held_in_the_body(stage: Stage) -> None:
    """celery-once: test_delay, test_apply_async; celery-singleton: get_existing_task_id."""
    key = new_key()
    first = stage.hold("plain", key, ["gate", key], lock={"scope": "task"})

    assert call(stage, key).id == first.id
    holder = stage.app.tasks["plain"].lock_for(key).holder()
    assert holder is not None
    assert holder.metadata["id"] == first.id
    stage.journal.open(key)
    first.get(timeout=20)


def test_it_is_held_through_all_retries_and_free_at_the_end(stage: Stage) -> None:
    """celery-once: test_retry; celery-singleton swallows the retry."""
    key = new_key()
    first = call(stage, key, ["retry at first", 0.5], ["give", 1])
    eventually(lambda: first.state == "RETRY")
    assert call(stage, key).id == first.id

    assert first.get(timeout=20) == 1

    assert call(stage, key, ["give", 2]).get(timeout=20) == 2


@pytest.mark.parametrize("step", ["ignore", "reject", "exit"])
def test_it_is_free_after_ends_that_celery_has_no_hook_for(stage: Stage, step: str) -> None:
    """Both leave the lock behind."""
    key = new_key()
    first = call(stage, key, [step])
    stage.begun(key, first)
    eventually(lambda: not stage.is_held("plain", key))

    assert call(stage, key, ["give", 2]).get(timeout=20) == 2


def test_it_can_be_free_before_the_body_runs(stage: Stage) -> None:
    """celery-once: test_delay_unlock_before_run."""
    key = new_key()
    first = stage.hold("plain", key, ["gate", key], lock={"scope": "queue"})

    second = stage.hold("plain", key, ["gate", key], lock={"scope": "queue"})

    assert second.id != first.id
    for _ in range(2):
        stage.journal.open(key)
    assert {first.get(timeout=20), second.get(timeout=20)} == {None}


def test_an_eager_call_does_not_free_what_it_never_took(stage: Stage) -> None:
    """Both free the lock of the run that has it."""
    key = new_key()
    first = stage.hold("plain", key, ["gate", key], lock={"scope": "task"})

    assert stage.app.tasks["plain"].apply((key,)).state == "REVOKED"

    assert call(stage, key).id == first.id
    stage.journal.open(key)
    first.get(timeout=20)
