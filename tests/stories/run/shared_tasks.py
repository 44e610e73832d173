"""A task of whichever application is there."""

from __future__ import annotations

from typing import Any

from celery_redislock import locked_task

from .steps import scripted


@locked_task(name="shared", lock_args=["key"], bind=True)
def shared(self: Any, key: str, *steps: Any) -> Any:
    """Do the steps."""
    return scripted(self, key, *steps)
