"""Tasks with `lock_shared` or `lock_limit`: several runs hold one lock, and none more than may.

Each test here is about one place that asks who holds "the lock" of a call, or does something with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery, chain, states
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from celery_redislock import (
    ConfigurationError,
    LockBusy,
    LockKey,
    LockKeyError,
    LockLost,
    RedisLock,
    StoreUnavailable,
    current_lock,
    events,
    locked_batch,
)
from celery_redislock.config.call import Call
from celery_redislock.messages.celery_exceptions import Done, PutOff, Skipped
from celery_redislock.messages.headers import COPY_HEADER, TICKET_HEADER, TOKEN_HEADER
from celery_redislock.pending.replacement import expel
from celery_redislock.publish_lock.record import PublishLock
from celery_redislock.task.own_locks import OwnLocks, own_locks_of
from celery_redislock.worker.control import lock_settings

from ...support.applications import locked
from ...support.deadlines import eventually
from .test_made_once import received

API = "redislock:api"


def task_of(app: Celery, body: Callable[[], Any] = lambda: "done", **options: Any) -> Any:
    """Return a task that locks the API."""

    def work(tenant: str = "ann") -> Any:
        return body()

    return locked(app, work, **{"name": "work", "lock_key": "api", **options})


def run(app: Celery, task: Any, *args: Any, **options: Any) -> Any:
    """Publish a task and run its message, as a worker does; return its result."""
    result = task.apply_async(args, **options)
    received(app, task).execute()
    return result


def held(client: redis.Redis, number: int, *, id: str = "another", **options: Any) -> ExitStack:  # noqa: A002
    """Have so many others hold the lock."""
    stack = ExitStack()
    for each in range(number):
        metadata = {"id": id if number == 1 else f"{id} {each}"}
        lock = RedisLock(client, API, 30, metadata=metadata, **{"limit": 100, **options})
        stack.enter_context(lock)
    return stack


# ---- what is declared


def test_a_limit_is_kept_over_all_runs(app: Celery, client: redis.Redis) -> None:
    keeps_its_limit(app, client, task_of(app, lock_limit=2))


def keeps_its_limit(app: Celery, client: redis.Redis, task: Any) -> None:
    """Run a task with a limit of 2 beside one holder, and beside two."""
    with held(client, 1):
        assert run(app, task).result == "done"
    with held(client, 2):
        assert run(app, task).state == states.REVOKED, "more run at once than the limit says"
    assert client.exists(API) == 0


class ForgetsTheLimit(OwnLocks):
    """The lock is shared by any number."""

    def lock_of(self, call: Call, *args: Any) -> Any:
        """Take the lock of a task without the limit."""
        return super().lock_of(SimpleNamespace(lock_name=call.lock_name), *args)  # type: ignore[arg-type]


def test_a_limit_that_is_not_kept_is_caught(app: Celery, client: redis.Redis) -> None:
    task, other = task_of(app, lock_limit=2), task_of(app, name="other", lock_shared=True)
    plan = task.plan_for()
    plan.made[OwnLocks] = ForgetsTheLimit(Call(other, other.plan_for(), (), {}, "an id"))

    with pytest.raises(AssertionError, match="more run at once than the limit says"):
        keeps_its_limit(app, client, task)


def test_a_run_knows_its_slot(app: Celery, client: redis.Redis) -> None:
    with held(client, 2):
        assert run(app, task_of(app, lambda: current_lock().slot, lock_limit=4)).result == 2
    assert run(app, task_of(app, lambda: current_lock().slot, name="b", lock_shared=True)).result is None
    assert task_of(app, lambda: current_lock().slot, name="c", lock_limit=4)() is None


def test_readers_share_and_a_writer_is_alone(app: Celery, client: redis.Redis) -> None:
    reader, writer = task_of(app, name="read", lock_shared=True), task_of(app, name="write")

    with held(client, 3, limit=None, shared=True):
        assert run(app, reader).result == "done"
        assert run(app, writer).state == states.REVOKED
    with RedisLock(client, API, 30):
        assert run(app, reader).state == states.REVOKED
    assert run(app, writer).result == "done"


def test_a_limit_may_depend_on_the_arguments(app: Celery, client: redis.Redis) -> None:
    def of_tenant(tenant: str = "ann") -> int:
        return {"ann": 1, "bob": 3}[tenant]

    task = task_of(app, lock_limit=of_tenant)

    with held(client, 2):
        assert run(app, task, "ann").state == states.REVOKED
        assert run(app, task, "bob").result == "done"
    assert task.lock_for("bob").limit == 3


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (0, "lock_limit of task 'work' returned 0: it must return an int of at least 1"),
        (True, "returned True"),
        (2.0, "returned a float"),
        (None, "returned a NoneType"),
        ("2", "returned a str"),
    ],
)
def test_a_function_that_gives_no_limit_ends_the_run(
    app: Celery, client: redis.Redis, returned: Any, words: str
) -> None:
    ran: list[int] = []
    task = task_of(app, lambda: ran.append(1), lock_limit=lambda tenant="ann": returned)

    result = run(app, task)

    assert result.state == states.FAILURE
    assert isinstance(result.result, ConfigurationError)
    assert words in str(result.result)
    assert (ran, client.exists(API)) == ([], 0)
    with pytest.raises(ConfigurationError, match="lock_limit of task 'work' returned"):
        task.lock_for()


def test_so_does_one_that_raises(app: Celery) -> None:
    def of_tenant(tenant: str = "ann") -> int:
        raise KeyError(tenant)

    result = run(app, task_of(app, lock_limit=of_tenant), "a secret")

    assert str(result.result) == "lock_limit of task 'work' raised KeyError"


def test_in_shadow_the_body_runs_all_the_same(app: Celery) -> None:
    assert run(app, task_of(app, lock_limit=lambda tenant="ann": 0, lock_mode="shadow")).result == "done"


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "3", []])
def test_a_wrong_limit_is_refused_when_it_is_declared(app: Celery, value: Any) -> None:
    with pytest.raises(ConfigurationError, match="lock_limit of task 'work' must be an int of at least 1"):
        task_of(app, lock_limit=value)


def test_so_is_what_is_neither_true_nor_false(app: Celery) -> None:
    with pytest.raises(
        ConfigurationError, match="lock_shared of task 'work' is a bool, True or False, and cannot be 1"
    ):
        task_of(app, lock_shared=1)


def test_so_is_a_method(app: Celery) -> None:
    def of_tenant(self: Any, tenant: str = "ann") -> int:
        return 1

    with pytest.raises(ConfigurationError, match="lock_limit of task 'work' is a method with self"):
        task_of(app, lock_limit=of_tenant)


@pytest.mark.parametrize("kind", [{"lock_shared": True}, {"lock_limit": 3}, {"lock_limit": len}])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lock_on_conflict": "coalesce"}, '"coalesce" needs a lock that one holds alone'),
        ({"lock_on_conflict": "replace"}, '"replace" needs a lock that one holds alone'),
        ({"lock_scope": "task"}, '"task" needs a lock that one holds alone'),
        ({"lock_scope": "queue"}, '"queue" needs a lock that one holds alone'),
    ],
)
def test_what_needs_one_holder_is_refused_when_it_is_declared(
    app: Celery, kind: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"of task 'work' has several runs hold the lock.*{words}"):
        task_of(app, **kind, **options)


def test_so_is_what_settings_and_calls_say(app: Celery) -> None:
    task = task_of(app)
    with pytest.raises(ConfigurationError, match=r'"limit".*has several runs hold the lock'):
        task.apply_async(lock={"limit": 3, "on_conflict": "coalesce"})
    with pytest.raises(ConfigurationError, match=r"limit.*must be a str, a number or a list, not function"):
        task.apply_async(lock={"limit": lambda tenant="ann": 1})
    app.conf.redislock_limit = 3
    with pytest.raises(ConfigurationError, match="redislock_limit setting has several runs hold the lock"):
        task_of(app, name="merges", lock_on_conflict="coalesce")


def test_a_callable_policy_may_not_merge_runs_either(app: Celery, client: redis.Redis) -> None:
    task = task_of(app, lock_limit=1, lock_on_conflict=lambda task, conflict: "coalesce")

    with held(client, 1):
        result = run(app, task)

    assert isinstance(result.result, ConfigurationError)
    assert "task 'work' shares its lock with other runs" in str(result.result)


def test_a_call_may_have_a_limit_of_its_own(app: Celery, client: redis.Redis) -> None:
    task = task_of(app, lock_limit=1)

    with held(client, 1):
        assert run(app, task).state == states.REVOKED
        assert run(app, task, lock={"limit": 2}).result == "done"
        assert run(app, task, lock={"limit": None, "shared": True}).result == "done"


def test_a_setting_may_share_the_locks_of_all_tasks(app: Celery, client: redis.Redis) -> None:
    app.conf.redislock_shared = True
    task = task_of(app)

    with held(client, 1, shared=True, limit=None):
        assert run(app, task).result == "done"


def test_a_batch_has_its_lock_alone_whatever_the_settings_say(app: Celery, client: redis.Redis) -> None:
    app.conf.update(redislock_limit=3)
    member = locked(app, lambda: None, name="member")

    with held(client, 1), pytest.raises(LockBusy):
        locked_batch(member.si(), lock_key="api", lock_on_conflict="fail").apply_async()


# ---- several keys


def test_each_key_may_have_a_limit_of_its_own(app: Celery, client: redis.Redis) -> None:
    keys = [LockKey("tenant:{tenant}", limit=2), LockKey("api", limit=10), "job:{tenant}"]

    def body() -> Any:
        return current_lock().slots  # type: ignore[union-attr]

    task = task_of(app, body, lock_key=keys)

    with held(client, 1):
        slots = run(app, task).result
    assert slots == {"redislock:tenant:ann": 0, API: 1, "redislock:job:ann": None}
    with held(client, 10):
        assert run(app, task).state == states.REVOKED


def test_a_key_without_one_is_held_as_the_task_says(app: Celery) -> None:
    keys = ["api", LockKey("alone", shared=False), LockKey("read", shared=True)]
    locks = task_of(app, lock_key=keys, lock_limit=5).lock_for("ann")

    assert [(lock.name, lock.shared, lock.limit) for lock in locks.locks] == [
        ("redislock:alone", False, None),
        (API, True, 5),
        ("redislock:read", True, None),
    ]


def test_one_name_in_two_kinds_counts_once_as_the_stricter(app: Celery) -> None:
    task = task_of(app, lock_key=[LockKey("api", limit=3), LockKey("{tenant}", shared=True)])

    (lock,) = task.lock_for("api").locks

    assert (lock.name, lock.limit) == (API, 3)


@pytest.mark.parametrize("word", ["coalesce", "replace"])
def test_a_list_refuses_what_it_refused(app: Celery, word: str) -> None:
    with pytest.raises(ConfigurationError, match="is a list"):
        task_of(app, lock_key=[LockKey("api", limit=3)], lock_on_conflict=word)


# ---- a run


def test_a_retry_of_the_body_has_room(app: Celery) -> None:
    def body(self: Any) -> Any:
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        return "done"

    task = locked(app, body, name="work", bind=True, lock_key="api", lock_limit=1)
    result = run(app, task)

    received(app, task).execute()

    assert result.result == "done"


@pytest.mark.parametrize("kind", [{"lock_shared": True}, {"lock_limit": 3}], ids=str)
@pytest.mark.parametrize("error", [None, KeyError, Ignore, Reject, SystemExit, SoftTimeLimitExceeded])
def test_each_end_of_a_run_gives_its_place_back(
    app: Celery, client: redis.Redis, kind: dict[str, Any], error: type[BaseException] | None
) -> None:
    def body() -> None:
        assert client.exists(API)
        if error is not None:
            raise error

    with suppress(SystemExit):
        run(app, task_of(app, body, **kind))

    assert client.exists(API) == 0


@pytest.mark.parametrize("kind", [{"lock_shared": True}, {"lock_limit": 3}], ids=str)
def test_a_run_from_which_the_lock_is_taken_by_force_is_told(
    app: Celery, client: redis.Redis, kind: dict[str, Any]
) -> None:
    def body() -> None:
        assert RedisLock(client, API).force_release()
        current_lock().renew()
        current_lock().ensure_held()

    result = run(app, task_of(app, body, **kind))

    assert isinstance(result.result, LockLost)
    assert client.exists(API) == 0


@pytest.mark.parametrize("kind", [{"lock_shared": True}, {"lock_limit": 3}], ids=str)
def test_without_redis_no_run_begins(app: Celery, kind: dict[str, Any]) -> None:
    ran: list[int] = []
    task = task_of(app, lambda: ran.append(1), lock_on_error="fail", **kind)
    result = task.apply_async()
    request = received(app, task)
    app.conf.redislock_url = "redis://127.0.0.1:1/0"

    request.execute()

    assert isinstance(result.result, StoreUnavailable)
    assert ran == []


def test_min_hold_and_a_limit_make_a_window(app: Celery, client: redis.Redis) -> None:
    task = task_of(app, lock_limit=2, lock_min_hold=20)

    assert [run(app, task).state for _ in range(3)] == [states.SUCCESS, states.SUCCESS, states.REVOKED]
    assert 15_000 < client.pttl(API) <= 20_000


def test_a_publish_lock_of_the_time_before_it_was_shared_is_freed(app: Celery, client: redis.Redis) -> None:
    task_of(app, lock_scope="task").delay()
    app.tasks.unregister("work")
    task = task_of(app, lock_limit=2)
    request = received(app, task)
    assert TICKET_HEADER in request.request_dict

    request.execute()

    assert PublishLock(client, API).take("a new one", "t", 1000) is None
    assert client.exists(API) == 0


def test_only_a_copy_asks_redis_whether_its_work_was_done(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a shared lock no answer to the question for the lock itself can tell."""
    monkeypatch.setattr(RedisLock, "was_done", lambda *_: pytest.fail("it was asked"))

    assert run(app, task_of(app, lock_limit=2)).result == "done"


