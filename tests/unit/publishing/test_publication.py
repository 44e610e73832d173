"""Publication: with `lock_scope` "queue" or "task", what is published, and what is answered instead."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy
from celery import Celery, chain, chord, group
from celery.backends.database.session import ResultModelBase
from celery.beat import Scheduler
from celery.exceptions import TaskRevokedError

from celery_redislock import ConfigurationError, LockBusy, LockKeyError, StoreUnavailable
from celery_redislock.config.call import Call
from celery_redislock.config.provider import provider_of
from celery_redislock.messages.headers import TICKET_HEADER
from celery_redislock.pending.publish import publish_pending
from celery_redislock.publish_lock.record import PublishLock
from celery_redislock.publishing import publication
from celery_redislock.signals import lock_conflict

from ...support.applications import application, busy, locked, shared_tasks_forgotten
from ...support.servers import free_port

QUEUED = "redislock.reservation:{redislock:t}"
SCOPES = ["queue", "task"]


def body(path: str = "a", other: int = 0) -> None: ...


def scoped(app: Celery, scope: str = "task", **options: Any) -> Any:
    """Make a task of this scope, with one lock."""
    return locked(app, body, name="t", lock_args=(), lock_scope=scope, **options)


def published(app: Celery) -> int:
    """Count the messages that wait in the default queue."""
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return int(channel._size("celery"))


def busy_run(app: Celery, task: Any, task_id: str) -> Any:
    """Have a run of this id hold the lock of a call."""
    call = Call(task, task.plan_for(), (), {}, task_id)
    return provider_of(app).lock_of(call, {"task": "t", "id": task_id})


@pytest.fixture
def conflicts() -> Iterator[list[tuple[Any, str]]]:
    """Give what `lock_conflict` says."""
    seen: list[tuple[Any, str]] = []

    def receive(conflict: Any, action: str, **_: Any) -> None:
        seen.append((conflict, action))

    lock_conflict.connect(receive)
    yield seen
    lock_conflict.disconnect(receive)


# ---- what is published, and what is answered


@pytest.mark.parametrize("scope", SCOPES)
def test_a_duplicate_is_answered_with_the_one_that_waits(app: Celery, scope: str) -> None:
    task = scoped(app, scope)

    results = [task.delay() for _ in range(5)]

    assert {result.id for result in results} == {results[0].id}
    assert published(app) == 1


def test_other_arguments_are_published_beside(app: Celery) -> None:
    task = locked(app, body, name="t", lock_scope="task", lock_args=["path"])

    assert len({task.delay(path).id for path in ("a", "b", "a", "b")}) == 2


def test_the_default_scope_publishes_everything_and_leaves_no_key(app: Celery, client: redis.Redis) -> None:
    task = locked(app, body, name="t")

    assert len({task.delay().id for _ in range(3)}) == 3
    assert client.keys() == []


def test_a_call_can_have_a_scope_of_its_own(app: Celery) -> None:
    task = locked(app, body, name="t")

    ids = {task.apply_async(lock={"scope": "queue"}).id for _ in range(3)}

    assert len(ids) == 1


def test_a_running_task_is_the_answer_of_scope_task(app: Celery) -> None:
    task = scoped(app)
    with busy_run(app, task, "the one that runs"):
        assert task.delay().id == "the one that runs"

    assert published(app) == 0


def test_a_running_task_does_not_count_for_scope_queue(app: Celery) -> None:
    task = scoped(app, "queue")
    with busy_run(app, task, "the one that runs"):
        assert task.delay().id == task.delay().id != "the one that runs"

    assert published(app) == 1


def test_a_task_that_has_its_result_already_is_no_answer(app: Celery) -> None:
    """Celery stores the result before the lock is given back: whoever read it may publish at once."""
    task = scoped(app)
    with busy_run(app, task, "done"):
        app.backend.store_result("done", 1, "SUCCESS")

        assert task.delay().id != "done"

    assert published(app) == 1


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED"])
def test_a_waiting_call_that_has_its_result_is_no_answer(app: Celery, scope: str, state: str) -> None:
    """It has ended under a worker that could not give its publish lock back: of another version, say."""
    task = scoped(app, scope)
    first = task.delay()
    app.backend.store_result(first.id, Exception() if state == "FAILURE" else None, state)

    second = task.delay()

    assert second.id != first.id
    assert task.delay().id == second.id
    assert published(app) == 2


@pytest.mark.parametrize("state", ["PENDING", "RETRY", "STARTED", "of the user's own"])
def test_a_waiting_call_without_a_result_is_the_answer(app: Celery, state: str) -> None:
    task = scoped(app)
    first = task.delay()
    app.backend.store_result(first.id, None, state)

    assert task.delay().id == first.id


def test_a_result_of_an_earlier_call_ends_no_waiting_one_of_the_same_id(app: Celery) -> None:
    task = scoped(app)
    app.backend.store_result("every time", None, "SUCCESS")

    for _ in range(3):
        assert task.apply_async(task_id="every time").id == "every time"

    assert published(app) == 1


@pytest.mark.parametrize("enable_utc", [True, False])
@pytest.mark.parametrize("zone", ["America/New_York", "UTC", "Asia/Tokyo"])
def test_a_result_in_a_database_counts_in_every_time_zone(
    redis_url: str, client: redis.Redis, tmp_path: Path, zone: str, enable_utc: bool
) -> None:
    """Its `date_done` has no zone, and is that of the app's zone, of UTC or of the database."""
    with shared_tasks_forgotten():
        app = application(redis_url, timezone=zone, enable_utc=enable_utc)
        app.conf.result_backend = database = f"db+sqlite:///{tmp_path}/results.sqlite"
        # Celery 5.4 makes the tables of a process's first database, and no others.
        engine = sqlalchemy.create_engine(database.removeprefix("db+"))
        ResultModelBase.metadata.create_all(engine)
        engine.dispose()
        task = scoped(app)
        with busy_run(app, task, "runs"):
            assert task.delay().id == "runs", "it has no result yet"
        with busy_run(app, task, "done"):
            app.backend.store_result("done", 1, "SUCCESS")

            assert task.delay().id != "done"
        assert published(app) == 1
        app.close()


