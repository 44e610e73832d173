"""Conflict: what a policy makes of a busy lock, in eager calls that need no worker."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from typing import Any, NoReturn

import pytest
import redis
from celery import Celery
from celery.exceptions import TaskRevokedError

from celery_redislock import ConfigurationError, Holder, LockBusy, RedisLock
from celery_redislock.config.resolution import resolve
from celery_redislock.conflicts.conflict import Conflict
from celery_redislock.events import Conflicted, listen, unlisten
from celery_redislock.messages.celery_exceptions import Skipped
from celery_redislock.signals import lock_conflict

from ...support.applications import busy, locked


@pytest.fixture
def told() -> Iterator[list[tuple[Any, str]]]:
    """Give what the signal of a conflict says: the conflict and the action."""
    seen: list[tuple[Any, str]] = []

    def receive(sender: Any, conflict: Any, action: str, **_: Any) -> None:
        seen.append((conflict, action))

    lock_conflict.connect(receive)
    yield seen
    lock_conflict.disconnect(receive)


class Retrying(list[float]):
    """A policy that retries without sleeping: it lists its delays.

    Args:
        free: Called in place of the sleep number `at`.
        at: The first is 1.
    """

    def __init__(self, free: Callable[[], object] = lambda: None, at: int = 0) -> None:
        super().__init__()
        self._free, self._at = free, at

    def __call__(self, task: Any, conflict: Conflict) -> NoReturn:
        replace(conflict, _sleep=self._sleep).retry()

    def _sleep(self, seconds: float) -> None:
        self.append(seconds)
        if len(self) == self._at:
            self._free()


def conflict_of(lease_left: float | None, **options: Any) -> Conflict:
    declared = resolve({}, "t", {"on_conflict": "retry", **options})
    return Conflict("lock", Holder(lease_left=lease_left), "id", "hash", _options=declared)


# ---- what is told


def test_how_long_a_call_has_waited_is_told(app: Celery) -> None:
    heard: list[Conflicted] = []
    task = locked(app, lambda: None, name="t", lock_wait=0.2)
    listen(Conflicted, heard.append)
    try:
        with busy(task):
            task.apply()
    finally:
        unlisten(Conflicted, heard.append)

    (told,) = heard
    assert told.waited_s >= 0.2


# ---- skip


def test_a_skipped_call_is_revoked_and_its_body_does_not_run(app: Celery, told: list[Any]) -> None:
    ran: list[int] = []
    task = locked(app, lambda a: ran.append(a), name="t")

    with busy(task, 1) as lock:
        result = task.apply((1,))

    assert ran == []
    assert result.state == "REVOKED"
    with pytest.raises(TaskRevokedError, match=lock.name):
        result.get()
    ((conflict, action),) = told
    assert action == "skip"
    assert conflict.lock_name == lock.name
    assert conflict.task_id == result.id
    assert conflict.holder.metadata["task"] == "t"
    assert 0 < conflict.lease_left <= 30


def test_a_skipped_call_is_no_success_when_errors_propagate(app: Celery) -> None:
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    task = locked(app, lambda: 1, name="t")

    with busy(task):
        assert task.delay().state == "REVOKED"

    assert task.delay().get() == 1


def test_what_celery_is_told_of_a_skip_survives_the_way_to_the_parent() -> None:
    skipped = pickle.loads(pickle.dumps(Skipped("lock 'a' is busy")))

    assert type(skipped) is Skipped
    assert skipped.args == ("lock 'a' is busy",)


def test_a_busy_conflict_survives_the_way_to_the_parent() -> None:
    busy = pickle.loads(pickle.dumps(conflict_of(3.0).busy()))

    assert (busy.name, busy.holder.lease_left, busy.retry_after) == ("lock", 3.0, 3.0)


def test_a_conflict_shows_no_more_of_the_arguments_than_a_hash(app: Celery, told: list[Any]) -> None:
    task = locked(app, lambda value: None, name="t")

    with busy(task, "S3cretValue"):
        result = task.apply(("S3cretValue",))
        task.apply((), {"value": "S3cretValue"})

    (first, _), (second, _) = told
    assert first.args_hash == second.args_hash != ""
    assert "S3cretValue" not in repr(told) + str(result.result) + first.reason


# ---- retry


def test_an_eager_retry_waits_and_runs_when_the_lock_is_free(app: Celery, told: list[Any]) -> None:
    delays = Retrying(lambda: lock.release(), at=5)
    task = locked(app, lambda a: a, name="t", lock_on_conflict=delays, lock_retry_delay=(1, 60))
    lock: RedisLock = task.lock_for(3)
    assert lock.acquire()

    result = task.apply((3,))

    assert (result.state, result.result) == ("SUCCESS", 3)
    assert [action for _, action in told] == ["retry"] * 5
    assert delays[0] <= 1
    assert 8 <= delays[4] <= 16


def test_conflicts_take_nothing_from_the_retries_of_the_user(app: Celery) -> None:
    seen: list[int] = []

    def body(self: Any) -> str:
        seen.append(self.request.retries)
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return "done"

    delays = Retrying(lambda: lock.release(), at=4)
    task = locked(app, body, name="t", bind=True, max_retries=2, lock_on_conflict=delays)
    lock: RedisLock = task.lock_for()
    assert lock.acquire()

    assert task.apply().result == "done"
    assert seen == [0, 1, 2]
    assert len(delays) == 4


def test_retrying_gives_up_with_lock_busy_when_its_time_is_over(app: Celery, told: list[Any]) -> None:
    delays = Retrying()
    task = locked(app, lambda: None, name="t", lock_on_conflict=delays, lock_retry_for=100)

    with busy(task) as lock:
        result = task.apply()

    assert result.state == "FAILURE"
    assert isinstance(result.result, LockBusy)
    assert result.result.name == lock.name
    assert [action for _, action in told][-1] == "fail"
    assert sum(delays) == pytest.approx(100, abs=0.01)


def test_how_long_it_has_been_tried_is_not_told_by_clocks(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try may be in another worker, whose clock is an hour ahead, or behind."""
    delays = Retrying()
    task = locked(app, lambda: None, name="t", lock_on_conflict=delays, lock_retry_for=100)
    wrong = cycle([1e9, 1e9 + 3600, 1e9 - 3600])
    monkeypatch.setattr(time, "time", lambda: next(wrong))

    with busy(task):
        assert isinstance(task.apply().result, LockBusy)

    assert sum(delays) == pytest.approx(100, abs=0.01)


