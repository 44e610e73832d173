"""Several keys: a run of a task whose `lock_key` is a list has all of its locks, or it does not run.

Each test here is about one place that asks who holds "the lock" of a call, or does something with it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery, Task, states

from celery_redislock import (
    ConfigurationError,
    LockBusy,
    LockedTask,
    LockKey,
    LockKeyError,
    LockLost,
    RedisLock,
    RedisLocks,
    current_lock,
    events,
    locked_batch,
)
from celery_redislock.config.call import Call
from celery_redislock.messages.celery_exceptions import Done, PutOff, Skipped
from celery_redislock.messages.headers import COPY_HEADER, NAME_HEADER, TICKET_HEADER, TOKEN_HEADER
from celery_redislock.observing.facts import facts_of
from celery_redislock.observing.spans import shown_name
from celery_redislock.publish_lock.record import PublishLock
from celery_redislock.task.own_locks import OwnLocks, own_locks_of
from celery_redislock.worker.control import lock_settings

from ...support.applications import busy, locked
from ...support.deadlines import eventually
from .test_end_of_run import heard, is_waiting
from .test_made_once import received

ANN, BOB, ZOE = "redislock:account:ann", "redislock:account:bob", "redislock:account:zoe"
ACCOUNTS = ["account:{source}", "account:{target}"]


def transfer_of(app: Celery, body: Any = None, name: str = "transfer", **options: Any) -> Any:
    """Return a task that locks both accounts."""

    def transfer(self: Any, source: str, target: str) -> Any:
        return body(self) if body else "moved"

    return locked(app, transfer, **{"name": name, "bind": True, "lock_key": ACCOUNTS, **options})


def account_of(app: Celery, body: Callable[[], Any] = lambda: "done", **options: Any) -> Any:
    """Return a task that locks one account."""

    def work(account: str) -> Any:
        return body()

    return locked(app, work, **{"name": "work", "lock_key": "account:{account}", **options})


def run(app: Celery, task: Any, *args: Any, **options: Any) -> Any:
    """Publish a task and run its message, as a worker does; return its result."""
    result = task.apply_async(args, **options)
    received(app, task).execute()
    return result


def in_another_thread(work: Callable[[], Any]) -> Any:
    """Do something where no run goes on."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def taken(client: redis.Redis) -> set[str]:
    """Return which accounts are locked."""
    return {name for name in (ANN, BOB, ZOE) if client.exists(name)}


# ---- what is declared


def test_the_keys_are_rendered_sorted_and_each_counts_once(app: Celery) -> None:
    task = transfer_of(app)

    assert task.lock_names("bob", "ann") == task.lock_names("ann", target="bob") == (ANN, BOB)
    assert task.lock_names("ann", "ann") == (ANN,)
    assert account_of(app).lock_names("ann") == (ANN,)


def test_a_key_may_be_a_template_a_callable_or_a_lock_key(app: Celery) -> None:
    def third(source: str, target: str) -> str:
        return f"callable:{source}"

    task = transfer_of(app, lock_key=("fixed", third, LockKey("account:{target}"), LockKey(third)))

    names = ("redislock:account:bob", "redislock:callable:ann", "redislock:fixed")
    assert task.lock_names("ann", "bob") == names


def test_who_asks_for_the_one_name_is_told_that_there_are_several(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match=r"'transfer' has several locks.*use lock_names"):
        transfer_of(app).lock_name("ann", "bob")