# ---- what is called inside of it


def inside(app: Celery, outer: dict[str, Any], inner: dict[str, Any]) -> Any:
    """Call a task eagerly in the body of another with the same key, and return its result."""
    task = task_of(app, lambda: "done", name="inner", **inner)
    results: list[Any] = []

    def body() -> Any:
        results.append(task.apply())
        current_lock().ensure_held()

    assert run(app, task_of(app, body, name="outer", **outer)).state == states.SUCCESS
    return results[0]


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ({}, {}),
        ({}, {"lock_shared": True}),
        ({}, {"lock_limit": 1}),
        ({"lock_shared": True}, {"lock_shared": True}),
        ({"lock_limit": 2}, {"lock_shared": True}),
        ({"lock_limit": 2}, {"lock_limit": 2}),
        ({"lock_limit": 2}, {"lock_limit": 5}),
    ],
    ids=str,
)
def test_an_eager_call_runs_under_a_lock_that_is_as_strict(app: Celery, outer: Any, inner: Any) -> None:
    assert inside(app, outer, inner).result == "done"


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ({"lock_shared": True}, {}),
        ({"lock_limit": 2}, {}),
        ({"lock_shared": True}, {"lock_limit": 2}),
        ({"lock_limit": 3}, {"lock_limit": 2}),
        ({"lock_shared": True}, {"lock_wait": 30, "lock_on_conflict": "retry"}),
        ({"lock_shared": True}, {"lock_key": [LockKey("api"), "other"]}),
    ],
    ids=str,
)
def test_one_that_asks_for_more_is_refused_at_once_and_names_its_own_run(
    app: Celery, outer: Any, inner: Any
) -> None:
    """It would wait for its own holder: no lock can be upgraded."""
    result = inside(app, outer, inner)

    assert isinstance(result.result, LockBusy)
    assert result.result.name == API
    assert result.result.holder.metadata["task"] == "outer"


