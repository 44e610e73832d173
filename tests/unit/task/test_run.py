"""Run: what a body sees of its lock, and how runs nest in one thread."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from weakref import ref

import pytest
import redis
from celery import Celery, signals
from celery.app.trace import build_tracer
from celery.exceptions import Ignore, Reject
from celery.utils.threads import LocalStack

from celery_redislock import LockLost, StoreUnavailable, current_lock
from celery_redislock.engine import confirmations
from celery_redislock.signals import lock_acquired, lock_conflict, lock_lost, lock_released

from ...support.applications import busy, locked
from ...support.deadlines import eventually
from ...support.servers import free_port

SIGNALS = {
    "acquired": lock_acquired,
    "released": lock_released,
    "conflict": lock_conflict,
    "lost": lock_lost,
}


@pytest.fixture
def told() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Give what the signals say, in their order."""
    seen: list[tuple[str, dict[str, Any]]] = []
    receivers = {name: lambda name=name, signal=None, **facts: seen.append((name, facts)) for name in SIGNALS}
    for name, signal in SIGNALS.items():
        signal.connect(receivers[name])
    yield seen
    for name, signal in SIGNALS.items():
        signal.disconnect(receivers[name])


# ---- the lock in the body


def test_the_body_sees_its_lock(app: Celery) -> None:
    def function(self: Any) -> Any:
        lock = current_lock()
        assert self.lock is lock
        lock.ensure_held()
        assert not lock.lost
        assert 0 < lock.remaining <= 30
        return lock.name, lock.fencing_token

    task = locked(app, function, name="t", bind=True)

    results = [task.apply().result for _ in range(5)]

    assert {name for name, _ in results} == {"redislock:t"}
    tokens = [token for _, token in results]
    assert tokens == sorted(set(tokens))


def in_thread(look: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(look).result()


def in_bare_thread(look: Callable[[], Any]) -> Any:
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(look()))
    thread.start()
    thread.join()
    return seen[0]


def in_asyncio(look: Callable[[], Any]) -> Any:
    async def ask() -> Any:
        return await asyncio.to_thread(look)

    return asyncio.run(ask())


def here(look: Callable[[], Any]) -> Any:
    return look()


def checked(lock: Any) -> str:
    """Say what the lock says of itself when it is asked."""
    try:
        lock.ensure_held()
    except LockLost:
        return "lost"
    return "held" if lock.name else "by choice"


def test_where_no_body_runs_no_check_passes_and_no_token_can_be_stored(app: Celery) -> None:
    task = locked(app, lambda: None, name="t")

    # Whatever other tests have left behind in this one.
    for lock in in_bare_thread(lambda: (current_lock(), task.lock)):
        assert checked(lock) == "lost"
        assert (lock.lost, lock.remaining) == (True, 0)
        with pytest.raises(LockLost, match=r"lock = self\.lock"):
            _ = lock.fencing_token


@pytest.mark.parametrize(
    ("place", "seen", "after"),
    [
        (here, "held", "lost"),
        (in_asyncio, "held", "lost"),
        (in_thread, "lost", "lost"),
        (in_bare_thread, "lost", "lost"),
    ],
)
def test_a_thread_of_the_body_sees_its_lock_or_an_error(
    app: Celery, place: Any, seen: str, after: str
) -> None:
    """Never one whose checks pass while the lock may be gone."""

    def function(self: Any) -> Any:
        def look() -> list[str]:
            return [checked(current_lock()), checked(self.lock)]

        before = place(look)
        self.lock_for().force_release()
        self.lock.renew()
        return before, place(look)

    task = locked(app, function, name="t", bind=True, lock_on_lost="continue")

    assert task.apply().result == ([seen] * 2, [after] * 2)


@pytest.mark.parametrize("place", [in_asyncio, in_thread, in_bare_thread])
def test_a_lock_that_was_handed_over_is_the_body_s(app: Celery, place: Any) -> None:
    def function(self: Any) -> Any:
        lock = self.lock
        return place(lambda: (checked(lock), lock.fencing_token)), lock.fencing_token

    seen, token = locked(app, function, name="t", bind=True).apply().result

    assert seen == ("held", token)


def test_a_forked_child_of_the_body_does_not_hold_the_lock(app: Celery) -> None:
    def function(self: Any) -> Any:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writing, f"{checked(current_lock())} {checked(self.lock)}".encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        return os.read(reading, 100).decode()

    assert locked(app, function, name="t", bind=True).apply().result == "lost lost"