def test_lock_for_gives_all_locks_to_other_programs(app: Celery, client: redis.Redis) -> None:
    locks = transfer_of(app, lock_wait=0.2).lock_for("bob", "ann")

    assert type(locks) is RedisLocks
    with locks:
        assert taken(client) == {ANN, BOB}
        assert list(locks.fencing_tokens) == [ANN, BOB]
    assert taken(client) == set()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"lock_key": []}, "lock_key of task 'transfer' is an empty list"),
    ({"lock_key": ()}, "lock_key of task 'transfer' is an empty list"),
    ({"lock_key": [7]}, "each element of lock_key of task 'transfer' must be a name or template"),
    ({"lock_key": [""]}, "each element of lock_key"),
    ({"lock_key": [None]}, "each element of lock_key"),
    ({"lock_key": [["account:{source}"]]}, "each element of lock_key"),
    ({"lock_key": {"account:{source}"}}, "lock_key of task 'transfer' must be a name or template"),
    ({"lock_key": ["account:{nobody}"]}, "has no argument 'nobody'"),
    ({"lock_key": ["ok", "account:{nobody}"]}, "has no argument 'nobody'"),
    ({"lock_args": ["source"]}, "contradict each other"),
    ({"lock_on_conflict": "coalesce"}, 'is a list, and lock_on_conflict of task .* "coalesce" needs one'),
    ({"lock_on_conflict": "replace"}, 'is a list, and lock_on_conflict of task .* "replace" needs one'),
    ({"lock_scope": "task"}, 'is a list, and lock_scope of task .* "task" needs one lock'),
    ({"lock_scope": "queue"}, 'is a list, and lock_scope of task .* "queue" needs one lock'),
    ({"lock_key": [LockKey("a", min_hold=9)], "lock_max_hold": 5}, "min_hold of a LockKey in lock_key"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_cannot_be_done_with_several_locks_is_refused_when_it_is_declared(
    app: Celery, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        transfer_of(app, **options)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"redislock_on_conflict": "coalesce"}, 'redislock_on_conflict setting "coalesce" needs one lock'),
        ({"redislock_scope": "task"}, 'redislock_scope setting "task" needs one lock'),
    ],
)
def test_so_is_what_a_setting_says(app: Celery, setting: dict[str, Any], words: str) -> None:
    app.conf.update(setting)

    with pytest.raises(ConfigurationError, match=words):
        transfer_of(app)


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        ({"on_conflict": "coalesce"}, "needs one lock"),
        ({"scope": "queue"}, "needs one lock"),
        ({"key": []}, "is an empty list"),
        ({"key": [LockKey("a")]}, "must be a str, a number or a list, not LockKey"),
        ({"key": LockKey("a")}, "must be a str, a number or a list, not LockKey"),
        ({"key": ["a", 7]}, "each element of"),
    ],
)
def test_so_is_what_a_call_says(app: Celery, lock: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        transfer_of(app).apply_async(("ann", "bob"), lock=lock)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": 7}, "the key of a LockKey must be"),
        ({"key": ""}, "the key of a LockKey must be"),
        ({"key": "a", "min_hold": -1}, "min_hold of a LockKey"),
        ({"key": "a", "min_hold": True}, "min_hold of a LockKey"),
        ({"key": "a", "shared": 1}, "shared of a LockKey is a bool, True or False, and cannot be 1"),
        ({"key": "a", "limit": 0}, "limit of a LockKey must be an int of at least 1"),
        ({"key": "a", "limit": True}, "limit of a LockKey must be an int of at least 1"),
        ({"key": "a", "limit": "3"}, "limit of a LockKey must be an int of at least 1"),
    ],
)
def test_a_wrong_lock_key_is_refused_by_name(options: dict[str, Any], words: str) -> None:
    """A limit that nobody enforces would be a lock that is silently missing."""
    with pytest.raises(ConfigurationError, match=words):
        LockKey(**options)


def test_a_call_may_have_a_list_of_its_own(app: Celery, client: redis.Redis) -> None:
    task = account_of(app, lambda: sorted(taken(client)))

    result = run(app, task, "ann", lock={"key": ["account:{account}", "account:zoe"]})

    assert result.result == [ANN, ZOE]
    assert taken(client) == set()


def test_a_batch_has_one_lock(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match="lock_key of a locked batch must be a non-empty str"):
        locked_batch(account_of(app).si("ann"), lock_key=["a", "b"])  # type: ignore[arg-type]


# ---- what a message carries


