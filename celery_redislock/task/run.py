"""Run: one run of a locked task: its lock, its body, its end."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakMethod

from celery import Task
from celery._state import get_current_task
from celery.exceptions import Ignore

from ..config.call import Call
from ..config.plan import Planned
from ..config.provider import provider_of
from ..conflicts import outage, redelivery
from ..engine import RedisLock
from ..engine.threads import here
from ..errors import LockKeyError, LockLost, StoreUnavailable
from ..holder import holder_metadata
from ..messages.celery_exceptions import Skipped
from ..pending import replacement
from ..pending.publish import publish_pending_apart
from ..pending.record import trigger_metadata
from ..publish_lock.ticket import Ticket
from ..signals import lock_acquired, lock_lost, lock_released
from . import acquisition
from .acquisition import Outcome
from .held_locks import all_around, enter, held_around, innermost, leave
from .interruption import Interruptible, interruptible_here
from .unlocked import Unknown, Unlocked

logger = logging.getLogger(__name__)

_ATTRIBUTE = "redislock_run"


class Run:
    """One run of a task.

    Attributes:
        call: What runs.
        lock: What the body sees as ``self.lock``.
        is_replaced: It was asked to stop: another run takes its place.
        hands_over: It gives its lock back once its own retry has the publish lock.
        has_called: The body has begun.
    """

    def __init__(self, call: Call, request: Any) -> None:
        self.call = call
        self.lock: RedisLock | Unlocked = Unlocked()
        self.is_replaced = False
        self.hands_over = False
        self.has_called = False
        self._task = call.task
        # Kept, because Celery looks it up each time that it is asked for.
        self._request = request
        self._options = call.plan.options
        self._process = here()
        self._is_ours = False
        self._body: Interruptible | None = None
        self._interruption: LockLost | None = None
        self._depth = 0
        self._ticket = Ticket(call.task.app, request.headers, request.id)

    def take(self) -> None:
        """Take the lock of this call, or settle why it cannot: see `begin`."""
        task, options = self._task, self._options
        ticket = self._ticket
        if not self.call.runs_locked:
            ticket.end()
            return
        try:
            lock_name = self.call.lock_name
        except LockKeyError as error:
            if options.mode != "shadow":
                raise
            ticket.end()
            outage.settle(task, options, error)
            return
        held = held_around(lock_name)
        if held is not None:
            # The task in whose body this one is called has it, or the batch to which it belongs.
            ticket.end()
            self.lock = held
            return
        metadata = {**holder_metadata(task.name, self._request.id), **trigger_metadata(self._request)}
        # Weak: the run has the lock, and a lock that is dropped must not be renewed for ever.
        lock = provider_of(task.app).lock_of(
            lock_name,
            options,
            metadata,
            on_lost=WeakMethod(self.report_lost),
            on_stop_wanted=WeakMethod(self.report_stop_wanted),
            stop_within=replacement.notice_within_s(options),
            ticket=ticket.token_under(lock_name),
        )
        try:
            while self._take_or_settle(lock) is Outcome.FREE_AGAIN:
                pass
        except (StoreUnavailable, LockLost) as error:
            # LockLost: no thread could be started that renews the lock, so it was taken and given back.
            self.give_back()
            self.lock = Unlocked()
            outage.settle(task, options, error)

    def _take_or_settle(self, lock: RedisLock) -> Outcome:
        # Before the lock is asked for: a soft time limit may strike at any moment from here.
        self.lock, self._is_ours = lock, True
        holder = acquisition.attempt(self._task, self._request, lock, self._options)
        if holder is not None:
            self.lock, self._is_ours = Unlocked(), False
            return acquisition.settle_conflict(self.call, lock, holder, has_ticket=bool(self._ticket.token))
        self._ticket.has_begun(lock.name)
        try:
            acquisition.confirm(self.call, self._request, lock)
        except Ignore:
            self.give_back(unused=True)
            raise
        lock_acquired.send(sender=self._task, lock=lock)
        return Outcome.LOCKED

    def body(self) -> AbstractContextManager[Any]:
        """Return the context in which the body runs, and is interrupted if the lock is lost.

        Raises:
            PutOff: The lock is lost before the body has begun: the task was published again.
            LockLost: The same, for an eager call.
        """
        options = self._options
        is_interruptible = options.on_lost == "abort" and options.mode != "shadow"
        if not self._is_ours or not is_interruptible or self._body is not None:
            return nullcontext()
        # Before the look at the lock: a loss that is noticed after it interrupts the body, even as it begins.
        self._body = interruptible_here()
        if self.lock.lost:
            if self._request.is_eager:
                self.lock.ensure_held()
            self.give_back()
            redelivery.begin_again(self._task)
        return self._body

    def __enter__(self) -> Run:
        """Begin a call of the task: Celery's own call, or one that the body makes of its own task."""
        self._depth += 1
        self.has_called = True
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1

    def lock_held(self, lock_name: str) -> RedisLock | None:
        """Return the lock of this Redis key if this run has it."""
        return self.lock if isinstance(self.lock, RedisLock) and self.lock.name == lock_name else None

    def is_of(self, task: Task[..., Any]) -> bool:
        """Whether it is a run of this task."""
        return self._task.name == task.name and self._task.app is task.app

    def is_called_by_celery(self) -> bool:
        """Whether what goes on is Celery's call, and not one that the body makes of its own task."""
        return self._depth == 1

    def report_lost(self, lock: RedisLock) -> None:
        """Interrupt the body, if it is to stop, and tell the receivers of `lock_lost`."""
        reason = lock.loss or "it is not held"
        if self._body is not None:
            self._interruption = LockLost(lock.name, reason)
            self._body.interrupt(self._interruption)
        lock_lost.send(sender=self._task, lock=lock, reason=reason)

    def report_stop_wanted(self, _: RedisLock) -> None:
        """Interrupt the body: another run is to take the place of this one."""
        self.is_replaced = True
        if self._body is not None:
            self._interruption = LockLost(self.lock.name, replacement.REPLACED)
            self._body.interrupt(self._interruption)

    def end_replaced(self) -> Skipped:
        """Store that another run has replaced this one, and return what Celery is told."""
        lock = self.lock
        if not isinstance(lock, RedisLock):
            return Skipped(replacement.REPLACED)
        told = replacement.end_replaced(self._task, lock)
        self.give_back(done=str(self._request.id))
        return told

    def raise_again(self) -> None:
        """Raise once more the loss that the body was told of, if the body still runs.

        Raises:
            LockLost: It does.
        """
        if self._interruption is not None and self._body is not None and self._is_ours:
            self._body.end()
            raise self._interruption

    def give_back(self, done: str = "", *, unused: bool = False) -> None:
        """Release the lock if this run took it and has not released it yet; never raises.

        In the child of a fork nothing is done: the run is its parent's.
        """
        if self._process is not here():
            return
        if done:
            self._ticket.end()
        if not self._is_ours or not isinstance(self.lock, RedisLock):
            return
        if self._body is not None:
            # A retry is published next, from inside the body: a loss must not interrupt that.
            self._body.end()
        self._is_ours = False
        try:
            released = self.lock.release(done=done, unused=unused)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not reach Celery
            # Celery before 5.7 would turn a finished task into a failed one.
            logger.warning("could not release a lock: %s; it is free when its lease ends", error)
            return
        if released and not unused:
            lock_released.send(sender=self._task, lock=self.lock)
        if self.lock.has_pending:
            publish_pending_apart(self._task.app, self.lock.name)


