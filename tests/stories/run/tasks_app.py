"""The application of the tests' workers: one body under every option, and under wrong locks."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery, Task
from celery.worker.request import Request

from celery_redislock import LockedTask, locked_task
from celery_redislock.conflicts.conflict import Conflict

from ...mutants.tasks import FreesWhatItNeverTook, ReleasesWhenItReturnsOnly, TakesNoLock
from ...support.stores import STORE
from .steps import Failure, scripted

app = Celery("tests.stories.run", set_as_current=False)


def configure(store: str, **settings: Any) -> None:
    """Say where everything is: database 0 has the locks, 1 the messages, 2 the results."""
    app.conf.update(
        {
            "broker_url": f"{store}/1",
            "result_backend": f"{store}/2",
            "redislock_url": f"{store}/0",
            "broker_connection_retry_on_startup": True,
            "worker_prefetch_multiplier": 4,
            # Seconds, after which a broker forgets the reply queues of rpc:// too.
            "result_expires": 120,
            "include": [f"tests.stories.run.{name}" for name in ("reports", "shared_tasks", "sharing_tasks")],
            **settings,
        }
    )


def _moved() -> dict[str, str]:
    """Return what a test has put elsewhere."""
    places = {"BROKER": "broker_url", "RESULTS": "result_backend", "LOCKS": "redislock_url"}
    return {
        setting: os.environ[f"REDISLOCK_TEST_{word}"]
        for word, setting in places.items()
        if f"REDISLOCK_TEST_{word}" in os.environ
    }


if STORE in os.environ:
    configure(os.environ[STORE], **_moved())


def _task(name: str, base: type[Task] = LockedTask, **options: Any) -> Any:
    if issubclass(base, LockedTask) and "lock_key" not in options:
        options.setdefault("lock_args", ["key"])
    # Not shared: the tests of a session have other apps too.
    return app.task(scripted, base=base, bind=True, shared=False, name=name, **options)


def retried(name: str, **options: Any) -> Any:
    """Return a task that soon comes again if its lock is busy."""
    return _task(name, lock_on_conflict="retry", lock_retry_delay=(0.02, 0.1), **options)


skip = _task("skip")
retry = retried("retry")
retry_for = _task("retry_for", lock_on_conflict="retry", lock_retry_delay=(0.1, 0.1), lock_retry_for=0.3)
fail = _task("fail", lock_on_conflict="fail")
wait = _task("wait", lock_wait=20)
wait_briefly = _task("wait_briefly", lock_wait=0.2)
off = _task("off", lock_mode="off")
shadow = _task("shadow", lock_mode="shadow")
late = _task("late", acks_late=True)
ignored = _task("ignored", ignore_result=True)
short = _task("short", lock_ttl=1)
several = _task("several", lock_key=["b of several:{key}", "a of several:{key}"])


def _each_part(number: int) -> Any:
    """Return what gives one of the names of a pair: "a+b"."""
    return lambda key, *steps: f"part:{key.split('+')[number]}"


pair = _task("pair", lock_key=[_each_part(0), _each_part(1)], lock_wait=60)
with_broken_receivers = _task("with_broken_receivers")
again = {"countdown": 0, "max_retries": 500}
autoretry = _task("autoretry", autoretry_for=(Failure,), retry_kwargs=again, retry_backoff=False)

wrong = [
    _task("wrong.no_lock", base=TakesNoLock),
    _task("wrong.frees", base=FreesWhatItNeverTook),
    _task("wrong.leaks", base=ReleasesWhenItReturnsOnly),
]


class Undecided(Exception):
    """The user's policy failed."""


def _decide(task: Task[..., Any], conflict: Conflict) -> None:
    """Try again while nobody but the tests' process has the lock."""
    if "id" in conflict.holder.metadata:
        raise Undecided(f"lock {conflict.lock_name} has holder {conflict.holder.metadata['id']}")
    conflict.retry()


picky = _task("picky", lock_on_conflict=_decide, lock_retry_delay=(0.02, 0.1))


@app.task(base=LockedTask, shared=False, name="keyed", lock_key="shared:{key}")
def keyed(key: str) -> None:
    """Have a lock that names its argument."""


@app.task(base=LockedTask, shared=False, bind=True, name="secret")
def secret(self: Any, value: str, *, other: Any = None) -> None:
    """Wait with all arguments in the lock's name."""
    scripted(self, "secret", ["wait", "secret"])


@app.task(base=LockedTask, shared=False, bind=True, name="defaults")
def defaults(self: Any, a: Any, b: int = 7) -> None:
    """Wait with all arguments in the lock's name."""
    scripted(self, "defaults", ["wait", "defaults"])


@app.task(base=LockedTask, shared=False, name="many", lock_args=["first", "named"])
def many(first: Any, *rest: Any, named: Any = None, **others: Any) -> list[Any]:
    """Return how many arguments came."""
    return [first, list(rest), named, others]


@locked_task(app=app, shared=False, name="add", lock_ttl=5)
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


class Forgetful(LockedTask):
    """Overrides all it can, and never calls super()."""

    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Do nothing."""

    def after_return(
        self, status: Any, retval: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Do nothing."""

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        """Go past LockedTask."""
        return Task.retry(self, *args, **kwargs)

    def replace(self, sig: Any) -> Any:
        """Go past LockedTask."""
        return Task.replace(self, sig)

    class Request(Request):
        """Nothing of ours."""


class Mixin:
    """Hooks for any task."""

    before_start = Forgetful.__dict__["before_start"]
    after_return = Forgetful.__dict__["after_return"]
    retry = Task.retry
    replace = Task.replace
    Request = Request


class Mixed(Mixin, LockedTask):
    """The mixin's hooks win over those of LockedTask."""

    abstract = True


class ByClass(LockedTask):
    """A task that is a class."""

    name = "by_class"
    lock_args = ("key",)

    def run(self, key: str, *steps: Any) -> Any:
        """Do the steps."""
        return scripted(self, key, *steps)


def _nothing(self: Any, *args: Any, **kwargs: Any) -> None: ...


def _linger(self: Any, *args: Any) -> None:
    """Be slow after the result is stored and before the lock is given back."""
    time.sleep(0.02)


lingering = _task("lingering", on_success=_linger)
forgetful = _task("forgetful", base=Forgetful)
mixed = _task("mixed", base=Mixed)
with_hooks = _task("with_hooks", before_start=_nothing, after_return=_nothing)
by_class = app.register_task(ByClass())