def test_a_message_carries_all_names_and_the_worker_uses_them(app: Celery, client: redis.Redis) -> None:
    seen: list[set[str]] = []
    task = transfer_of(app, lambda self: seen.append(taken(client)))
    task.delay("bob", "ann")
    request = received(app, task)
    assert request.request_dict[NAME_HEADER] == [BOB, ANN]
    request.request_dict[NAME_HEADER] = [BOB, ZOE]

    assert request.lock_view()["locks"] == [BOB, ZOE]
    request.execute()

    assert seen == [{BOB, ZOE}]


@pytest.mark.parametrize("names", [[ANN], [ANN, "another app's"], ANN, 7, [ANN, 7], [ANN, BOB, ZOE]])
def test_names_that_do_not_fit_the_keys_are_computed_again(
    app: Celery, client: redis.Redis, names: Any
) -> None:
    """Such as those of a version of the task with other keys: none of its locks may be missing."""
    task = transfer_of(app, lambda self: sorted(taken(client)))
    result = task.delay("bob", "ann")
    request = received(app, task)
    request.request_dict[NAME_HEADER] = names

    request.execute()

    assert result.result == [ANN, BOB]


def test_a_message_of_the_time_when_there_was_one_key_takes_both(app: Celery, client: redis.Redis) -> None:
    before = transfer_of(app, lock_key="account:{source}")
    result = before.delay("bob", "ann")
    app.tasks.unregister("transfer")
    task = transfer_of(app, lambda self: sorted(taken(client)))

    received(app, task).execute()

    assert result.result == [ANN, BOB]


def test_a_publish_lock_of_the_time_when_there_was_one_key_is_freed(app: Celery, client: redis.Redis) -> None:
    before = transfer_of(app, lock_key="account:{source}", lock_scope="task")
    before.delay("bob", "ann")
    app.tasks.unregister("transfer")
    task = transfer_of(app)
    request = received(app, task)
    assert TICKET_HEADER in request.request_dict

    request.execute()

    assert PublishLock(client, BOB).take("a new one", "t", 1000) is None
    assert taken(client) == set()


def test_a_call_of_which_one_name_cannot_be_made_does_not_run(app: Celery, client: redis.Redis) -> None:
    def wrong(source: str, target: str) -> str:
        raise ZeroDivisionError

    ran: list[int] = []
    task = transfer_of(app, lambda self: ran.append(1), lock_key=["account:{source}", wrong])

    result = run(app, task, "ann", "bob")

    assert isinstance(result.result, LockKeyError)
    assert (ran, taken(client)) == ([], set())


def test_names_are_those_of_the_call_that_a_users_apply_async_publishes(
    app: Celery, client: redis.Redis
) -> None:
    class Turning(Task):
        """It comes after LockedTask, which has named the call by then."""

        abstract = True

        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            return super().apply_async([args[0], "zoe"], kwargs, **options)

    class Both(LockedTask, Turning):
        abstract = True

    task = transfer_of(app, lambda self: sorted(taken(client)), base=Both)
    result = task.apply_async(["bob", "ann"])
    received(app, task).execute()

    assert result.result == [BOB, ZOE]


# ---- a run


def has_all_locks(client: redis.Redis, task: Any) -> None:
    """Run a task whose body tells which locks there are, and compare them with its keys."""
    result = run(task.app, task, "bob", "ann")

    assert result.result == [[ANN, BOB], [ANN, BOB], [ANN, BOB], False], "a lock of the list is missing"
    assert taken(client) == set()


def telling(app: Celery, client: redis.Redis) -> Any:
    """Return a task whose body tells which locks there are."""

    def body(self: Any) -> Any:
        assert self.lock is current_lock()
        assert isinstance(self.lock, RedisLocks)
        self.lock.ensure_held()
        return self.lock.names, sorted(self.lock.fencing_tokens), sorted(taken(client)), self.lock.lost

    return transfer_of(app, body)


def test_the_body_has_all_locks_and_its_end_frees_them(app: Celery, client: redis.Redis) -> None:
    has_all_locks(client, telling(app, client))