@pytest.mark.parametrize("place", [here, in_asyncio])
def test_a_body_that_is_unlocked_by_choice_is_not_disturbed(app: Celery, place: Any) -> None:
    def function(self: Any) -> Any:
        return place(lambda: [checked(current_lock()), checked(self.lock)])

    off = locked(app, function, name="off", bind=True, lock_mode="off")

    def plain() -> str:
        return checked(current_lock())

    assert off.apply().result == ["by choice"] * 2
    assert app.task(plain, name="plain", lazy=False, shared=False).apply().result == "by choice"
    if place is here:
        assert off() == ["by choice"] * 2


def test_a_thread_that_outlives_its_body_sees_no_lock_of_another(app: Celery) -> None:
    go, seen = threading.Event(), []

    def first(self: Any) -> None:
        def look() -> None:
            go.wait(10)
            seen.extend([checked(current_lock()), checked(self.lock)])

        context = contextvars.copy_context()
        threads.extend([threading.Thread(target=look), threading.Thread(target=context.run, args=(look,))])
        for thread in threads:
            thread.start()

    def second(self: Any) -> None:
        go.set()
        for thread in threads:
            thread.join()

    threads: list[threading.Thread] = []
    locked(app, first, name="first", bind=True).apply().get()
    locked(app, second, name="second", bind=True).apply().get()

    assert seen == ["lost"] * 4


def test_no_lock_is_current_once_the_run_has_ended(app: Celery) -> None:
    def function() -> None:
        raise ValueError

    locked(app, function, name="t").apply()

    assert current_lock().name == ""


def test_a_direct_call_is_not_locked(app: Celery, client: redis.Redis) -> None:
    def function(self: Any) -> tuple[str, str]:
        self.lock.ensure_held()
        return self.lock.name, current_lock().name

    task = locked(app, function, name="t", bind=True)

    assert task() == ("", "")
    with busy(task):
        assert task() == ("", "")
    assert not client.exists("redislock:t")


def test_eager_calls_are_locked(app: Celery) -> None:
    task = locked(app, lambda: current_lock().name, name="t")

    assert task.apply().result == "redislock:t"
    app.conf.task_always_eager = True
    assert task.delay().result == "redislock:t"
    with busy(task):
        assert task.delay().state == "REVOKED"


# ---- runs inside runs


def test_an_eager_call_in_its_own_body_runs_under_the_same_lock(
    app: Celery, client: redis.Redis, told: list[Any]
) -> None:
    def function(self: Any, depth: int) -> list[int | None]:
        token = self.lock.fencing_token
        inner = self.apply((depth - 1,)).result if depth else []
        assert client.exists("redislock:t"), "the inner run freed the lock of the outer"
        self.lock.ensure_held()
        return [token, *inner]

    task = locked(app, function, name="t", bind=True, lock_args=())

    tokens = task.apply((3,)).result

    assert len(tokens) == 4
    assert len(set(tokens)) == 1
    assert not client.exists("redislock:t")
    assert [name for name, _ in told] == ["acquired", "released"]


def test_an_eager_call_of_another_key_has_a_lock_of_its_own(app: Celery, client: redis.Redis) -> None:
    def function(self: Any, a: int) -> Any:
        inner = self.apply((a - 1,)).result if a else []
        assert current_lock() is self.lock
        return [self.lock.name, *inner]

    task = locked(app, function, name="t", bind=True)

    assert task.apply((1,)).result == [task.lock_name(1), task.lock_name(0)]


def test_an_eager_call_in_another_thread_finds_the_lock_busy(app: Celery) -> None:
    states: list[str] = []

    def function(self: Any, first: bool) -> None:
        if first:
            thread = threading.Thread(target=lambda: states.append(self.apply((False,)).state))
            thread.start()
            thread.join()

    locked(app, function, name="t", bind=True, lock_args=()).apply((True,))

    assert states == ["REVOKED"]


def test_an_eager_replacement_with_the_same_key_is_neither_skipped_nor_stuck(
    app: Celery, client: redis.Redis, told: list[Any]
) -> None:
    def function(self: Any, again: bool) -> Any:
        if again:
            return self.replace(self.si(False))
        return self.lock.name, bool(client.exists("redislock:t"))

    task = locked(app, function, name="t", bind=True, lock_args=())

    assert task.apply((True,)).result == ("redislock:t", True)
    assert not client.exists("redislock:t")
    assert [name for name, _ in told] == ["acquired", "released"] * 2


def test_an_eager_retry_meets_no_lock_of_its_own(app: Celery, told: list[Any]) -> None:
    def function(self: Any) -> str:
        if self.request.retries < 20:
            raise self.retry(countdown=0)
        return str(self.lock.name)

    task = locked(app, function, name="t", bind=True, max_retries=20)

    assert task.apply().result == "redislock:t"
    assert [name for name, _ in told] == ["acquired", "released"] * 21


