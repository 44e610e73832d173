"""Wrong tasks: each holds its lock as others have done it; the checks must tell."""

from __future__ import annotations

from typing import Any

from celery import Task
from celery.exceptions import Ignore

from ..stories.run.steps import lock_store

#: Of a leaked lock, milliseconds: longer than any check waits for it.
_TTL_MS = 60_000


class WrongTask(Task):
    """A task with one lock for each first argument, named as LockedTask is asked for it."""

    abstract = True

    def lock_name(self, key: str, *_: Any) -> str:
        """Return the Redis key."""
        return f"redislock:{self.name}:{key}"

    def lock_names(self, key: str, *_: Any) -> tuple[str, ...]:
        """Return all Redis keys."""
        return (self.lock_name(key),)

    def _take(self, key: str) -> bool:
        return bool(lock_store().set(self.lock_name(key), self.request.id, nx=True, px=_TTL_MS))


class TakesNoLock(WrongTask):
    """What a plain task does."""

    abstract = True


class FreesWhatItNeverTook(WrongTask):
    """A skipped run is one that returns None; and whoever returned deletes the key."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body, if the lock is free."""
        return super().__call__(*args, **kwargs) if self._take(args[0]) else None

    def after_return(self, status: Any, retval: Any, task_id: Any, args: Any, *_: Any) -> None:
        """Release, whoever has it."""
        lock_store().delete(self.lock_name(args[0]))


class ReleasesWhenItReturnsOnly(WrongTask):
    """Right in all but this: Celery calls after_return for few of the ends."""

    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Take the lock or end."""
        if not self._take(args[0]):
            raise Ignore("busy")

    def after_return(self, status: Any, retval: Any, task_id: str, args: Any, *_: Any) -> None:
        """Release what this run took."""
        if lock_store().get(self.lock_name(args[0])) == task_id:
            lock_store().delete(self.lock_name(args[0]))