class TakesOnlyTheFirst(OwnLocks):
    """A list that is read like a single key."""

    def locks_of(self, *args: Any, **but: Any) -> Any:
        """Forget the others."""
        locks = super().locks_of(*args, **but)
        locks.locks = locks.locks[:1]
        return locks


def test_a_list_of_which_only_the_first_key_is_locked_is_caught(app: Celery, client: redis.Redis) -> None:
    task = telling(app, client)
    plan = task.plan_for()
    plan.made[OwnLocks] = TakesOnlyTheFirst(Call(task, plan, ("bob", "ann"), {}, "an id"))

    with pytest.raises(AssertionError, match="a lock of the list is missing"):
        has_all_locks(client, task)


@pytest.mark.parametrize("name", ["ann", "bob"])
def test_a_run_that_meets_one_busy_lock_does_not_run_and_keeps_none(
    app: Celery, client: redis.Redis, name: str
) -> None:
    ran: list[int] = []
    task, key = transfer_of(app, lambda self: ran.append(1)), f"redislock:account:{name}"

    with busy(account_of(app), name):
        result = run(app, task, "bob", "ann")
        assert taken(client) == {key}, "what was taken before the conflict was kept"

    assert result.state == states.REVOKED
    assert f"lock {key!r} is busy" in str(result.result), "the busy one is not named"
    assert ran == []


def test_a_task_with_one_key_meets_a_run_with_several(app: Celery) -> None:
    account = account_of(app)

    def body(self: Any) -> Any:
        results = [in_another_thread(lambda name=name: run(app, account, name)) for name in ("ann", "bob")]
        return [result.state for result in results]

    assert run(app, transfer_of(app, body), "bob", "ann").result == [states.REVOKED] * 2


def test_fail_names_the_busy_one(app: Celery) -> None:
    with busy(account_of(app), "bob"):
        result = run(app, transfer_of(app, lock_on_conflict="fail"), "bob", "ann")

    assert isinstance(result.result, LockBusy)
    assert result.result.name == BOB


def test_retry_comes_again_with_all_names(app: Celery, client: redis.Redis) -> None:
    task = transfer_of(app, lock_on_conflict="retry", lock_retry_delay=(0.01, 0.01))
    with busy(account_of(app), "bob"):
        result = run(app, task, "bob", "ann")

    request = received(app, task)
    assert request.id == result.id
    assert request.request_dict[NAME_HEADER] == [BOB, ANN]
    request.execute()
    assert result.result == "moved"
    assert taken(client) == set()


@pytest.mark.parametrize("word", ["coalesce", "replace"])
def test_a_callable_cannot_ask_for_what_needs_one_lock(app: Celery, client: redis.Redis, word: str) -> None:
    task = transfer_of(app, lock_on_conflict=lambda task, conflict: word)

    with busy(account_of(app), "bob"):
        result = run(app, task, "bob", "ann")

    assert isinstance(result.result, ConfigurationError)
    assert f'"{word}" needs one lock' in str(result.result)
    assert taken(client) == set()


def test_there_is_one_wait_for_all(app: Celery) -> None:
    task, account = transfer_of(app, lock_wait=0.3), account_of(app)

    with busy(account, "bob"):
        result = run(app, task, "bob", "ann")

    assert result.state == states.REVOKED
    with ThreadPoolExecutor(1) as thread, busy(account, "bob") as other:
        waiting = thread.submit(run, app, transfer_of(app, name="patient", lock_wait=20), "bob", "ann")
        eventually(lambda: other.redis_client.zcard(f"redislock.waiters:{{{BOB}}}"))
        other.release()
        assert waiting.result().result == "moved"


def test_shadow_runs_beside_a_busy_lock_and_keeps_none(app: Celery, client: redis.Redis) -> None:
    def body(self: Any) -> Any:
        return type(self.lock).__name__, sorted(taken(client))

    task = transfer_of(app, body, lock_mode="shadow")

    with busy(account_of(app), "bob"):
        assert run(app, task, "bob", "ann").result == ["Unlocked", [BOB]]
    assert run(app, task, "bob", "ann").result == ["SeveralLocks", [ANN, BOB]]
    assert taken(client) == set()