def test_a_direct_call_in_the_body_can_publish_a_retry(app: Celery, monkeypatch: Any) -> None:
    """Celery copies the request for a direct call, and what it does not know of it into headers."""
    sent: list[Any] = []

    def function(self: Any, direct: bool) -> None:
        if direct:
            # Celery 5.4 says None where there are none.
            sent.append(self.request.as_execution_options()["headers"] or {})
        else:
            self(True)

    locked(app, function, name="t", bind=True, lock_args=()).apply((False,))

    assert sent == [{}]


# ---- the end, whatever it is


ENDS: dict[str, Any] = {
    "returns": lambda: None,
    "ignored": lambda: raising(Ignore()),
    "rejected": lambda: raising(Reject(requeue=False)),
    "exits": lambda: raising(SystemExit(3)),
}


def raising(error: BaseException) -> None:
    raise error


def ends_here(task: Any, body: Any) -> ref[Any]:
    """Run a body without the signals of Celery; return the request, which nothing should keep."""
    requests: list[ref[Any]] = []

    def function(self: Any) -> None:
        requests.append(ref(self.request))
        body()

    task.run = function.__get__(task)
    trace = build_tracer("t", task, app=task.app)
    with suppress(SystemExit):
        # What a run leaves around it is not to be around other tests.
        contextvars.copy_context().run(trace, "an id", (), {}, {"id": "an id", "delivery_info": {}})
    confirmations.confirm()
    return requests[0]


