"""Conflict: a task met a busy lock; what skip, retry, fail, coalesce and replace do about it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from celery import Task
from celery.exceptions import Retry

from ..config.options import LockOptions
from ..engine import RedisLock
from ..errors import ConfigurationError, LockBusy
from ..holder import Holder
from ..messages.ending import is_stored, revoke
from ..messages.headers import RETRY_HEADER
from ..messages.outcomes import ComesAgain, LockFreed, Obsolete, Skipped
from ..messages.republish import bounded_delay, retry_later, signature_again
from ..pending import record as coalescing
from ..pending.publish import superseded_reason
from ..pending.withdrawal import withdraw_here
from ..signals import lock_conflict

logger = logging.getLogger(__name__)

#: A retry comes this much after the end of the holder's lease at the latest, seconds.
LEASE_END_JITTER_S = 1.0


@dataclass(frozen=True)
class Conflict:
    """A task met a busy lock.

    Attributes:
        lock_name: The Redis key.
        holder: Who has it.
        task_id: Of the task that met it.
        args_hash: Of the task's arguments, to tell equal calls; never the arguments themselves.
        shadow: The body runs all the same: `lock_mode` is "shadow".
    """

    lock_name: str
    holder: Holder
    task_id: str
    args_hash: str
    shadow: bool = False
    _task: Any = field(default=None, repr=False, compare=False)
    _options: LockOptions | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls, task: Task[..., Any], lock: RedisLock, holder: Holder, args_hash: str, options: LockOptions
    ) -> Conflict:
        """Return the conflict of the task that runs here."""
        shadow = options.mode == "shadow"
        return cls(lock.name, holder, str(task.request.id), args_hash, shadow, task, options)

    @property
    def lease_left(self) -> float | None:
        """Seconds until the holder's lease ends, unless it is renewed; None: it never does."""
        return self.holder.lease_left

    @property
    def reason(self) -> str:
        """What happened and where to look, for a result or a log."""
        return (
            f"lock {self.lock_name!r} is busy, held by: {self.holder}; "
            f"`celery -A APP locks show {self.lock_name}` shows it"
        )

    def busy(self) -> LockBusy:
        """Return the error of this conflict."""
        return LockBusy(self.lock_name, self.holder, self.lease_left)

    def skip(self) -> NoReturn:
        """End the task without running its body: see `skip`."""
        skip(self._task, self)

    def retry(self) -> NoReturn:
        """Publish the task again, to run later: see `retry`."""
        retry(self._task, self)

    def fail(self) -> NoReturn:
        """End the task with `LockBusy`: see `fail`."""
        fail(self._task, self)

    def coalesce(self) -> NoReturn:
        """Have one run of the task wanted for all that meet the lock: see `coalesce`."""
        coalesce(self._task, self)

    def replace(self) -> NoReturn:
        """Have the task run in place of the holder, which is asked to stop: see `replace`."""
        replace(self._task, self)

    @property
    def options(self) -> LockOptions:
        """The lock options of this call."""
        if self._options is None:
            raise ConfigurationError("this conflict belongs to no call")
        return self._options


def settle(task: Task[..., Any], conflict: Conflict) -> NoReturn:
    """Do what `lock_on_conflict` says; it ends in an exception that Celery understands.

    Raises:
        Skipped, ComesAgain, Retry, LockBusy, Obsolete: What Celery is told.
        LockFreed: The lock is free by now: the task is to try again.
        ConfigurationError: A callable returned something else than a policy's name or None.
    """
    policy = conflict.options.on_conflict
    if callable(policy):
        policy = _decision(policy, task, conflict)
    try:
        act = POLICIES[policy]
    except (KeyError, TypeError):
        valid = ", ".join(map(repr, POLICIES))
        raise ConfigurationError(
            f"lock_on_conflict of task {task.name!r} returned a {type(policy).__name__}; valid: {valid}, None"
        ) from None
    act(task, conflict)


def _decision(policy: Callable[..., Any], task: Task[..., Any], conflict: Conflict) -> Any:
    try:
        return policy(task, conflict) or "skip"
    except (Skipped, ComesAgain, Retry, LockBusy, LockFreed, Obsolete):
        raise
    except BaseException:
        announce(task, conflict, "callable")
        raise


def announce(task: Task[..., Any], conflict: Conflict, action: str) -> None:
    """Tell the log and the receivers of `lock_conflict` what is done, or would be."""
    would = "would " if conflict.shadow else ""
    logger.info("Task %s[%s] %s%s: %s", task.name, conflict.task_id, would, action, conflict.reason)
    lock_conflict.send(sender=task, conflict=conflict, action=action)


def skip(task: Task[..., Any], conflict: Conflict) -> NoReturn:
    """End the task without running its body.

    Its result, and those of the later members of its chain, are ``REVOKED`` with the reason, and its
    chord is told, so that nobody waits for what will not come.
    """
    announce(task, conflict, "skip")
    withdraw_here(task)
    _end_skipped(task, conflict.reason)


