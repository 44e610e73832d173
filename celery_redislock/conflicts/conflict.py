"""Conflict: a task met a busy lock: it is skipped, tried again, failed, or runs once the lock is free."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from celery import Task
from celery.exceptions import Retry

from ..config.options import LockOptions
from ..engine import RedisLock, now
from ..errors import ConfigurationError, LockBusy
from ..events import Conflicted, tell
from ..holder import Holder
from ..messages.celery_exceptions import ComesAgain, LockFreed, Obsolete, Skipped
from ..messages.headers import RETRY_HEADER
from ..messages.republish import bounded_delay, retry_later, signature_again
from ..messages.stored_state import is_stored, revoke
from ..pending.publish import superseded_reason
from ..pending.record import NEVER, record_run
from ..pending.withdrawal import withdraw_here
from .retrying import Attempts


@dataclass(frozen=True)
class Conflict:
    """A call has found its lock busy.

    A callable for `lock_on_conflict` gets one. The methods `skip`, `retry`, `fail`, `coalesce` and `replace`
    are the policies of these names. Each ends in an exception that Celery understands.

    Attributes:
        lock_name: The Redis key of the lock.
        holder: Who has the lock.
        task_id: The id of the call.
        args_hash: A hash of the call's arguments, which tells equal calls from others.
        shadow: The body runs all the same, because `lock_mode` is "shadow".
    """

    lock_name: str
    holder: Holder
    task_id: str
    args_hash: str
    shadow: bool = False
    _task: Any = field(default=None, repr=False, compare=False)
    _options: LockOptions | None = field(default=None, repr=False, compare=False)
    #: When the call has asked for the lock first, by `now`; 0.0: it has not asked.
    _asked_at: float = field(default=0.0, repr=False, compare=False)
    #: Of a call that is about to be published: of its message.
    _headers: Any = field(default=None, repr=False, compare=False)
    #: How an eager retry waits.
    _sleep: Callable[[float], object] = field(default=time.sleep, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        task: Task[..., Any],
        lock: RedisLock,
        holder: Holder,
        args_hash: str,
        options: LockOptions,
        asked_at: float = 0.0,
    ) -> Conflict:
        """Return the conflict of the task that runs here, which has asked for the lock first at this time."""
        shadow = options.mode == "shadow"
        return cls(lock.name, holder, str(task.request.id), args_hash, shadow, task, options, asked_at)

    @property
    def options(self) -> LockOptions:
        """The lock options of this call."""
        if self._options is None:
            raise ConfigurationError("this Conflict does not belong to a call of a task")
        return self._options

    @property
    def lease_left(self) -> float | None:
        """Seconds until the holder's lease ends unless it is renewed, or None if it never ends."""
        return self.holder.lease_left

    @property
    def reason(self) -> str:
        """What happened and where to look, as one sentence for a result or a log."""
        return (
            f"lock {self.lock_name!r} is busy, {self.holder.in_the_way}; "
            f"`celery -A APP locks show {self.lock_name}` shows it"
        )

    def busy(self) -> LockBusy:
        """Return the `LockBusy` of this conflict."""
        return LockBusy(self.lock_name, self.holder, self.lease_left)

    def skip(self) -> NoReturn:
        """End the task without running its body.

        Its result is ``REVOKED`` with the reason. So are the results of the later members of its chain, and
        its chord fails, so that no ``get()`` hangs.
        """
        announce(self, "skip")
        withdraw_here(self._task)
        self._end_skipped(self.reason)

    def fail(self) -> NoReturn:
        """End the task with `LockBusy` as its result."""
        announce(self, "fail")
        raise self.busy()

    def retry(self) -> NoReturn:
        """Publish the task again with a delay, or fail when `lock_retry_for` is over.

        It keeps its id. `max_retries` and `request.retries` stay as they are: conflicts are counted apart.
        """
        task, options = self._task, self.options
        attempts = Attempts.in_headers(task.request.headers, RETRY_HEADER)
        delay_s = attempts.next_delay_s(options, self.lease_left)
        if delay_s is None:
            self.fail()
        announce(self, "retry")
        attempts = attempts.after(bounded_delay(task, delay_s) + options.wait_ms / 1000)
        if not task.request.is_eager:
            retry_later(task, delay_s, RETRY_HEADER, attempts.as_header(), self.busy())
        # Celery runs an eager retry at once, so it waits here.
        signature = signature_again(task, delay_s, RETRY_HEADER, attempts.as_header())
        self._sleep(delay_s)
        when: Any = delay_s
        raise Retry(self.reason, exc=self.busy(), when=when, is_eager=True, sig=signature)

    def coalesce(self) -> NoReturn:
        """Record one run for all calls that find the lock busy, to be published when the lock is free.

        The run has the id of one of these calls: of the last one, or with `lock_keep` "first" of the first.
        The results are ``PENDING`` until it begins. Then the others end as with `skip`. If the run is revoked
        or expires before it begins, one of the others runs in its place.

        An eager call is recorded too. It returns with the state ``RETRY``, and a worker runs it later.
        """
        self._record("coalesce", self.options.keep, NEVER)

    def replace(self) -> NoReturn:
        """Ask the holder to stop, and run the task when it has stopped.

        If several calls do this, the last one runs, as with `coalesce`. A holder that is another program, and
        not a locked task, cannot be asked: the task then waits until that program has released the lock.
        """
        self._record("replace", "latest", self.options.replace_after_ms)

    def _record(self, action: str, keep: str, stop_after_ms: int) -> NoReturn:
        if isinstance(self.options.key, tuple):
            raise ConfigurationError(
                f"task {self._task.name!r} has several locks, because its lock_key is a list: "
                f'"{action}" needs one lock, use "skip", "retry" or "fail"'
            )
        if self.options.sharing.is_shared:
            raise ConfigurationError(
                f"task {self._task.name!r} shares its lock with other runs: "
                f'"{action}" needs a lock that one holds alone, use "skip", "retry" or "fail"'
            )
        successor = record_run(
            self._task,
            self.lock_name,
            self.holder,
            keep=keep,
            error=self.busy(),
            stop_after_ms=stop_after_ms,
        )
        announce(self, action)
        if successor:
            reason = f"{superseded_reason(self.lock_name, successor)}; {self.reason}"
            tell(
                Conflicted(
                    self._task,
                    self.task_id,
                    self.lock_name,
                    "superseded",
                    self.holder,
                    reason,
                    waited_s=_waited_s(self),
                    successor=successor,
                )
            )
            self._end_skipped(reason)
        raise ComesAgain(self.reason)

    def _end_skipped(self, reason: str) -> NoReturn:
        if is_stored(self._task):
            revoke(self._task, self._task.request, reason)
        raise Skipped(reason)