def test_in_shadow_that_runs_too(app: Celery) -> None:
    assert inside(app, {"lock_shared": True}, {"lock_mode": "shadow"}).result == "done"


def test_what_the_run_has_published_waits_for_its_place(app: Celery, client: redis.Redis) -> None:
    """A chain's next member comes before the run has given its place back. It may be any of the holders."""
    task = task_of(app, lock_limit=13, lock_on_conflict="fail")
    with held(client, 11, id="one"), held(client, 1, id="the parent") as parent, held(client, 1, id="two"):
        result = task.apply_async()
        request = received(app, task)
        request.request_dict["parent_id"] = "the parent"
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(request.execute)
            eventually(lambda: client.zcard(f"redislock.waiters:{{{API}}}"))
            parent.close()
            running.result()

    assert result.result == "done"


def test_who_has_read_a_result_finds_the_place_of_that_run_free(app: Celery, client: redis.Redis) -> None:
    task = task_of(app, lock_limit=2, lock_on_conflict="fail")
    app.backend.store_result("done already", 1, states.SUCCESS)
    with held(client, 1, id="one"), held(client, 1, id="done already") as returning:
        result = task.apply_async()
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(received(app, task).execute)
            eventually(lambda: client.zcard(f"redislock.waiters:{{{API}}}"))
            returning.close()
            running.result()

    assert result.result == "done"