def test_off_takes_none(app: Celery, client: redis.Redis) -> None:
    task = transfer_of(app, lambda self: sorted(taken(client)), lock_mode="off")

    assert run(app, task, "bob", "ann").result == []


def test_a_retry_of_the_body_meets_none_of_its_own_locks(app: Celery, client: redis.Redis) -> None:
    def body(self: Any) -> Any:
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        return "moved"

    task = transfer_of(app, body)
    result = run(app, task, "bob", "ann")
    assert taken(client) == set()

    received(app, task).execute()

    assert result.result == "moved"


def test_each_key_may_have_a_min_hold_of_its_own(app: Celery, client: redis.Redis) -> None:
    keys = [LockKey("account:{source}", min_hold=20), "account:{target}"]
    task = transfer_of(app, lock_key=keys)

    run(app, task, "bob", "ann")

    assert taken(client) == {BOB}
    assert 15_000 < client.pttl(BOB) <= 20_000


def test_a_key_that_is_given_twice_has_the_longer_min_hold(app: Celery, client: redis.Redis) -> None:
    keys = [
        "account:{source}",
        LockKey("account:{source}", min_hold=20),
        LockKey("account:{source}", min_hold=0),
    ]

    run(app, transfer_of(app, lock_key=keys), "bob", "ann")

    assert 15_000 < client.pttl(BOB) <= 20_000


def test_min_hold_of_the_task_counts_where_a_key_has_none(app: Celery, client: redis.Redis) -> None:
    keys = ["account:{source}", LockKey("account:{target}", min_hold=0)]

    run(app, transfer_of(app, lock_key=keys, lock_min_hold=20), "bob", "ann")

    assert taken(client) == {BOB}


# ---- what is called inside of it


def test_an_eager_call_with_the_same_keys_runs_under_the_same_locks(app: Celery) -> None:
    inner = transfer_of(app, lambda self: self.lock.names, name="inner")

    def body(self: Any) -> Any:
        outer, got = self.lock, inner.apply(("ann", "bob")).result
        outer.ensure_held()
        return got

    assert run(app, transfer_of(app, body), "bob", "ann").result == [ANN, BOB]


def test_an_eager_call_with_one_of_the_keys_runs_under_that_lock(app: Celery) -> None:
    inner = account_of(app, lambda: current_lock().name)

    def body(self: Any) -> Any:
        got = inner.apply(("ann",)).result
        self.lock.ensure_held()
        return got

    assert run(app, transfer_of(app, body), "bob", "ann").result == ANN


def test_an_eager_call_takes_what_is_not_held_around_it(app: Celery, client: redis.Redis) -> None:
    inner = transfer_of(app, lambda self: (self.lock.names, sorted(taken(client))), name="inner")

    def body(self: Any) -> Any:
        got = inner.apply(("ann", "zoe")).result
        self.lock.ensure_held()
        return got, sorted(taken(client))

    assert run(app, transfer_of(app, body), "bob", "ann").result == [[[ZOE], [ANN, BOB, ZOE]], [ANN, BOB]]


def test_an_eager_call_that_meets_a_busy_lock_frees_nothing_of_what_is_around(app: Celery) -> None:
    ran: list[int] = []
    inner = transfer_of(app, lambda self: ran.append(1), name="inner")

    def body(self: Any) -> Any:
        got = inner.apply(("ann", "zoe"))
        self.lock.ensure_held()
        return got.state

    with busy(account_of(app), "zoe"):
        assert run(app, transfer_of(app, body), "bob", "ann").result == states.REVOKED
    assert ran == []