#: What each word of `lock_on_conflict` does to a task that runs.
POLICIES: dict[str, Callable[[Conflict], NoReturn]] = {
    "skip": Conflict.skip,
    "retry": Conflict.retry,
    "fail": Conflict.fail,
    "coalesce": Conflict.coalesce,
    "replace": Conflict.replace,
}


def settle(conflict: Conflict) -> NoReturn:
    """Do what `lock_on_conflict` says; it ends in an exception that Celery understands.

    Raises:
        Skipped, ComesAgain, Retry, LockBusy, Obsolete: What Celery is told.
        LockFreed: The lock is free by now: the task is to try again.
        ConfigurationError: A callable returned something else than a policy's name or None.
    """
    policy = conflict.options.on_conflict
    if callable(policy):
        policy = _decision(policy, conflict)
    try:
        act = POLICIES[policy]
    except (KeyError, TypeError):
        name, valid = conflict._task.name, ", ".join(map(repr, POLICIES))
        raise ConfigurationError(
            f"lock_on_conflict of task {name!r} returned a {type(policy).__name__}; valid: {valid}, None"
        ) from None
    act(conflict)


def _decision(policy: Callable[..., Any], conflict: Conflict) -> Any:
    """Return what a user's callable decides; it may also call a method of the conflict itself."""
    try:
        return policy(conflict._task, conflict) or "skip"
    except (Skipped, ComesAgain, Retry, LockBusy, LockFreed, Obsolete):
        raise
    except BaseException:
        announce(conflict, "callable")
        raise


def announce(conflict: Conflict, action: str, *, is_published: bool = True) -> None:
    """Tell what is done, or would be.

    Args:
        conflict: What was met.
        action: As of `Conflicted`.
        is_published: False: the call was about to be published.
    """
    tell(
        Conflicted(
            conflict._task,
            conflict.task_id,
            conflict.lock_name,
            action,
            conflict.holder,
            conflict.reason,
            conflict.shadow,
            is_published,
            conflict,
            _waited_s(conflict),
            headers=conflict._headers,
        )
    )


def _waited_s(conflict: Conflict) -> float:
    asked_at = conflict._asked_at
    return now() - asked_at if asked_at else 0.0