# ---- a message that is delivered again


def begin(task: Any, **facts: Any) -> None:
    """Begin, and end, a run of a message that is delivered again."""
    from celery_redislock.task.run import finish

    told = {"headers": {}, "delivery_info": {"redelivered": True}, **facts}
    task.push_request(**{"id": "mine", "args": (), "kwargs": {}, "is_eager": False, **told})
    try:
        task.before_start("mine", (), {})
    finally:
        finish(task.request)
        task.pop_request()


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[Any]]:
    """Return what has a task that is published again only noted: its headers."""
    published: list[Any] = []

    def watch(task: Any) -> list[Any]:
        monkeypatch.setattr(
            type(task), "apply_async", lambda *_, **options: published.append(options["headers"])
        )
        return published

    return watch


@pytest.mark.parametrize("others", [0, 1, 2], ids=["there is room", "there is room too", "there is none"])
def test_a_copy_is_put_off_while_its_first_run_holds_one_of_the_places(
    app: Celery, client: redis.Redis, again: Any, others: int
) -> None:
    """Where there is room, the lock alone would let both run at once."""
    task = task_of(app, lock_limit=3)
    published = again(task)

    with held(client, others), held(client, 1, id="mine"):
        with pytest.raises(PutOff, match="an earlier delivery of this task may still hold lock"):
            begin(task)
        assert len(RedisLock(client, API).holders()) == others + 1

    assert COPY_HEADER in published[0]


