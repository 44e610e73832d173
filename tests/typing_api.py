"""What a type checker must say of locked tasks: `error:` marks the lines that it must refuse.

Never run: tests/test_typing.py has mypy read it.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.result import AsyncResult

from celery_redislock import RedisLock, current_lock, locked_task

app = Celery()


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


def right() -> None:
    called: list[bool] = [bare("a"), bare("a", 2), bare(path="a", times=2), with_options("a", times=2)]
    length: int = bound("a")
    results: list[AsyncResult[Any]] = [bare.delay("a", times=2), bound.delay("a")]
    names: list[str] = [bare.lock_name("a"), bound.lock_name(path="a"), bare.name]
    lock: RedisLock = bound.lock_for("a")
    bare.apply_async(("a",), lock={"ttl": 5})
    bare.s("a").set(lock={"ttl": 5})
    print(called, length, results, names, lock, current_lock().fencing_token)


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
