"""Record: what becomes of a trigger that meets a busy lock, in eager calls that need no worker."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
from celery import Celery

from celery_redislock import ConfigurationError, RedisLock, StoreUnavailable
from celery_redislock.config.resolution import resolve
from celery_redislock.events import Conflicted, listen, unlisten
from celery_redislock.messages.headers import PENDING_HEADER
from celery_redislock.pending.publish import publish_pending
from celery_redislock.pending.record import record_call
from celery_redislock.pending.runs import PendingRuns

from ...support.applications import busy, locked


def body(self: Any, number: int) -> int:
    return number


def coalescing(app: Celery, **options: Any) -> Any:
    options = {"lock_on_conflict": "coalesce", **options}
    return locked(app, body, name="t", bind=True, lock_args=(), **options)


def pending(client: redis.Redis) -> list[bytes]:
    return [field for field in client.hkeys("redislock.pending:{redislock:t}") if field != b"stop"]


def messages(app: Celery) -> list[dict[str, Any]]:
    """Take all messages from the queue, and return their headers."""
    found = []
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        while queue.qsize():
            message = queue.get_nowait()
            message.ack()
            found.append(dict(message.headers))
    return found


@pytest.fixture(autouse=True)
def _empty_queue(app: Celery) -> None:
    """Forget the messages of other tests: a broker in memory is the process's."""
    messages(app)


@pytest.mark.parametrize("policy", ["coalesce", "replace"])
def test_an_eager_call_is_pending_and_says_so(app: Celery, client: redis.Redis, policy: str) -> None:
    task = coalescing(app, lock_on_conflict=policy)

    with busy(task, 1):
        result = task.apply((1,))

    assert result.state == "RETRY"
    assert pending(client) == [b"next t"]
    publish_pending(app, "redislock:t")
    (sent,) = messages(app)
    assert sent["id"] == result.id
    assert sent[PENDING_HEADER]["token"]


def test_an_eager_call_that_stands_back_is_revoked_when_the_other_begins_and_names_it(app: Celery) -> None:
    task = coalescing(app, lock_keep="first")
    with busy(task, 1):
        first, second = task.apply((1,)), task.apply((2,))
    assert (first.state, second.state) == ("RETRY", "RETRY")

    publish_pending(app, "redislock:t")
    (sent,) = messages(app)
    assert task.apply((1,), task_id=sent["id"], headers={PENDING_HEADER: sent[PENDING_HEADER]}).get() == 1

    stored = app.AsyncResult(second.id)
    assert stored.state == "REVOKED"
    assert f"superseded by task {first.id}" in str(stored.result)


def test_who_runs_in_place_of_a_superseded_call_is_told_and_what_the_message_of_that_said(
    app: Celery,
) -> None:
    heard: list[Conflicted] = []
    task = coalescing(app, lock_keep="first")
    with busy(task, 1):
        first, second = task.apply((1,)), task.apply((2,), headers={"traceparent": "of the second"})
    publish_pending(app, "redislock:t")
    (sent,) = messages(app)

    listen(Conflicted, heard.append)
    try:
        task.apply((1,), task_id=sent["id"], headers={PENDING_HEADER: sent[PENDING_HEADER]})
    finally:
        unlisten(Conflicted, heard.append)

    (told,) = heard
    assert (told.task_id, told.action, told.successor) == (second.id, "superseded", first.id)
    assert told.headers["traceparent"] == "of the second"


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("policy", ["coalesce", "replace"])
def test_a_callable_may_coalesce_or_replace(
    app: Celery, client: redis.Redis, policy: str, by_name: bool
) -> None:
    def decide(task: Any, conflict: Any) -> Any:
        return policy if by_name else getattr(conflict, policy)()

    task = coalescing(app, lock_on_conflict=decide)

    with busy(task, 1):
        assert task.apply((1,)).state == "RETRY"

    assert pending(client) == [b"next t"]
    assert client.hexists("redislock.pending:{redislock:t}", "stop") == (policy == "replace")