@pytest.mark.parametrize("date_done", ["2020-01-01T00:00:00+00:00", "2020-01-01T00:00:00", None])
def test_a_result_counts_whatever_clock_has_stamped_it(app: Celery, date_done: str | None) -> None:
    """At the worst it is of an earlier run of this id: then one is published too many, and none is lost."""
    task = scoped(app)
    stored = {"status": "SUCCESS", "result": 1, "date_done": date_done}
    app.backend.set(app.backend.get_key_for_task("done"), app.backend.encode(stored))
    with busy_run(app, task, "done"):
        ids = {task.delay().id for _ in range(3)}

    assert "done" not in ids
    assert published(app) == len(ids) == 1


def test_a_lock_kept_for_its_min_hold_is_the_answer_though_its_result_is_there(app: Celery) -> None:
    task = scoped(app, lock_min_hold=30)
    with busy_run(app, task, "done"):
        app.backend.store_result("done", 1, "SUCCESS")

    assert task.delay().id == "done"
    assert published(app) == 0


def test_another_program_that_holds_the_lock_ends_the_duplicate(app: Celery, client: redis.Redis) -> None:
    task = scoped(app)
    client.set("redislock:t", "a foreign token", px=5000)

    result = task.delay()

    assert published(app) == 0
    with pytest.raises(TaskRevokedError, match="is busy"):
        result.get(timeout=1)


def test_fail_raises_and_names_the_one_that_is_there(app: Celery, conflicts: list[Any]) -> None:
    task = scoped(app, lock_on_conflict="fail")
    first = task.delay()

    with pytest.raises(LockBusy) as refused:
        task.delay()

    assert refused.value.holder is not None
    assert refused.value.holder.metadata["id"] == first.id
    assert [(conflict.holder.metadata["id"], action) for conflict, action in conflicts] == [
        (first.id, "fail")
    ]