@pytest.mark.parametrize("end", ENDS)
def test_a_run_ends_with_its_request(
    app: Celery, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(signals.task_postrun, "receivers", [])

    ends_here(locked(app, lambda: None, name="t"), ENDS[end])

    assert not client.exists("redislock:t")


@pytest.mark.parametrize("end", ENDS)
def test_who_hears_of_the_release_finds_the_request_of_the_run(app: Celery, end: str) -> None:
    ids: list[str] = []

    def listen(sender: Any, **_: Any) -> None:
        ids.append(sender.request.id)

    lock_released.connect(listen)
    try:
        ends_here(locked(app, lambda: None, name="t"), ENDS[end])
    finally:
        lock_released.disconnect(listen)

    assert ids == ["an id"]


@pytest.mark.parametrize("options", [{}, {"lock_mode": "off"}])
def test_a_run_leaves_nothing_to_the_garbage_collector(app: Celery, options: dict[str, Any]) -> None:
    task = locked(app, lambda: None, name="t", **options)
    ends_here(task, ENDS["returns"])

    gc.disable()
    try:
        assert ends_here(task, ENDS["returns"])() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("end", ["ignored", "rejected", "exits"])
def test_the_check_fails_without_our_stack(
    app: Celery, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(signals.task_postrun, "receivers", [])
    task = locked(app, lambda: None, name="t")
    type(task).request_stack = LocalStack()

    ends_here(task, ENDS[end])

    assert client.exists("redislock:t")


# ---- signals


def test_the_signals_of_a_run_tell_the_task_and_the_lock(app: Celery, told: list[Any]) -> None:
    task = locked(app, lambda: None, name="t")

    task.apply()

    (_, acquired), (_, released) = told
    assert acquired["sender"].name == released["sender"].name == "t"
    assert acquired["lock"].name == released["lock"].name == "redislock:t"


def test_the_signal_of_a_conflict_tells_the_action(app: Celery, told: list[Any]) -> None:
    task = locked(app, lambda: None, name="t")

    with busy(task):
        task.apply()

    ((name, facts),) = told
    assert name == "conflict"
    assert facts["sender"].name == "t"
    assert facts["action"] == "skip"
    assert facts["conflict"].lock_name == "redislock:t"


def test_the_signal_of_a_loss_tells_the_lock_and_the_reason(app: Celery, told: list[Any]) -> None:
    def function(self: Any) -> bool:
        self.lock.force_release()
        eventually(lambda: self.lock.lost, within=5)
        return bool(self.lock.lost)

    task = locked(app, function, name="t", bind=True, lock_ttl=0.5, lock_on_lost="continue")

    assert task.apply().result is True
    eventually(lambda: len(told) == 2)
    assert [name for name, _ in told] == ["acquired", "lost"]
    facts = told[1][1]
    assert facts["sender"].name == "t"
    assert facts["lock"].name == "redislock:t"
    assert facts["reason"] == "it was taken by force"


def test_a_loss_that_only_the_release_notices_is_told_after_the_run_is_gone(
    app: Celery, client: redis.Redis, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that tells may come to run when nothing else refers to the run any more."""
    late: list[threading.Thread] = []
    start = threading.Thread.start

    def start_later(thread: threading.Thread) -> None:
        late.append(thread) if thread.name == "redislock-tell" else start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    task = locked(app, lambda: client.delete("redislock:t"), name="t", lock_ttl=30)

    task.apply()
    gc.collect()
    eventually(lambda: late)
    for thread in late:
        start(thread)
        thread.join(5)

    assert len(late) == 1
    assert [name for name, _ in told] == ["acquired", "lost"]


@pytest.mark.parametrize("name", SIGNALS)
def test_a_receiver_that_raises_breaks_no_run(app: Celery, client: redis.Redis, name: str) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("of the user's own")

    task = locked(app, lambda: "ran", name="t")
    SIGNALS[name].connect(broken)
    try:
        with busy(task):
            assert task.apply().state == "REVOKED"
        assert task.apply().result == "ran"
    finally:
        SIGNALS[name].disconnect(broken)
    assert not client.exists("redislock:t")


# ---- modes


def test_a_shadow_run_meets_a_conflict_and_runs(
    app: Celery, told: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    task = locked(app, lambda: current_lock().name, name="t", lock_mode="shadow", lock_on_conflict="fail")

    with busy(task) as lock, caplog.at_level(logging.INFO, "celery_redislock"):
        assert task.apply().result == ""
        assert lock.owned()
    assert task.apply().result == "redislock:t"

    (name, facts), *_ = told
    assert (name, facts["action"], facts["conflict"].shadow) == ("conflict", "fail", True)
    assert "would fail: lock 'redislock:t' is busy" in caplog.text


def test_a_shadow_run_runs_without_redis(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    app.conf.redislock_url = f"redis://127.0.0.1:{free_port()}/0"
    task = locked(app, lambda: "ran", name="t", lock_mode="shadow", lock_on_error="fail")

    assert task.apply().result == "ran"
    assert "runs UNLOCKED" in caplog.text


def test_a_shadow_run_runs_with_arguments_that_give_no_name(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    task = locked(app, lambda it: "ran", name="t", lock_mode="shadow")

    assert task.apply([object()]).result == "ran"
    assert "runs UNLOCKED: task 't'" in caplog.text


def test_a_shadow_run_that_loses_its_lock_says_so_and_goes_on(
    app: Celery, client: redis.Redis, told: list[Any]
) -> None:
    def function(self: Any) -> str:
        client.delete("redislock:t")
        eventually(lambda: self.lock.lost, within=5)
        return "ran"

    task = locked(app, function, name="t", bind=True, lock_ttl=0.5, lock_mode="shadow")

    assert task.apply().result == "ran"
    eventually(lambda: [name for name, _ in told] == ["acquired", "lost"])


def test_a_run_that_is_off_asks_redis_nothing(app: Celery, told: list[Any]) -> None:
    app.conf.redislock_url = f"redis://127.0.0.1:{free_port()}/0"
    task = locked(app, lambda: current_lock().name, name="t", lock_mode="off")

    assert task.apply().result == ""
    assert told == []


def test_a_run_without_redis_is_no_run(app: Celery) -> None:
    app.conf.redislock_url = f"redis://127.0.0.1:{free_port()}/0"
    ran: list[int] = []

    result = locked(app, lambda: ran.append(1), name="t").apply()

    assert isinstance(result.result, StoreUnavailable)
    assert ran == []


def test_a_release_that_fails_breaks_no_run(
    app: Celery, caplog: pytest.LogCaptureFixture, told: list[Any]
) -> None:
    def function(self: Any) -> str:
        def refuse(**_: Any) -> bool:
            raise StoreUnavailable(self.lock.name, "gone")

        self.lock.release = refuse
        return "ran"

    result = locked(app, function, name="t", bind=True).apply()

    assert (result.state, result.result) == ("SUCCESS", "ran")
    assert "could not release a lock: Redis cannot serve lock 'redislock:t'" in caplog.text
    assert [name for name, _ in told] == ["acquired"]


def test_a_run_that_lost_its_lock_leaves_the_next_holder_alone(app: Celery, client: redis.Redis) -> None:
    def function(self: Any) -> None:
        client.set("redislock:t", "someone else's")

    locked(app, function, name="t", bind=True).apply()

    assert client.get("redislock:t") == b"someone else's"


def test_a_lock_with_a_min_hold_stays_busy_for_those_who_come_at_once(app: Celery) -> None:
    task = locked(app, lambda: None, name="t", lock_min_hold=30)

    assert [task.apply().state for _ in range(3)] == ["SUCCESS", "REVOKED", "REVOKED"]