def test_a_lock_that_is_free_by_now_is_taken(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    task = coalescing(app)
    lock = task.lock_for(1)
    lock.acquire()
    want = PendingRuns.record

    def free_first(self: PendingRuns, *args: Any, **facts: Any) -> Any:
        lock.release()
        return want(self, *args, **facts)

    monkeypatch.setattr(PendingRuns, "record", free_first)

    assert task.apply((7,)).get() == 7


@pytest.mark.parametrize("policy", ["coalesce", "replace"])
def test_a_conflict_while_redis_goes_away_follows_lock_on_error(
    app: Celery, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    task = coalescing(app, lock_on_conflict=policy, lock_on_error="fail")

    def gone(*args: Any, **facts: Any) -> Any:
        raise StoreUnavailable("redislock:t", "gone")

    monkeypatch.setattr(PendingRuns, "record", gone)

    with busy(task, 1):
        assert isinstance(task.apply((1,)).result, StoreUnavailable)
        assert task.apply((1,), lock={"on_error": "run"}).get() == 1


def test_an_outage_as_a_run_begins_frees_the_lock_again(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    task = coalescing(app, lock_on_error="fail")
    with busy(task, 1):
        task.apply((1,))

    def gone(*args: Any, **facts: Any) -> Any:
        raise StoreUnavailable("redislock:t", "gone")

    monkeypatch.setattr(PendingRuns, "begin", gone)

    assert isinstance(task.apply((2,)).result, StoreUnavailable)
    assert not task.lock_for(1).locked()


def test_a_run_that_gets_a_free_lock_supersedes_the_pending_one(app: Celery, client: redis.Redis) -> None:
    task = coalescing(app)
    with busy(task, 1):
        older = task.apply((1,))

    assert task.apply((2,)).get() == 2

    assert pending(client) == []
    assert app.AsyncResult(older.id).state == "REVOKED"
    assert messages(app) == []


def test_with_first_it_does_not(app: Celery, client: redis.Redis) -> None:
    task = coalescing(app, lock_keep="first")
    with busy(task, 1):
        older = task.apply((1,))

    assert task.apply((2,)).get() == 2

    assert [sent["id"] for sent in messages(app)] == [older.id], "the release should have published it"


def test_what_another_app_wants_under_a_shared_lock_is_left_to_it(app: Celery, client: redis.Redis) -> None:
    other = Celery("other", broker="memory://", set_as_current=False)
    other.conf.redislock_url = app.conf.redislock_url
    task = coalescing(app)
    with busy(task, 1):
        task.apply((1,))

    publish_pending(other, "redislock:t")

    assert pending(client) == [b"next t"]
    assert client.zcard("redislock.index:{redislock:}") == 1
    other.close()


def test_a_call_that_is_not_published_can_be_pending(app: Celery, client: redis.Redis) -> None:
    task = coalescing(app)
    signature = task.s(5).set(task_id="the id", queue="a queue")
    with busy(task, 1) as lock:
        assert not record_call(task, signature, lock.name, lock.remaining, "latest").is_free
    assert record_call(task, task.s(6).set(task_id="another"), lock.name, None, "latest").is_free

    assert pending(client) == [b"next t"]


def test_a_retry_of_an_older_run_yields_to_a_newer_one_that_runs(app: Celery) -> None:
    """Its arguments are older, and would be the last."""
    task = coalescing(app)
    older = {PENDING_HEADER: {"triggered_us": 1}}
    lock = task.lock_for(1)
    metadata = {"task": "t", "id": "newer"}
    with RedisLock(lock.redis_client, lock.name, metadata=metadata):
        result = task.apply((1,), headers=older)
        assert result.state == "REVOKED"
        assert "superseded by task newer" in str(result.result)
        fresh = task.apply((1,), headers={PENDING_HEADER: {"triggered_us": time.time_ns() // 1000 + 10**9}})
        assert fresh.state == "RETRY"


@pytest.mark.parametrize(
    ("option", "policy"), [("keep", "replace"), ("replace_after", "coalesce"), ("replace_after", "skip")]
)
def test_an_option_that_the_policy_does_not_read_is_refused(option: str, policy: str) -> None:
    value = {"keep": "first", "replace_after": 5}[option]

    with pytest.raises(ConfigurationError, match=f"lock_{option} of task 't' has no effect"):
        resolve({}, "t", {option: value, "on_conflict": policy})


def test_replace_after_is_a_duration() -> None:
    assert resolve({}, "t", {"replace_after": 5, "on_conflict": "replace"}).replace_after_ms == 5000
    with pytest.raises(ConfigurationError, match="replace_after"):
        resolve({}, "t", {"replace_after": -1})
