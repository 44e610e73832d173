"""Unlocked: what is seen as the lock where there is none: by choice, or because none is known there."""

from __future__ import annotations

import math
from typing import NoReturn

from ..errors import LockLost


class Unlocked:
    """What a body that runs without a lock sees as its lock: in a direct call, or with `lock_mode` "off".

    Attributes:
        name: Empty text.
        remaining: Infinite.
        lost: False.
        names: Empty, of a task that has several locks otherwise.
    """

    name = ""
    names: tuple[str, ...] = ()
    remaining = math.inf
    lost = False

    @property
    def fencing_token(self) -> int | None:
        """Always None."""
        return None

    @property
    def fencing_tokens(self) -> dict[str, int]:
        """Always empty; see `RedisLocks`."""
        return {}

    @property
    def slot(self) -> int | None:
        """Always None."""
        return None

    @property
    def slots(self) -> dict[str, int | None]:
        """Always empty; see `RedisLocks`."""
        return {}

    def ensure_held(self) -> None:
        """Do nothing: there is nothing to lose."""

    def ensure_locked(self) -> None:
        """Refuse to go on without a lock.

        Raises:
            LockLost: Always.
        """
        raise LockLost(
            "(none)",
            'this body runs without a lock: it was called directly, or its lock_mode is not "on", or '
            'Redis was away and its lock_on_error is "run"',
        )


class HeldByBatch(Unlocked):
    """What a member of a batch sees as its lock: the batch has it, and it is not the member's own."""

    def ensure_locked(self) -> None:
        """Do nothing: the body runs under the lock of its batch."""


class Unknown(Unlocked):
    """Stands for the lock where no body runs, as far as can be told: in a thread that a body started, say.

    Attributes:
        name: Empty.
        remaining: 0.
        lost: True.
    """

    remaining = 0.0
    lost = True

    @property
    def fencing_token(self) -> NoReturn:
        """There is none to be stored.

        Raises:
            LockLost: Always.
        """
        self.ensure_held()

    @property
    def fencing_tokens(self) -> NoReturn:
        """There are none to be stored.

        Raises:
            LockLost: Always.
        """
        self.ensure_held()

    @property
    def slot(self) -> NoReturn:
        """There is none to be used.

        Raises:
            LockLost: Always.
        """
        self.ensure_held()

    @property
    def slots(self) -> NoReturn:
        """There are none to be used.

        Raises:
            LockLost: Always.
        """
        self.ensure_held()

    def ensure_held(self) -> NoReturn:
        """Pass nobody: a lock may be held and lost unseen.

        Raises:
            LockLost: Always.
        """
        raise LockLost(
            "(unknown)",
            "no locked task runs in this thread; write `lock = self.lock` in the task's body and pass it "
            "to its threads",
        )