def test_so_is_one_that_has_become_a_writer(app: Celery, client: redis.Redis, again: Any) -> None:
    task = task_of(app)
    again(task)

    with held(client, 2), held(client, 1, id="mine"), pytest.raises(PutOff):
        begin(task)


def test_so_is_one_of_several_locks(app: Celery, client: redis.Redis, again: Any) -> None:
    task = task_of(app, lock_key=[LockKey("api", limit=3), LockKey("more", shared=True)])
    again(task)

    with held(client, 1, id="mine"), pytest.raises(PutOff):
        begin(task)

    assert client.exists("redislock:more") == 0


def test_another_call_with_its_id_is_no_copy(app: Celery, client: redis.Redis) -> None:
    with held(client, 1, id="mine"):
        begin(task_of(app, lock_limit=3), delivery_info={})


def test_a_copy_is_dropped_whose_id_was_finished_lately(app: Celery, client: redis.Redis) -> None:
    lock = RedisLock(client, API, 30, limit=3)
    assert lock.acquire()
    assert lock.release(done="mine")

    with pytest.raises(Done):
        begin(task_of(app, lock_limit=3))

    assert client.exists(API) == 0


def test_a_copy_that_meets_others_follows_the_policy(app: Celery, client: redis.Redis) -> None:
    with held(client, 3), pytest.raises(Skipped, match=API):
        begin(task_of(app, lock_limit=3))