# ---- fail


def test_a_failed_conflict_is_lock_busy_with_its_holder(app: Celery, told: list[Any]) -> None:
    task = locked(app, lambda: None, name="t", lock_on_conflict="fail")

    with busy(task), pytest.raises(LockBusy) as caught:
        task.apply().get()

    assert caught.value.holder is not None
    assert caught.value.holder.metadata["task"] == "t"
    assert [action for _, action in told] == ["fail"]


def test_a_holder_of_another_kind_without_a_lease_gives_no_misleading_countdown(
    app: Celery, client: redis.Redis
) -> None:
    client.set("redislock:t", "a shell script")
    task = locked(app, lambda: None, name="t", lock_on_conflict="fail")

    busy = task.apply().result

    assert isinstance(busy, LockBusy)
    assert busy.retry_after is None
    assert client.get("redislock:t") == b"a shell script"


# ---- a callable


def end_with(app: Celery, policy: Callable[..., Any], **options: Any) -> Any:
    task = locked(app, lambda: "ran", name="t", lock_on_conflict=policy, **options)
    with busy(task):
        return task.apply()


@pytest.mark.parametrize("policy", [lambda t, c: None, lambda t, c: "skip", lambda t, c: c.skip()])
def test_a_callable_skips(app: Celery, told: list[Any], policy: Callable[..., Any]) -> None:
    assert end_with(app, policy).state == "REVOKED"
    assert [action for _, action in told] == ["skip"]


@pytest.mark.parametrize("policy", [lambda t, c: "fail", lambda t, c: c.fail()])
def test_a_callable_fails_the_task(app: Celery, told: list[Any], policy: Callable[..., Any]) -> None:
    assert isinstance(end_with(app, policy).result, LockBusy)
    assert [action for _, action in told] == ["fail"]


