"""What a type checker must say of locked tasks: `error:` marks the lines that it must refuse.

Never run: tests/house/test_typing.py has mypy and pyright read it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from celery import Celery, Signature, Task, chain, group
from celery.exceptions import Retry
from celery.result import AsyncResult, EagerResult

import celery_redislock
from celery_redislock import (
    CallOptions,
    Conflict,
    LockedTask,
    RedisLock,
    TaskLock,
    Unlocked,
    current_lock,
    locked_task,
)

from celery_redislock import LockdTask  # error: attr-defined # isort: skip # noqa: F401

app = Celery()


def decide(task: Any, conflict: Conflict) -> str | None:
    return "retry" if conflict.lease_left else None


@locked_task
def bare(path: str, times: int = 1) -> bool:
    return True


@locked_task(lock_args=["path"], lock_ttl=30)
def with_options(path: str, *, times: int = 1) -> bool:
    return True


@locked_task(app=app, bind=True, lock_key="import:{path}")
def bound(self: Any, path: str) -> int:
    self.lock.ensure_held()
    return len(path)


@locked_task(
    name="all",
    lock_args=(),
    lock_ttl=timedelta(minutes=5),
    lock_wait=0.5,
    lock_on_conflict=decide,
    lock_retry_delay=(1, timedelta(minutes=1)),
    lock_max_hold=None,
    lock_scope="run",
    lock_mode="shadow",
    autoretry_for=(KeyError,),
    retry_backoff=True,
    max_retries=None,
    rate_limit="5/s",
    queue="imports",
    acks_late=True,
    on_failure=print,
)
def many_options(path: str) -> None: ...


class Company(Task[Any, Any]):
    abstract = True

    def of_its_own(self) -> int:
        return 1


class LockFirst(LockedTask, Company):
    abstract = True
    lock_ttl = 5

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        super().before_start(task_id, args, kwargs)

    def retry(self, *args: Any, **options: Any) -> Retry:
        return super().retry(*args, **options)


class LockLast(Company, LockedTask):
    abstract = True


class Import(LockedTask):
    name = "import"

    def run(self, path: str) -> str:
        lock: TaskLock = self.lock
        return lock.name


@locked_task(base=Company)
def of_company(path: str) -> bool:
    return True


@locked_task(base="shop.tasks:Company", bind=True)
def of_path(self: LockFirst, path: str) -> bool:
    return bool(self.of_its_own())


@app.task(base=LockedTask, bind=True, lock_ttl=5)
def of_app(self: LockedTask, path: str) -> None:
    raise self.retry(countdown=5, lock={"ttl": 5})


def right() -> None:
    called: list[bool] = [bare("a"), bare("a", 2), bare(path="a", times=2), with_options("a", times=2)]
    length: int = bound("a")
    results: list[AsyncResult[Any]] = [bare.delay("a", times=2), bound.delay("a"), many_options.delay("a")]
    names: list[str] = [bare.lock_name("a"), bound.lock_name(path="a"), bare.name]
    lock: RedisLock = bound.lock_for("a")
    options: CallOptions = {"ttl": 5, "on_conflict": "fail", "retry_delay": (1, 2)}
    given: bool = bare.apply_async(("a",), {"times": 2}, lock=options, countdown=5, queue="imports").get()
    bare.apply_async(["a"], lock={"ttl": 5}, eta=datetime.now(), headers={"a": "b"}, task_id="x")
    eager: EagerResult[bool] = bare.apply(("a",), lock={"mode": "off"})
    signature: Signature[bool] = bare.s("a").set(lock={"ttl": 5}, queue="imports")
    signature.apply_async(countdown=5)
    chain(bare.s("a"), bound.si("a").set(lock=options), of_app.s().set(lock={"ttl": 3})).apply_async()
    group(bare.s(path) for path in names).delay()
    again: Retry = bound.retry(countdown=5, max_retries=3, exc=KeyError(), lock={"ttl": 5})
    bare.delay_on_commit("a")
    bare.apply_async_on_commit(("a",), lock={"ttl": 5})
    bare.update_state(state="PROGRESS", meta={"done": 1})
    held: list[TaskLock] = [current_lock(), lock, Unlocked(), bound.lock]
    print(called, length, results, given, eager, again, [lock.fencing_token for lock in held])
    print(bound.request.id, bound.app.conf, bound.backend, bound.max_retries, of_company.of_its_own())
    print(bare.__name__, bare.__doc__, bare.__wrapped__, bare.AsyncResult("id").state, bare.rate_limit)
    Import().apply_async(("a",), lock={"ttl": 5}, countdown=5)
    print(LockLast().lock_name("a"), of_company.delay("a").get(), of_path.delay("a"))


def wrong() -> None:
    bare()  # error: call-arg
    bare(1)  # error: arg-type
    bare("a", b=2)  # error: call-arg
    bare.delay("a", "b")  # error: arg-type
    bare.delay()  # error: call-arg
    bare.lock_name(3)  # error: arg-type
    bare.lock_for("a", 2, 3)  # error: call-arg
    with_options("a", 2)  # error: call-arg
    with_options.delay(["a"])  # error: arg-type
    length: str = bound("a")  # error: assignment
    bound(None, "a")  # error: call-arg arg-type
    bound.delay()  # error: call-arg
    bound.lock_for(self=1, path="a")  # error: call-arg
    locked_task("a")  # error: call-overload
    print(length)


def mistyped() -> None:
    celery_redislock.locked_tsk  # error: attr-defined # noqa: B018
    bare.dely("a")  # error: attr-defined
    of_app.dely("a")  # error: attr-defined
    bare.lock_nam("a")  # error: attr-defined
    bound.lock.relase()  # error: attr-defined union-attr
    of_company.delay(1)  # error: arg-type
    bare.map(["a"])  # error: attr-defined
    bare.apply_async(("a",), contdown=5)  # error: call-arg
    bare.apply_async("a", {"times": 2}, lock={"tll": 5})  # error: arg-type
    bare.apply_async(("a",), lock={"ttl": "soon"})  # error: typeddict-item arg-type
    bare.retry(countdwn=5)  # error: call-arg
    number: str = bare.apply_async(("a",)).get()  # error: assignment
    locked_task(lock_tll=3)  # error: call-overload
    locked_task(ttl=3)  # error: call-overload
    locked_task(lock_on_conflict="wait")  # error: call-overload
    locked_task(lock_ttl="5")  # error: call-overload
    locked_task(max_retrys=5)  # error: call-overload
    print(number)