def test_an_eager_call_elsewhere_takes_all(app: Celery, client: redis.Redis) -> None:
    task = transfer_of(app, lambda self: sorted(taken(client)))

    assert task.apply(("bob", "ann")).result == [ANN, BOB]
    with busy(account_of(app), "bob"):
        assert task.apply(("bob", "ann")).state == states.REVOKED
    assert taken(client) == set()


def test_what_the_run_has_published_waits_for_all_of_its_locks(app: Celery) -> None:
    """A chain's next member comes before the run has given its locks back."""
    task, release = transfer_of(app, lock_on_conflict="fail"), []
    parent = task.lock_for("bob", "ann")
    holders = [
        RedisLock(lock.redis_client, lock.name, 30, metadata={"id": "the parent"}) for lock in parent.locks
    ]
    for holder in holders:
        assert holder.acquire()
        release.append(holder.release)
    result = task.apply_async(("bob", "ann"))
    request = received(app, task)
    request.request_dict["parent_id"] = "the parent"

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(request.execute)
        for free, holder in zip(release, holders, strict=True):
            eventually(
                lambda holder=holder: holder.redis_client.zcard(f"redislock.waiters:{{{holder.name}}}")
            )
            assert free()
        running.result()

    assert result.result == "moved"


# ---- a message that is delivered again


def begin(task: Any, **facts: Any) -> None:
    """Begin, and end, a run of a message that is delivered again."""
    from celery_redislock.task.run import finish

    arguments = ("bob", "ann")
    told = {"headers": {}, "delivery_info": {"redelivered": True}, **facts}
    task.push_request(**{"id": "mine", "args": arguments, "kwargs": {}, "is_eager": False, **told})
    try:
        task.before_start("mine", arguments, {})
    finally:
        finish(task.request)
        task.pop_request()