@pytest.mark.parametrize("decide", [lambda c: "retry", lambda c: c.retry()])
def test_a_callable_retries(app: Celery, told: list[Any], decide: Callable[..., Any]) -> None:
    def policy(_: Any, conflict: Conflict) -> Any:
        lock.release()
        return decide(conflict)

    task = locked(app, lambda: "ran", name="t", lock_on_conflict=policy, lock_retry_delay=(0.01, 0.01))
    lock: RedisLock = task.lock_for()
    assert lock.acquire()

    assert task.apply().result == "ran"
    assert [action for _, action in told] == ["retry"]


def test_a_callable_learns_the_task_and_the_conflict(app: Celery) -> None:
    seen: list[Any] = []
    task = locked(app, lambda a: "ran", name="t", lock_on_conflict=lambda *both: seen.extend(both))

    with busy(task, 1) as lock:
        result = task.apply((1,))

        assert seen[1].holder.fencing_token == lock.fencing_token
    assert seen[0].name == "t"
    conflict = seen[1]
    assert (conflict.lock_name, conflict.task_id) == (lock.name, result.id)
    assert 0 < conflict.lease_left <= 30
    assert len(conflict.args_hash) == 16


def test_the_error_of_a_callable_is_the_result(app: Celery, told: list[Any]) -> None:
    def policy(task: Any, conflict: Any) -> None:
        raise LookupError("of the user's own")

    result = end_with(app, policy)

    assert result.state == "FAILURE"
    assert isinstance(result.result, LookupError)
    assert [action for _, action in told] == ["callable"]


@pytest.mark.parametrize(
    "answer", ["skp", 7, ["skip"], {"a": 1}, True, object()], ids=lambda answer: type(answer).__name__
)
def test_a_callable_that_returns_nonsense_fails_the_task_with_the_valid_answers(
    app: Celery, answer: Any
) -> None:
    result = end_with(app, lambda task, conflict: answer)

    assert isinstance(result.result, ConfigurationError)
    assert "'skip', 'retry', 'fail', 'coalesce', 'replace', None" in str(result.result)


def test_a_conflict_without_a_call_has_no_options() -> None:
    with pytest.raises(ConfigurationError, match="does not belong to a call"):
        Conflict("lock", Holder(), "id", "hash").options  # noqa: B018 - looking it up is what is tested


# ---- what is stored of an eager call


@pytest.fixture(params=["setting", "option"])
def stored(app: Celery, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Have eager results stored, and give the options of a task that go with it."""
    if request.param == "setting":
        app.conf.task_store_eager_result = True
        return {}
    return {"store_eager_result": True}


@pytest.mark.parametrize(
    ("policy", "state"),
    [("skip", "REVOKED"), ("fail", "FAILURE"), ("coalesce", "RETRY"), ("replace", "RETRY")],
)
def test_the_end_of_an_eager_call_is_stored_where_that_is_asked_for(
    app: Celery, stored: dict[str, Any], policy: str, state: str
) -> None:
    task = locked(app, lambda: None, name="t", lock_on_conflict=policy, **stored)
    with busy(task):
        result = task.apply()

    assert (result.state, app.AsyncResult(result.id).state) == (state, state)


def test_the_end_of_an_eager_call_with_a_scope_is_stored_too(app: Celery, stored: dict[str, Any]) -> None:
    app.conf.task_always_eager = True
    task = locked(app, lambda: None, name="t", lock_scope="task", **stored)
    with busy(task):
        result = task.delay()
    app.conf.task_always_eager = False  # to ask for what is stored

    assert (result.state, app.AsyncResult(result.id).state) == ("REVOKED", "REVOKED")


def test_an_eager_retry_is_stored_as_it_ends(app: Celery, stored: dict[str, Any]) -> None:
    task = locked(app, lambda: None, name="t", lock_on_conflict=Retrying(), lock_retry_for=3, **stored)
    with busy(task):
        result = task.apply()

    assert (result.state, app.AsyncResult(result.id).state) == ("FAILURE", "FAILURE")


def test_nothing_is_stored_of_an_eager_call_otherwise(app: Celery) -> None:
    task = locked(app, lambda: None, name="t")
    with busy(task):
        result = task.apply()

    assert app.AsyncResult(result.id).state == "PENDING"