def test_a_duplicate_is_logged_and_signalled_as_a_conflict(
    app: Celery, conflicts: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    task = scoped(app)
    first = task.delay()

    with caplog.at_level(logging.INFO):
        task.delay()

    ((conflict, action),) = conflicts
    assert action == "skip"
    assert (conflict.lock_name, conflict.shadow) == ("redislock:t", False)
    assert f"skip: lock 'redislock:t' is busy, held by: id {first.id}, state waiting" in caplog.text


def test_a_receiver_that_raises_does_not_keep_a_duplicate_from_its_answer(app: Celery) -> None:
    def receive(**_: Any) -> None:
        raise ZeroDivisionError

    task = scoped(app)
    lock_conflict.connect(receive)
    try:
        assert task.delay().id == task.delay().id
    finally:
        lock_conflict.disconnect(receive)


# ---- ids that are fixed from outside


def test_a_duplicate_with_an_id_of_its_own_is_revoked_under_it(app: Celery) -> None:
    task = scoped(app)
    first = task.delay()

    assert task.apply_async(task_id="mine").id == first.id
    assert task.apply_async((), {}, "by position").id == first.id

    for own_id in ("mine", "by position"):
        with pytest.raises(TaskRevokedError, match=first.id):
            app.AsyncResult(own_id).get(timeout=1)
    assert first.state == "PENDING"
    assert published(app) == 1


def test_the_same_id_twice_is_published_once_and_not_revoked(app: Celery) -> None:
    task = scoped(app)

    assert [task.apply_async(task_id="nightly").id for _ in range(3)] == ["nightly"] * 3

    assert app.AsyncResult("nightly").state == "PENDING"
    assert published(app) == 1


def test_an_id_that_was_not_given_gets_no_result(app: Celery) -> None:
    task = scoped(app)
    task.delay()
    stored_before = len(app.backend.client.cache)

    task.delay()

    assert len(app.backend.client.cache) == stored_before


def test_a_chain_ends_with_its_duplicate(app: Celery) -> None:
    task = scoped(app)
    first = task.delay()

    last = chain(task.si(), task.si(), task.si()).apply_async()

    for result in (last, last.parent, last.parent.parent):
        with pytest.raises(TaskRevokedError, match=first.id):
            result.get(timeout=1)
    assert published(app) == 1


def test_a_group_tells_its_duplicates(app: Celery) -> None:
    task = scoped(app)

    result = group(task.si(), task.si()).apply_async()

    assert [member.state for member in result] == ["PENDING", "REVOKED"]
    assert published(app) == 1


def test_a_chord_with_a_duplicate_in_its_header_ends(app: Celery) -> None:
    task = scoped(app)
    with busy_run(app, task, "the one that runs"):
        result = chord([task.si()], locked(app, body, name="end").si()).apply_async()

        with pytest.raises(TaskRevokedError):
            result.get(timeout=1)


# ---- how long it lasts


TTLS: dict[str, tuple[dict[str, Any], float]] = {
    "as the option says": ({}, 60),
    "countdown": ({"countdown": 100}, 160),
    "eta": ({"eta": timedelta(seconds=100)}, 160),
    "expires later": ({"expires": 200}, 200),
    "expires sooner": ({"expires": 20}, 20),
    "expires at": ({"expires": timedelta(seconds=200)}, 200),
    "delayed, and expires": ({"countdown": 100, "expires": 150}, 150),
}


@pytest.mark.parametrize("case", TTLS)
def test_the_publish_lock_lasts_as_long_as_the_message_may_wait(
    app: Celery, client: redis.Redis, case: str
) -> None:
    options, expected_s = TTLS[case]
    now = datetime.now(timezone.utc)
    moments = {
        name: now + value if isinstance(value, timedelta) else value for name, value in options.items()
    }

    scoped(app, lock_queue_ttl=60).apply_async(**moments)

    assert expected_s - 5 < client.pttl(QUEUED) / 1000 <= expected_s


def test_a_moment_as_text_counts_too(app: Celery, client: redis.Redis) -> None:
    expires = (datetime.now(timezone.utc) + timedelta(seconds=200)).isoformat()

    scoped(app).apply_async(expires=expires)

    assert 195 < client.pttl(QUEUED) / 1000 <= 200


def test_the_task_may_say_when_it_expires(app: Celery, client: redis.Redis) -> None:
    scoped(app, expires=20).delay()

    assert 15 < client.pttl(QUEUED) / 1000 <= 20


def test_until_the_message_is_out_it_lasts_for_a_minute(
    app: Celery, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that is killed while the broker hangs must not block the others for an hour."""
    seen: list[int] = []
    send = app.send_task
    monkeypatch.setattr(
        app, "send_task", lambda *args, **options: seen.append(client.pttl(QUEUED)) or send(*args, **options)
    )

    scoped(app).delay()

    assert 0 < seen[0] <= 60_000
    assert client.pttl(QUEUED) > 3_500_000


# ---- what goes wrong


@pytest.mark.parametrize("scope", SCOPES)
def test_nothing_stays_when_publishing_fails(
    app: Celery, client: redis.Redis, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = scoped(app, scope)

    def down(*_: Any, **__: Any) -> None:
        raise ConnectionError("the broker is down")

    with monkeypatch.context() as patch:
        patch.setattr(app, "send_task", down)
        with pytest.raises(ConnectionError, match="the broker is down"):
            task.delay()

    assert not client.exists(QUEUED)
    assert task.delay().id == task.delay().id
    assert published(app) == 1


def test_a_failed_publication_does_not_free_the_publish_lock_of_another(
    app: Celery, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = scoped(app)

    def slow_and_down(*_: Any, **__: Any) -> None:
        client.set(QUEUED, f"{'f' * 32} another", px=5000)
        raise ConnectionError

    monkeypatch.setattr(app, "send_task", slow_and_down)
    with pytest.raises(ConnectionError):
        task.delay()

    assert client.get(QUEUED) == f"{'f' * 32} another".encode()


def test_arguments_that_give_no_name_are_refused_before_anything_is_published(app: Celery) -> None:
    task = locked(app, body, name="t", lock_scope="task")

    with pytest.raises(LockKeyError):
        task.delay(object())
    with pytest.raises(TypeError):
        task.delay(1, 2, 3)
    assert published(app) == 0


@pytest.fixture
def without_redis() -> Iterator[Celery]:
    """Give an app whose locks are on a server that is not there."""
    with shared_tasks_forgotten():
        app = application(f"redis://127.0.0.1:{free_port()}/0")
        yield app
        app.close()


@pytest.mark.parametrize("on_error", ["fail", "retry"])
def test_without_redis_a_call_is_refused(
    without_redis: Celery, on_error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "AWAY_S", 0.5)
    task = scoped(without_redis, lock_on_error=on_error)

    with pytest.raises(StoreUnavailable):
        task.delay()

    assert published(without_redis) == 0


@pytest.mark.parametrize("on_error", ["fail", "retry"])
def test_a_call_waits_five_seconds_for_a_silent_redis_all_steps_together(on_error: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, shared_tasks_forgotten():
        app = application(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        task = scoped(app, lock_on_error=on_error)
        began_at = time.monotonic()

        with pytest.raises(StoreUnavailable):
            task.delay()

        assert time.monotonic() - began_at < 5.25
        app.close()


def test_retry_bridges_an_outage_of_a_moment(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    task = scoped(app)
    calls = []
    take = PublishLock.take

    def away_twice(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) < 3:
            raise StoreUnavailable("redislock:t", "away")
        return take(self, *args, **options)

    monkeypatch.setattr(PublishLock, "take", away_twice)

    assert task.delay().id == task.delay().id
    assert published(app) == 1


def test_run_publishes_without_the_lock_and_says_so(
    without_redis: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    task = scoped(without_redis, lock_on_error="run")

    assert len({task.delay().id for _ in range(2)}) == 2

    assert published(without_redis) == 2
    assert "is published UNLOCKED: Redis cannot serve" in caplog.text


# ---- what else has to behave


def test_shadow_says_what_it_would_do_and_publishes(app: Celery, conflicts: list[Any]) -> None:
    task = scoped(app, lock_mode="shadow")

    assert len({task.delay().id for _ in range(3)}) == 3

    assert [(conflict.shadow, action) for conflict, action in conflicts] == [(True, "skip")] * 2
    assert published(app) == 3


def test_shadow_publishes_arguments_that_give_no_name(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    task = locked(app, lambda it: None, name="t", lock_scope="task", lock_mode="shadow")

    task.delay(float("nan"))

    assert published(app) == 1
    assert "is published UNLOCKED" in caplog.text


def test_off_takes_nothing(app: Celery, client: redis.Redis) -> None:
    task = scoped(app, lock_mode="off")

    assert len({task.delay().id for _ in range(3)}) == 3
    assert client.keys() == []


def test_send_task_by_name_takes_no_publish_lock(app: Celery, client: redis.Redis) -> None:
    scoped(app)

    assert len({app.send_task("t").id for _ in range(3)}) == 3
    assert client.keys() == []


@pytest.mark.parametrize("scope", SCOPES)
def test_eager_calls_run_one_after_another(app: Celery, client: redis.Redis, scope: str) -> None:
    app.conf.task_always_eager = True
    task = scoped(app, scope)

    assert [task.delay().state for _ in range(3)] == ["SUCCESS"] * 3
    assert not client.exists(QUEUED)


def test_an_eager_call_of_scope_task_meets_a_busy_lock_as_always(app: Celery) -> None:
    app.conf.task_always_eager = True
    task = scoped(app)

    with busy(task):
        assert task.delay().state == "REVOKED"


def test_a_beat_that_knows_the_task_publishes_one(app: Celery) -> None:
    task = scoped(app)
    beat = Scheduler(app, lazy=True)
    entry = beat.Entry(name="every second", task="t", schedule=1, app=app)

    ids = {beat.apply_async(entry, advance=False).id for _ in range(3)}

    assert len(ids) == 1
    assert task.delay().id in ids
    assert published(app) == 1


def test_a_retry_whose_arguments_give_no_name_fails_for_its_caller(app: Celery) -> None:
    """Stored under its id, the failure would be overwritten with RETRY."""
    task = locked(app, body, name="t", lock_scope="task")

    with pytest.raises(LockKeyError):
        task.apply_async((object(),), task_id="retried", retries=1, parent_id="its parent")


def test_a_retry_that_was_published_from_outside_is_not_refused(app: Celery) -> None:
    """The worker's parent publishes the retry of a run whose process was lost, which still has the lock."""
    task = scoped(app)
    with busy_run(app, task, "lost"):
        assert task.apply_async(task_id="lost", retries=1).id == "lost"

    assert published(app) == 1


def test_the_message_carries_the_token_but_no_copy_of_it_counts(app: Celery) -> None:
    task = scoped(app)
    task.apply_async(headers={TICKET_HEADER: {"id": "another", "token": "0" * 32}})

    assert task.delay().id == task.delay().id
    assert published(app) == 1


# ---- options


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("policy", ["retry", lambda task, conflict: None])
def test_a_policy_that_cannot_decide_when_publishing_is_refused(app: Celery, scope: str, policy: Any) -> None:
    message = rf'lock_scope of task .* "{scope}" decides when a call is published.*"skip" or "fail"'

    with pytest.raises(ConfigurationError, match=message):
        scoped(app, scope, lock_on_conflict=policy)


def test_a_call_cannot_mix_them_either(app: Celery) -> None:
    task = locked(app, body, name="t", lock_on_conflict="retry")

    with pytest.raises(ConfigurationError, match="decides when a call is published"):
        task.apply_async(lock={"scope": "task"})
    task.apply_async(lock={"scope": "task", "on_conflict": "fail"})


# ---- coalesce


def begin_what_was_published(app: Celery, task: Any) -> Any:
    """Run the one message here, and return it."""
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("celery").get(timeout=1)
    task.apply(message.payload[0], task_id=message.headers["id"], headers=message.headers)
    return message


def test_calls_that_meet_a_run_are_one_more_run_with_the_latest_arguments(app: Celery) -> None:
    """It is published when the lock is free, under the id that was returned."""
    task = scoped(app, lock_on_conflict="coalesce")
    with busy_run(app, task, "the one that runs") as lock:
        first, second, third = (task.delay(path) for path in ("a", "b", "c"))
        assert published(app) == 0
    publish_pending(app, lock.name)

    assert {first.state, second.state, third.state} == {"PENDING"}, "it may still be revoked, or expire"
    assert published(app) == 1
    message = begin_what_was_published(app, task)
    assert message.headers["id"] == third.id
    assert message.payload[0] == ["c"]
    assert [first.state, second.state] == ["REVOKED", "REVOKED"]
    assert third.id in str(second.result)


def test_with_first_the_later_calls_are_answered_with_the_one_that_is_wanted(app: Celery) -> None:
    task = scoped(app, lock_on_conflict="coalesce", lock_keep="first")
    with busy_run(app, task, "the one that runs") as lock:
        results = [task.delay() for _ in range(3)]
        fixed = task.apply_async(task_id="given")
    publish_pending(app, lock.name)

    assert len({result.id for result in results} | {fixed.id}) == 1
    begin_what_was_published(app, task)
    assert app.AsyncResult("given").state == "REVOKED"


def test_a_call_that_waits_is_the_one_more_run_already(app: Celery) -> None:
    task = scoped(app, lock_on_conflict="coalesce")

    assert len({task.delay().id for _ in range(3)}) == 1
    assert published(app) == 1


def test_a_wanted_run_takes_the_publish_lock_when_its_turn_has_come(app: Celery) -> None:
    """So the next call is answered with it."""
    task = scoped(app, lock_on_conflict="coalesce")
    with busy_run(app, task, "the one that runs") as lock:
        wanted = task.delay()
    publish_pending(app, lock.name)

    assert task.delay().id == wanted.id
    assert published(app) == 1
