"""End of a run: what waits for Redis to confirm the release, and what need not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from celery import Celery
from celery.signals import before_task_publish

from celery_redislock.conflicts import redelivery
from celery_redislock.conflicts.retrying import Attempts
from celery_redislock.engine import RedisLock, confirmations
from celery_redislock.messages.headers import COPY_HEADER
from celery_redislock.signals import lock_lost, lock_released
from celery_redislock.task.run import Run

from ...support.applications import locked
from ...support.deadlines import eventually
from ...support.proxy import Proxy
from ...support.servers import Server
from .test_made_once import received

LOCK = "redislock:t"

#: Seconds until what Redis says of a release is acted on: see `confirmation.DUE_S`.
SOON_S = 3.0


@contextmanager
def heard(signal: Any) -> Iterator[list[dict[str, Any]]]:
    """Give what a signal says meanwhile."""
    said: list[dict[str, Any]] = []

    def listen(**facts: Any) -> None:
        said.append(facts)

    signal.connect(listen)
    try:
        yield said
    finally:
        signal.disconnect(listen)


@pytest.fixture
def how_released(app: Celery, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give how locks are released: "sent", without waiting for the reply, or "waited for".

    The first of a process is not among them: it is always waited for.
    """
    run(app, locked(app, returns, name="first"))
    ways: list[str] = []
    for way, name in (("sent", "send_release"), ("waited for", "release")):
        method = getattr(RedisLock, name)
        monkeypatch.setattr(RedisLock, name, noting(ways, way, method))
    return ways