# ---- a child that dies, and what workers do and tell


@pytest.mark.parametrize("kind", [{"lock_shared": True}, {"lock_limit": 3}])
def test_the_parent_gives_back_the_place_of_a_dead_child_and_no_other(
    app: Celery, client: redis.Redis, kind: dict[str, Any]
) -> None:
    task = task_of(app, **kind)
    task.delay()
    request = received(app, task)
    lock = own_locks_of(request._call).lock_of(
        request._call, SimpleNamespace(id="mine", headers={}), request, ""
    )
    told: list[events.Orphaned] = []
    events.listen(events.Orphaned, told.append)

    with held(client, 2, **({} if "lock_limit" in kind else {"limit": None, "shared": True})):
        assert lock.attempt(token=request.request_dict[TOKEN_HEADER]) is None
        request._release_orphan()
        assert [holder.metadata["id"] for holder in RedisLock(client, API).holders()] == [
            "another 0",
            "another 1",
        ]

    assert [event.lock_name for event in told] == [API]


def test_it_keeps_the_window(app: Celery, client: redis.Redis) -> None:
    task = task_of(app, lock_limit=3, lock_min_hold=20)
    task.delay()
    request = received(app, task)
    lock = own_locks_of(request._call).lock_of(
        request._call, SimpleNamespace(id="mine", headers={}), request, ""
    )
    assert lock.attempt(token=request.request_dict[TOKEN_HEADER]) is None

    request._release_orphan()

    assert 15_000 < client.pttl(API) <= 20_000


def test_a_run_that_replaces_waits_for_readers_and_has_none_terminated(
    app: Celery, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several would be terminated, and the others would still be there."""
    terminated: list[Any] = []
    monkeypatch.setattr(app.control, "broadcast", lambda *args, **_: terminated.append(args))
    task = task_of(app, lock_on_conflict="replace", lock_replace_after=0)
    with held(client, 2, shared=True, limit=None):
        result = run(app, task)
        expel(app, API)

    assert (terminated, result.state) == ([], states.PENDING)


def test_a_chain_of_a_reader_and_a_writer_runs(app: Celery) -> None:
    reader, writer = task_of(app, name="read", lock_shared=True), task_of(app, name="write")
    result = chain(reader.si(), writer.si()).apply_async()

    received(app, reader).execute()
    received(app, writer).execute()

    assert result.get(timeout=5) == "done"


def test_a_worker_tells_the_doctor_its_options_as_json(app: Celery) -> None:
    keys = [LockKey("a", limit=3, min_hold=2), LockKey("b", shared=True), LockKey("c", shared=False)]
    task_of(app, lock_key=keys, lock_limit=limit_of_all)

    class State:
        class consumer:  # noqa: N801 - as Celery calls it
            pool = None

    State.app = app  # type: ignore[attr-defined]
    told = json.loads(json.dumps(lock_settings(State)["tasks"]["work"]))

    assert told["key"] == ["a (limit 3, min_hold 2 s)", "b (shared)", "c (not shared)"]
    assert told["limit"] == f"{__name__}.limit_of_all"


def limit_of_all(tenant: str = "ann") -> int:
    """Return the same for every tenant."""
    return 3


def test_a_call_without_a_name_has_no_limit_either(app: Celery) -> None:
    def wrong(tenant: str = "ann") -> str:
        raise ZeroDivisionError

    result = run(app, task_of(app, lock_key=wrong, lock_limit=lambda tenant="ann": 0))

    assert isinstance(result.result, LockKeyError)
