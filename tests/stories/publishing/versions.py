"""Versions: the same tasks as their publisher has them, and as another version in a worker has them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from pydantic import BaseModel

from celery_redislock import LockedTask

#: Where the worker finds its server, and its queue.
STORE = "REDISLOCK_TEST_VERSIONS"

#: What the scopes are told by, as options of the publisher's tasks.
SCOPES: dict[str, dict[str, Any]] = {
    "task": {"lock_scope": "task"},
    "queue": {"lock_scope": "queue"},
    "coalesce": {"lock_scope": "task", "lock_on_conflict": "coalesce"},
}


def sync(a: int, b: int = 0) -> int:
    """Return what the publisher gave first."""
    return a


def with_another_name(number: int, b: int = 0) -> int:
    """Be an older version."""
    return number


def with_fewer(a: int) -> int:
    """Be an older version."""
    return a


class Order(BaseModel):
    """What a task of models is given."""

    id: int
    kind: str = "web"


def ship(self: Any, order: Order) -> str:
    """Return the lock that it holds; fail if it was given no model."""
    self.lock.ensure_held()
    return f"{self.lock.name} of {order.id:d}"


def without_a_name(*args: Any) -> str:
    """Fail, as a key does that reads what is not there."""
    raise LookupError("not in the worker")


#: Case -> what a worker knows of that task; None: nothing. The publisher's is `sync` under `SCOPES`.
WORKERS: dict[str, tuple[Callable[..., Any], dict[str, Any]] | None] = {
    "unknown": None,
    "fewer arguments": (with_fewer, {"lock_scope": "task"}),
    "another argument": (with_another_name, {"lock_scope": "task"}),
    "another key": (sync, {"lock_scope": "task", "lock_key": "another:{a}"}),
    "a key that raises": (sync, {"lock_scope": "task", "lock_key": without_a_name}),
    "not locked yet": (sync, {"base": Task}),
    "switched off": (sync, {"lock_scope": "task", "lock_mode": "off"}),
    "scope run": (sync, {}),
    "scope run that coalesces": (sync, {"lock_on_conflict": "coalesce"}),
    "scope queue": (sync, {"lock_scope": "queue"}),
    "scope task": (sync, {"lock_scope": "task"}),
}

#: How the runs end that do not return.
FAILING = {"unknown": "NotRegistered", "fewer arguments": "TypeError"}


def _with_models(app: Celery) -> None:
    for scope in ("run", "task"):
        for key in ({"lock_key": "ship:{order.id}"}, {}):
            name = f"ship, {scope}, {'template' if key else 'arguments'}"
            app.task(
                ship,
                name=name,
                base=LockedTask,
                bind=True,
                shared=False,
                pydantic=True,
                lock_scope=scope,
                **key,
            )


def publisher(store: str, queue: str) -> Celery:
    """Return the application of who publishes."""
    app = _application(store, queue)
    for case in WORKERS:
        for scope, options in SCOPES.items():
            app.task(sync, name=f"{case}, {scope}", base=LockedTask, shared=False, **options)
    _with_models(app)
    return app


def _worker(store: str, queue: str) -> Celery:
    app = _application(store, queue)
    for case, known in WORKERS.items():
        for scope in SCOPES:
            if known is not None:
                function, options = known
                options = {"base": LockedTask, "shared": False, **options}
                app.task(function, name=f"{case}, {scope}", **options)
    _with_models(app)
    return app


def _application(store: str, queue: str) -> Celery:
    app = Celery("versions", set_as_current=False)
    app.conf.update(
        broker_url=f"{store}/1",
        result_backend=f"{store}/2",
        redislock_url=f"{store}/0",
        broker_connection_retry_on_startup=True,
        task_default_queue=queue,
    )
    return app


if STORE in os.environ:
    app = _worker(*os.environ[STORE].split(" "))