def _end_skipped(task: Task[..., Any], reason: str) -> NoReturn:
    if is_stored(task):
        revoke(task, task.request, reason)
    raise Skipped(reason)


def fail(task: Task[..., Any], conflict: Conflict) -> NoReturn:
    """End the task with `LockBusy` as its result."""
    announce(task, conflict, "fail")
    raise conflict.busy()


def retry(task: Task[..., Any], conflict: Conflict) -> NoReturn:
    """Publish the task again with a delay, or fail when `lock_retry_for` is over.

    It keeps its id. The user's `max_retries` and `request.retries` stay untouched: conflicts are
    counted in a header of their own.
    """
    request = task.request
    earlier: Mapping[str, float] = (request.headers or {}).get(RETRY_HEADER) or {}
    count, waited_s = int(earlier.get("count", 0)), float(earlier.get("waited", 0))
    left_s = left_to_retry(conflict.options, waited_s)
    if left_s is not None and left_s <= 0:
        fail(task, conflict)
    delay_s = retry_delay(conflict, count)
    if left_s is not None:
        delay_s = min(delay_s, left_s)
    announce(task, conflict, "retry")
    waited_s += bounded_delay(task, delay_s) + conflict.options.wait_ms / 1000
    note = {"count": count + 1, "waited": waited_s}
    if not request.is_eager:
        retry_later(task, delay_s, RETRY_HEADER, note, conflict.busy())
    # Celery runs an eager retry at once: the delay has to pass here.
    signature = signature_again(task, delay_s, RETRY_HEADER, note)
    time.sleep(delay_s)
    when: Any = delay_s
    raise Retry(conflict.reason, exc=conflict.busy(), when=when, is_eager=True, sig=signature)


def coalesce(task: Task[..., Any], conflict: Conflict) -> NoReturn:
    """Have one more run wanted for all that meet the lock, published when it is free.

    It keeps the id of the task it stands for, whose result is PENDING until then. The others end as with
    `skip` once it begins; if it is revoked or expires before that, one of them runs in its place. An eager
    call is wanted too: as it returns, its result is ``RETRY``, and a worker runs it later.
    """
    _want(task, conflict, "coalesce", conflict.options.keep, coalescing.NEVER)


def replace(task: Task[..., Any], conflict: Conflict) -> NoReturn:
    """Ask the holder to stop, and have the task run in its place once it has.

    Of several that do, the last one runs, as with `coalesce`. What a holder does that is asked is told in
    ``replacement.py``; one that is no task of ours cannot be asked, and is waited for.
    """
    _want(task, conflict, "replace", "latest", conflict.options.replace_after_ms)


def _want(task: Task[..., Any], conflict: Conflict, action: str, keep: str, stop_after_ms: int) -> NoReturn:
    name, error = conflict.lock_name, conflict.busy()
    successor = coalescing.want(
        task, name, conflict.holder, keep=keep, error=error, stop_after_ms=stop_after_ms
    )
    announce(task, conflict, action)
    if successor:
        _end_skipped(task, f"{superseded_reason(name, successor)}; {conflict.reason}")
    raise ComesAgain(conflict.reason)


def retry_delay(conflict: Conflict, count: int) -> float:
    """Return how long to wait before trying again, seconds.

    Args:
        conflict: With the options, and the lease that is left.
        count: How often it was tried again before.
    """
    delay_s = doubled_delay(conflict.options, count) * random.uniform(0.5, 1)  # noqa: S311
    if conflict.lease_left is None:
        return delay_s
    return min(delay_s, conflict.lease_left + random.uniform(0, LEASE_END_JITTER_S))  # noqa: S311


def doubled_delay(options: LockOptions, count: int) -> float:
    """Return the longest delay of a task that was tried again `count` times before, seconds."""
    first_ms, largest_ms = options.retry_delay_ms
    # Beyond 2**32 the largest delay is reached long since.
    longest_ms: int = min(first_ms * 2 ** min(count, 32), largest_ms)
    return longest_ms / 1000


def left_to_retry(options: LockOptions, waited_s: float) -> float | None:
    """Return for how long a task may be tried again, seconds; None: for ever.

    Args:
        options: With `lock_retry_for`.
        waited_s: How long it has waited. That is the sum of its delays: the clocks of two workers may differ
            by more than a task is to wait.
    """
    return None if options.retry_for_ms is None else round(options.retry_for_ms / 1000 - waited_s, 3)


POLICIES: dict[str, Callable[[Task[..., Any], Conflict], NoReturn]] = {
    "skip": skip,
    "retry": retry,
    "fail": fail,
    "coalesce": coalesce,
    "replace": replace,
}
