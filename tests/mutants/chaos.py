"""Wrong locks for chaos: each leaves out one rule, and the judge must see it."""

from __future__ import annotations

from typing import Any

from celery_redislock.engine.protocol.exclusive import RELEASE
from celery_redislock.messages.headers import TOKEN_HEADER
from celery_redislock.worker.request import LockedRequest

from .scripts import go_wrong

#: The script, what it says, and what it says without the check.
OWNER_CHECK = (RELEASE, "local is_mine = redis.call('GET', lock) == token", "local is_mine = true")


def without_owner_check() -> None:
    """Whoever releases a lock frees it, also when it is somebody else's by now."""
    go_wrong(*OWNER_CHECK)


def without_redelivery() -> None:
    """A second delivery of a task shares the lock of the first: the token is the task's id."""
    right = LockedRequest.__init__

    def init(self: LockedRequest, *args: Any, **kwargs: Any) -> None:
        right(self, *args, **kwargs)
        self._request_dict[TOKEN_HEADER] = str(self.id).replace("-", "")

    LockedRequest.__init__ = init  # type: ignore[method-assign]


def without_fence() -> None:
    """Nothing here: it is the resource that does not look at fencing tokens."""


DOUBLES = {
    "owner-check": without_owner_check,
    "redelivery": without_redelivery,
    "fence": without_fence,
}