@pytest.mark.parametrize("held", [("ann", "bob"), ("ann",), ("bob",)])
def test_a_copy_is_put_off_while_the_first_run_holds_any_of_the_locks(
    app: Celery, client: redis.Redis, held: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, again = transfer_of(app), []
    monkeypatch.setattr(type(task), "apply_async", lambda *_, **options: again.append(options["headers"]))
    names = [f"redislock:account:{name}" for name in held]
    for name in names:
        assert RedisLock(client, name, 30, metadata={"id": "mine"}).acquire()

    with pytest.raises(PutOff, match=names[0]):
        begin(task)

    assert COPY_HEADER in again[0]
    assert taken(client) == set(names)


def test_a_copy_that_waits_for_a_short_lease_takes_all_locks_anew(app: Celery, client: redis.Redis) -> None:
    """What it had to give back it does not take with the same token again."""
    assert RedisLock(client, BOB, 0.5, metadata={"id": "mine"}).acquire()
    task = transfer_of(app)

    begin(task)

    assert taken(client) == set()


@pytest.mark.parametrize("under", [ANN, BOB])
def test_a_copy_is_dropped_whose_id_was_finished_under_any_of_the_locks(
    app: Celery, client: redis.Redis, under: str
) -> None:
    """Other work may have followed under the others, of which Redis remembers the last."""
    lock = RedisLock(client, under, 30)
    assert lock.acquire()
    assert lock.release(done="mine")

    with pytest.raises(Done):
        begin(transfer_of(app))

    assert taken(client) == set()


def test_a_run_that_ends_is_remembered_under_each_of_its_locks(app: Celery, client: redis.Redis) -> None:
    result = run(app, transfer_of(app, acks_late=True), "bob", "ann")

    for name in (ANN, BOB):
        lock = RedisLock(client, name, 30)
        assert lock.acquire()
        assert lock.was_done(result.id), f"nothing is remembered under {name}"
        assert lock.release()


def test_a_copy_that_meets_the_lock_of_another_follows_the_policy(app: Celery, client: redis.Redis) -> None:
    assert RedisLock(client, BOB, 30, metadata={"id": "another"}).acquire()

    with pytest.raises(Skipped, match=BOB):
        begin(transfer_of(app))

    assert taken(client) == {BOB}


# ---- a child that dies, and what workers tell


def of_run(request: Any) -> Any:
    """Return the request as its child has it."""
    return SimpleNamespace(id=request.id, headers={})


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_parent_gives_back_all_that_a_dead_child_held(
    app: Celery, client: redis.Redis, rounds: int
) -> None:
    task = transfer_of(app)
    task.delay("bob", "ann")
    request = received(app, task)
    call = request._call
    locks = own_locks_of(call).locks_of(call, of_run(request), request)
    for _ in range(rounds - 1):
        with busy(account_of(app), "bob"):
            assert locks.take(token=request.request_dict[TOKEN_HEADER]) is not None
    assert locks.take(token=request.request_dict[TOKEN_HEADER]) is None
    assert taken(client) == {ANN, BOB}
    told: list[events.Orphaned] = []
    events.listen(events.Orphaned, told.append)

    request._release_orphan()

    assert taken(client) == set()
    assert sorted(event.lock_name for event in told) == [ANN, BOB]


def test_the_parent_gives_back_nothing_of_another_delivery(app: Celery, client: redis.Redis) -> None:
    task = transfer_of(app)
    task.delay("bob", "ann")
    request = received(app, task)

    with task.lock_for("ann", "bob"):
        request._release_orphan()
        assert taken(client) == {ANN, BOB}


def test_the_parent_keeps_a_min_hold(app: Celery, client: redis.Redis) -> None:
    task = transfer_of(app, lock_key=[LockKey("account:{source}", min_hold=20), "account:{target}"])
    task.delay("bob", "ann")
    request = received(app, task)
    locks = own_locks_of(request._call).locks_of(request._call, of_run(request), request)
    assert locks.take(token=request.request_dict[TOKEN_HEADER]) is None

    request._release_orphan()

    assert taken(client) == {BOB}


def test_a_worker_shows_all_locks_of_a_run(app: Celery) -> None:
    task = transfer_of(app)
    task.delay("bob", "ann")

    view = received(app, task).lock_view()

    assert (view["lock"], view["locks"]) == (f"{ANN}, {BOB}", [ANN, BOB])


def test_a_worker_tells_the_doctor_its_options_as_json(app: Celery) -> None:
    transfer_of(app, lock_key=["account:{source}", LockKey("account:{target}", min_hold=2), key_of_all])

    class State:
        class consumer:  # noqa: N801 - as Celery calls it
            pool = None

    State.app = app  # type: ignore[attr-defined]
    told = json.loads(json.dumps(lock_settings(State)["tasks"]["transfer"]["key"]))

    assert told == ["account:{source}", "account:{target} (min_hold 2 s)", f"{__name__}.key_of_all"]


def key_of_all(source: str, target: str) -> str:
    """Give a key."""
    return "all"


# ---- others under one of its locks


def test_pending_runs_of_others_are_published_when_it_ends(app: Celery) -> None:
    other = account_of(app, lock_on_conflict="coalesce")

    def body(self: Any) -> None:
        in_another_thread(lambda: run(app, other, "bob"))

    run(app, transfer_of(app, body), "bob", "ann")

    eventually(lambda: is_waiting(app), 3, "the pending run should be published")
    assert received(app, other).task_name == "work"


def test_it_stops_for_another_task_that_replaces_it(app: Celery, client: redis.Redis) -> None:
    other = account_of(app, name="newer", lock_on_conflict="replace")
    began: list[int] = []

    def body(self: Any) -> None:
        began.append(1)
        in_another_thread(lambda: run(app, other, "bob"))
        eventually(lambda: False, 10)

    result = run(app, transfer_of(app, body, lock_ttl=1), "bob", "ann")

    assert (began, result.state) == ([1], states.REVOKED)
    assert BOB in str(result.result)
    assert taken(client) == set()


@pytest.mark.parametrize("name", [ANN, BOB])
def test_one_lock_that_is_lost_ends_the_body_and_is_told_once(
    app: Celery, client: redis.Redis, name: str
) -> None:
    lost: list[events.Lost] = []
    events.listen(events.Lost, lost.append)

    def body(self: Any) -> None:
        RedisLock(client, name).force_release()
        eventually(lambda: False, 10)

    result = run(app, transfer_of(app, body, lock_ttl=1), "bob", "ann")

    assert isinstance(result.result, LockLost)
    assert result.result.name == name
    assert [event.lock.name for event in lost] == [name]
    assert taken(client) == set()


def test_a_loss_of_all_is_told_once(app: Celery, client: redis.Redis) -> None:
    lost: list[events.Lost] = []
    events.listen(events.Lost, lost.append)

    def body(self: Any) -> bool:
        client.delete(ANN, BOB)
        eventually(lambda: len([lock for lock in self.lock.locks if lock.lost]) == 2, 5)
        return bool(self.lock.lost)

    result = run(app, transfer_of(app, body, lock_ttl=1, lock_on_lost="continue"), "bob", "ann")

    assert result.result is True
    eventually(lambda: lost)
    assert len(lost) == 1


def test_without_redis_it_comes_again_and_says_which_lock(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[int] = []
    task = transfer_of(app, lambda self: ran.append(1))
    task.delay("bob", "ann")
    request = received(app, task)
    app.conf.redislock_url = "redis://localhost:1"

    request.execute()

    assert ran == []
    assert f"Redis cannot serve lock {ANN!r}" in caplog.text
    assert is_waiting(app)


@pytest.mark.parametrize("on_error", ["retry", "run"])
def test_a_run_that_loses_a_lock_while_it_waits_for_another_does_not_run(
    app: Celery, client: redis.Redis, on_error: str
) -> None:
    """Not with `lock_on_error="run"` either: that is for a Redis that is away."""
    ran: list[int] = []
    task = transfer_of(app, lambda self: ran.append(1), lock_wait=20, lock_on_error=on_error)
    other = RedisLock(client, BOB, 30)
    assert other.acquire()
    task.apply_async(("bob", "ann"), lock={"ttl": 1})
    request = received(app, task)

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(request.execute)
        eventually(lambda: client.zcard(f"redislock.waiters:{{{BOB}}}"))
        assert RedisLock(client, ANN).force_release()
        time.sleep(0.5)  # a renewal is refused meanwhile
        assert other.release()
        running.result()

    assert ran == []
    assert taken(client) == set()
    assert is_waiting(app), "it comes again"


# ---- what is seen


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """Give the events of runs."""
    seen: list[Any] = []
    kinds = (events.Acquired, events.Released, events.Conflicted)
    for kind in kinds:
        events.listen(kind, seen.append)
    yield seen
    for kind in kinds:
        events.unlisten(kind, seen.append)


def test_a_run_is_told_of_once_with_all_names(app: Celery, told: list[Any]) -> None:
    run(app, transfer_of(app), "bob", "ann")

    facts = [facts_of(event) for event in told]
    assert [(each["action"], each["lock"]) for each in facts] == [
        ("acquired", f"{ANN}, {BOB}"),
        ("released", f"{ANN}, {BOB}"),
    ]
    assert json.dumps(facts)


def test_a_conflict_is_told_with_the_name_of_the_busy_one(app: Celery, told: list[Any]) -> None:
    with busy(account_of(app), "bob"):
        run(app, transfer_of(app), "bob", "ann")

    assert [facts_of(event)["lock"] for event in told] == [BOB]


def test_the_signals_have_the_locks(app: Celery) -> None:
    from celery_redislock.signals import lock_acquired

    with heard(lock_acquired) as said:
        run(app, transfer_of(app), "bob", "ann")

    assert [facts["lock"].names for facts in said] == [(ANN, BOB)]


def test_a_span_shows_no_value_of_an_argument(app: Celery) -> None:
    task = transfer_of(app)

    shown = shown_name(task, f"{ANN}, {BOB}", task.plan_for().options.key)

    assert "ann" not in shown.removeprefix("redislock:transfer")
    assert shown.startswith("redislock:transfer:")