def current_lock() -> RedisLock | Unlocked:
    """Return the lock of the task that runs in this thread, as ``self.lock`` does in a bound task.

    It has ``name``, ``fencing_token``, ``remaining``, ``lost`` and ``ensure_held()``. In a body that runs
    without a lock, such as a direct call, ``ensure_held()`` does nothing. In a thread that runs no task, such
    as one that a body has started, ``ensure_held()`` and ``fencing_token`` raise `LockLost`: hand the lock
    over to such threads.
    """
    run = innermost(Run)
    if run is not None:
        return run.lock
    return Unlocked() if get_current_task() is not None else Unknown()


def lock_of(task: Task[..., Any]) -> RedisLock | Unlocked:
    """Return the lock of a task's run that goes on here; else as `current_lock`."""
    begun = run_of(task.request)
    if begun is not None:
        return begun.lock
    if task.request_stack.top is not None:
        # Called directly.
        return Unlocked()
    # In another thread, to which the context of the body's may have been handed.
    return next((run.lock for run in all_around(Run) if run.is_of(task)), Unknown())


def raise_again() -> None:
    """Raise the loss of its lock in the body that runs here once more.

    The first time it was raised in an eager call inside the body, and ended only that call.

    Raises:
        LockLost: The lock was lost, and the body is to stop.
    """
    run = innermost(Run)
    if run is not None:
        run.raise_again()


def run_of(request: Any) -> Run | None:
    """Return the run of a request, once it has begun."""
    return getattr(request, _ATTRIBUTE, None)


def begin(task: Planned, args: Any, kwargs: Any) -> None:
    """Take the lock of this run, unless it has begun already.

    Raises:
        Skipped, ComesAgain, LockBusy: The lock is busy: what Celery is told.
        PutOff, Done: An earlier delivery of this task may run still, or has finished it.
        StoreUnavailable: Redis could not be reached, and `lock_on_error` is "fail".
        LockKeyError, TypeError: The arguments give no name.
        ConfigurationError: The call's own lock options are wrong.
    """
    request = task.request
    if run_of(request) is not None:
        return
    call = Call.received(task, request.headers, request.id, args, kwargs, is_eager=bool(request.is_eager))
    run = Run(call, request)
    if request.headers is None:
        # Celery copies a request for a direct call; without headers the copy would take the run for one.
        request.headers = {}
    setattr(request, _ATTRIBUTE, run)
    redelivery.mark(request)
    enter(run)
    try:
        run.take()
    except Ignore as told:
        # Celery formats every frame of it: that would cost more than the whole conflict.
        raise told.with_traceback(None) from None


def finish(task: Task[..., Any], done: str = "") -> None:
    """Give the lock of this run back, if it has one; never raises. May be called more than once.

    Args:
        task: The task; its request is the one that ends.
        done: Its id, if it returned or raised and will not come again.
    """
    run = run_of(task.request)
    if run is not None:
        leave(run)
        run.give_back(done)