def noting(ways: list[str], way: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that takes note of its calls."""

    def noted(*args: Any, **kwargs: Any) -> Any:
        ways.append(way)
        return method(*args, **kwargs)

    return noted


def run(app: Celery, task: Any) -> None:
    """Publish a task and run its message, as a worker does."""
    task.delay()
    received(app, task).execute()


def returns() -> None:
    pass


def raises() -> None:
    raise ValueError("of the body")


@pytest.mark.parametrize("body", [returns, raises])
def test_a_run_that_has_ended_does_not_wait(
    app: Celery, client: redis.Redis, how_released: list[str], body: Any
) -> None:
    task = locked(app, body, name="t")

    for _ in range(3):
        run(app, task)

    assert how_released == ["sent"] * 3
    eventually(lambda: client.get(LOCK) is None, SOON_S, "the lock should be free")


@pytest.mark.parametrize(
    "options",
    [
        {"lock_on_conflict": "coalesce"},
        {"lock_on_conflict": "replace"},
    ],
)
def test_where_runs_may_be_pending_it_waits(
    app: Celery, how_released: list[str], options: dict[str, Any]
) -> None:
    run(app, locked(app, returns, name="t", **options))

    assert how_released == ["waited for"]


def test_an_eager_call_waits(app: Celery, client: redis.Redis, how_released: list[str]) -> None:
    locked(app, returns, name="t").apply()

    assert client.get(LOCK) is None
    assert how_released == ["waited for"]


def test_who_listens_to_lock_released_hears_it_of_a_lock_that_is_free(
    app: Celery, client: redis.Redis, how_released: list[str]
) -> None:
    seen: list[Any] = []

    def listen(lock: RedisLock, **_: Any) -> None:
        seen.append(client.get(lock.name))

    lock_released.connect(listen)
    try:
        run(app, locked(app, returns, name="t"))
    finally:
        lock_released.disconnect(listen)

    assert seen == [None]
    assert how_released == ["waited for"]


def test_a_loss_that_shows_at_the_end_is_reported(
    app: Celery, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    def body() -> None:
        client.set(LOCK, "a stranger's")

    task = locked(app, body, name="t")

    with heard(lock_lost) as lost:
        run(app, task)
        eventually(lambda: lost, SOON_S, "the loss should be reported")

    assert [facts["lock"].name for facts in lost] == [LOCK]
    assert "lock 'redislock:t' is lost: when it was released" in caplog.text
    assert client.get(LOCK) == b"a stranger's"


def test_a_release_that_fails_is_warned_of(
    app: Celery, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    def body() -> None:
        client.delete(LOCK)
        client.lpush(LOCK, "no lock")

    run(app, locked(app, body, name="t"))

    eventually(lambda: "could not release a lock" in caplog.text, SOON_S, "there should be a warning")
    assert "WRONGTYPE" in caplog.text


def test_a_pending_run_of_another_task_is_published(app: Celery, how_released: list[str]) -> None:
    other = locked(app, returns, name="other", lock_key="shared", lock_on_conflict="coalesce")

    def body() -> None:
        # In a thread: called in this one, it would run inside the lock that is held around it.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(run, app, other).result()

    run(app, locked(app, body, name="t", lock_key="shared"))

    assert how_released == ["sent"]
    eventually(lambda: is_waiting(app), SOON_S, "the pending run should be published")
    assert received(app, other).task_name == "other"


def is_waiting(app: Celery) -> bool:
    """Whether there is a message."""
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        return bool(queue.qsize())


# ---- how long a finished task is remembered

#: Milliseconds for which it is, where its message was acknowledged before it ran, and where a copy may come.
EARLY_MS, LATE_MS = range(1, 60_001), range(3_000_000, 3_600_001)


def remembers(
    app: Celery,
    client: redis.Redis,
    options: dict[str, Any],
    message: dict[str, Any],
    remembered: range,
) -> None:
    """Run a task and compare for how long it is remembered, and as what."""
    task = locked(app, returns, name="t", **options)
    task.apply_async(**message)
    received(app, task).execute()
    confirmations.confirm()

    key = f"redislock.done:{{{LOCK}}}"
    assert client.object("encoding", key) == b"int"
    assert client.pttl(key) in remembered


REMEMBERED: dict[str, tuple[dict[str, Any], dict[str, Any], range]] = {
    "acknowledged early": ({}, {}, EARLY_MS),
    "acknowledged late": ({"acks_late": True}, {}, LATE_MS),
    "waited for its time": ({}, {"countdown": 0.01}, LATE_MS),
    "a copy itself": ({}, {"headers": {COPY_HEADER: Attempts().as_header()}}, LATE_MS),
}


@pytest.mark.parametrize("case", REMEMBERED)
def test_a_finished_task_is_remembered_while_a_copy_may_come(
    app: Celery, client: redis.Redis, case: str
) -> None:
    remembers(app, client, *REMEMBERED[case])


@pytest.mark.parametrize("case", REMEMBERED)
def test_who_remembers_all_alike_is_caught(
    app: Celery, client: redis.Redis, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_s = 3600 if case == "acknowledged early" else 60
    monkeypatch.setattr(redelivery, "remembered_s", lambda *_: wrong_s)
    with pytest.raises(AssertionError):
        remembers(app, client, *REMEMBERED[case])


def test_a_copy_of_a_task_that_was_acknowledged_early_is_dropped_within_a_minute(
    app: Celery, client: redis.Redis
) -> None:
    ran: list[int] = []
    task = locked(app, lambda: ran.append(1), name="t")
    sent = task.delay()
    received(app, task).execute()
    task.apply_async(task_id=sent.id, headers={COPY_HEADER: Attempts().as_header()})

    received(app, task).execute()

    assert ran == [1]


# ---- a retry


def retries(self: Any) -> None:
    raise self.retry(countdown=0)


def publishes_a_retry(app: Celery, client: redis.Redis, server: Server, proxy: Proxy) -> None:
    """Retry over a slow network, and compare the lock with a free one when the retry is published."""
    app.conf.redislock_url = f"redis://127.0.0.1:{proxy.port}/0"
    run(app, locked(app, returns, name="first"))
    task = locked(app, retries, name="t", bind=True)
    task.delay()
    request = received(app, task)
    proxy.delay(requests=0.1)
    seen: list[Any] = []

    def look(sender: str, **_: Any) -> None:
        seen.append(client.get(LOCK))

    before_task_publish.connect(look)
    try:
        request.execute()
    finally:
        before_task_publish.disconnect(look)

    assert seen == [None], "the retry was published while the lock was held"


def test_a_retry_is_published_once_redis_has_confirmed_the_release(
    app: Celery, client: redis.Redis, server: Server
) -> None:
    with Proxy(server.port) as proxy:
        publishes_a_retry(app, client, server, proxy)


def test_a_retry_that_does_not_wait_is_caught(
    app: Celery, client: redis.Redis, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_back = Run.give_back
    monkeypatch.setattr(Run, "give_back", lambda run, done="", **_: give_back(run, done, is_last=True))
    with Proxy(server.port) as proxy:
        with pytest.raises(AssertionError, match="published while the lock was held"):
            publishes_a_retry(app, client, server, proxy)
        confirmations.confirm()


def test_a_release_is_forgotten_once_its_reply_is_read(app: Celery) -> None:
    """Else each run would stay in memory until a thread has looked at it."""

    def numbered(number: int) -> None: ...

    task = locked(app, numbered, name="t")
    kept = []
    for number in range(20):
        task.delay(number)
        received(app, task).execute()
        kept.append(len(confirmations._waiting))
        if number == 3:  # by now the server knows the scripts
            eventually(lambda: not confirmations._waiting)

    assert max(kept[4:]) <= 2
