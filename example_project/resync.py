"""Use 8: a copy is made anew after each change: a burst is run once more, and no change is missed.

With "skip" the change that came while the copy was being made would be lost; with "retry" each
change would make a copy of its own. "coalesce" leaves exactly one more run wanted.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task

from celery_redislock import locked_task

from . import pace, store
from .events import record, recorded_run


@shared_task(bind=True)
def change(self: Any) -> int:
    """Change something, and ask for the copy to be made anew; return the new version."""
    with store.connect() as source:
        version = int(str(source.incr(store.key("version"))))
    record("changed", self.request.id, name=f"change {version}")
    resync.delay()
    return version


@locked_task(bind=True, lock_args=(), lock_on_conflict="coalesce")
def resync(self: Any) -> int:
    """Copy what is there now, which takes a while; return its version."""
    with store.connect() as source:
        version = int(str(source.get(store.key("version")) or 0))
        with recorded_run(self.request.id, name=f"resync {version}"):
            pace.slow_part(1.0)
            source.set(store.key("copy"), version)
    return version


def copied_version() -> int:
    """Return the version that was copied last; 0 before the first."""
    with store.connect() as copies:
        return int(str(copies.get(store.key("copy")) or 0))
