"""Steps: what the bodies of the tests' tasks do, told by each call."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import redis
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from celery_redislock import current_lock

from ...support.stores import STORE
from .visits import VisitsJournal


@cache
def journal() -> VisitsJournal:
    """Return the journal of this process."""
    return VisitsJournal(os.environ[STORE])


@cache
def lock_store() -> redis.Redis:
    """Return a client of the database that the locks are kept in."""
    return redis.Redis.from_url(f"{os.environ[STORE]}/0", decode_responses=True)


class Failure(Exception):
    """The body failed."""


def scripted(self: Any, key: str, *steps: Any) -> Any:
    """Do what each step says, ``[name, *arguments]``, and return what the last one gave."""
    result = None
    for name, *arguments in steps:
        result = STEPS[name](self, key, *arguments)
    return result


def _report(task: Any, key: str, event: str) -> None:
    journal().write(event, key=key, id=task.request.id, retries=task.request.retries)


def _wait(task: Any, key: str, gate: str) -> None:
    _report(task, key, "begun")
    journal().pass_gate(gate)


def _work(task: Any, key: str, seconds: float) -> None:
    with journal().visit(key):
        time.sleep(seconds)


def _work_at_both(task: Any, key: str, seconds: float) -> None:
    one, other = key.split("+")
    with journal().visit(one), journal().visit(other):
        time.sleep(seconds)


def _describe(task: Any, key: str) -> dict[str, Any]:
    lock = task.lock
    lock.ensure_held()
    return {
        "name": lock.name,
        "fencing_token": lock.fencing_token,
        "remaining": lock.remaining,
        "lost": lock.lost,
        "is_current": current_lock() is lock,
    }


def _raise(task: Any, key: str) -> None:
    raise Failure("as asked")


def _ignore(task: Any, key: str) -> None:
    raise Ignore


def _reject(task: Any, key: str) -> None:
    raise Reject("as asked", requeue=False)


def _exit(task: Any, key: str) -> None:
    sys.exit(3)


def _run_on(task: Any, key: str) -> None:
    _report(task, key, "begun")
    while True:  # Python code, so that a soft time limit gets through
        time.sleep(0.01)


def _retry(task: Any, key: str, times: int, countdown: float = 0) -> None:
    _report(task, key, "try")
    if task.request.retries < times:
        raise task.retry(countdown=countdown, max_retries=times)


def _fail(task: Any, key: str, times: int) -> None:
    _report(task, key, "try")
    if task.request.retries < times:
        raise Failure("to be tried again")


def _replace(task: Any, key: str, *steps: Any) -> Any:
    _report(task, key, "replaced")
    queue = task.request.delivery_info["routing_key"]
    return task.replace(task.si(key, *steps).set(queue=queue))


def _apply(task: Any, key: str, *steps: Any) -> Any:
    return task.apply((key, *steps)).result


def _catch_limit(task: Any, key: str) -> None:
    try:
        _run_on(task, key)
    except SoftTimeLimitExceeded:
        _report(task, key, "caught")


STEPS: dict[str, Callable[..., Any]] = {
    "report": _report,
    "wait": _wait,
    "work": _work,
    "work_at_both": _work_at_both,
    "describe": _describe,
    "raise": _raise,
    "ignore": _ignore,
    "reject": _reject,
    "exit": _exit,
    "run on": _run_on,
    "retry": _retry,
    "fail": _fail,
    "replace": _replace,
    "apply": _apply,
    "catch limit": _catch_limit,
    "give": lambda task, key, value: value,
    "hostname": lambda task, key: task.request.hostname,
}
