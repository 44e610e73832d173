"""Run: one run of a locked task, from taking the lock or settling the conflict to giving it back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from weakref import WeakMethod

from celery import Task
from celery._state import get_current_task
from celery.exceptions import Ignore

from ..config.call import Call
from ..config.plan import Planned
from ..config.provider import provider_of
from ..conflicts import outage, redelivery
from ..conflicts.conflict import Conflict, announce, settle
from ..engine import RedisLock
from ..engine.threads import here
from ..errors import LockLost, StoreUnavailable
from ..holder import holder_metadata
from ..messages.ending import Skipped
from ..messages.headers import OF_EARLIER_TRIES
from ..pending import publish as wanted
from ..pending import record as coalescing
from ..pending import replacement
from ..publish_lock import ticket as queued
from ..signals import lock_acquired, lock_lost, lock_released
from .acquisition import attempt
from .current import all_around, enter, held_around, innermost, leave
from .interruption import Body, body_here
from .unlocked import Unknown, Unlocked

logger = logging.getLogger(__name__)

_ATTRIBUTE = "redislock_run"

Send = Callable[..., Any]


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
        # Celery looks it up anew each time that it is asked for.
        self._request = request
        self._options = call.plan.options
        self._process = here()
        self._is_ours = False
        self._body: Body | None = None
        self._told: LockLost | None = None
        self._depth = 0
        self._waiting: queued.Waiting | None = None

    def take(self) -> None:
        """Take the lock of this call, or settle the conflict: see `begin`."""
        task, options = self._task, self._options
        self._waiting = waiting = queued.Waiting(task)
        if not self.call.runs_locked:
            waiting.end()
            return
        key = self.call.lock_name
        held = held_around(key)
        if held is not None:
            # The task in whose body this one is called has it, or the batch to which it belongs.
            waiting.end()
            self.lock = held
            return
        metadata = {**holder_metadata(task.name, self._request.id), **coalescing.triggered(self._request)}
        # Weakly: we have the lock, and a lock that is dropped must not be renewed for ever.
        lock = provider_of(task.app).lock_of(key, options, metadata, WeakMethod(self.report_lost))
        lock.listen(WeakMethod(self.report_asked), replacement.told_within_s(options))
        lock.queued = waiting.token_under(key)
        try:
            while not self._settled(lock):
                pass  # it was free again before a run of it could be wanted
        except (StoreUnavailable, LockLost) as error:
            # Lost before it begins: taken, and given back, since no thread could be started that renews it.
            self.give_back()
            self.lock = Unlocked()
            outage.settle(task, options, error)

    def _settled(self, lock: RedisLock) -> bool:
        """Take the lock or meet a conflict; return False if there is none any more."""
        task, options = self._task, self._options
        # Before the lock is asked for: a soft time limit may strike at any moment from here.
        self.lock, self._is_ours = lock, True
        holder = attempt(task, lock, options)
        if holder is None:
            self._begin(lock)
            return True
        self.lock, self._is_ours = Unlocked(), False
        if self._waiting is not None and self._waiting.token:
            redelivery.drop_if_answered(task)
            # It was accepted when it was published: it may have to wait, but it is not dropped.
            options = replace(options, on_conflict="retry", retry_for_ms=None)
        try:
            self._meet(Conflict.of(task, lock, holder, self.call.args_hash, options))
        except coalescing.LockFreed:
            return False
        return True

    def _begin(self, lock: RedisLock) -> None:
        if self._waiting is not None:
            self._waiting.has_begun(lock.name)
        try:
            coalescing.begin(self._task, lock, self._options)
            redelivery.drop_if_done(self._task, lock)
        except Ignore:
            self.give_back(unused=True)
            raise
        _forget_earlier_attempts(self._request)
        lock_acquired.send(sender=self._task, lock=lock)

    def _meet(self, conflict: Conflict) -> None:
        if not conflict.shadow:
            settle(self._task, conflict)
        policy = self._options.on_conflict
        announce(self._task, conflict, policy if isinstance(policy, str) else "callable")

    def body(self) -> AbstractContextManager[Any]:
        """Return the stretch in which the body runs, and may be interrupted if the lock is lost.

        Raises:
            PutOff: The lock is lost before the body has begun: the task was published again.
            LockLost: The same, for an eager call.
        """
        if not self._is_ours or self._options.on_lost != "abort" or self._body is not None:
            return nullcontext()
        # First: a loss that is noticed from here on is told to the body, also before it has begun.
        self._body = body_here()
        if self.lock.lost:
            if self._request.is_eager:
                self.lock.ensure_held()
            self.give_back()
            redelivery.begin_again(self._task)
        return self._body

    @contextmanager
    def called(self) -> Iterator[None]:
        """Run the task's ``__call__`` in here: Celery's own call, or one of the body within that."""
        self._depth += 1
        self.has_called = True
        try:
            yield
        finally:
            self._depth -= 1

    def lock_held(self, key: str) -> RedisLock | None:
        """Return the lock of this Redis key if this run has it."""
        return self.lock if isinstance(self.lock, RedisLock) and self.lock.name == key else None

    def is_of(self, task: Task[..., Any]) -> bool:
        """Whether it is a run of this task."""
        return self._task.name == task.name and self._task.app is task.app

    def is_called_by_celery(self) -> bool:
        """Whether what goes on is Celery's call, and not one that the body makes of its own task."""
        return self._depth == 1

    def report_lost(self, lock: RedisLock) -> None:
        """Tell the receivers of `lock_lost`, and the body if it is to stop."""
        reason = lock.loss or "it is not held"
        if self._body is not None:
            self._told = LockLost(lock.name, reason)
            self._body.interrupt(self._told)
        lock_lost.send(sender=self._task, lock=lock, reason=reason)

    def report_asked(self) -> None:
        """Interrupt the body if it is to stop: another run is to take its place."""
        self.is_replaced = True
        if self._body is not None:
            self._told = LockLost(self.lock.name, replacement.REPLACED)
            self._body.interrupt(self._told)

    def end_replaced(self) -> Skipped:
        """Store the end of this run, which has made room, and return what Celery is told."""
        lock = self.lock
        if not isinstance(lock, RedisLock):
            return Skipped(replacement.REPLACED)
        told = replacement.end(self._task, lock)
        self.give_back(done=str(self._request.id))
        return told

    def tell_again(self) -> None:
        """Raise the loss that the body was told of, if it still goes on.

        Raises:
            LockLost: It does.
        """
        if self._told is not None and self._body is not None and self._is_ours:
            self._body.end()
            raise self._told

    def give_back(self, done: str = "", *, unused: bool = False) -> None:
        """Release the lock if this run took it and has not released it yet; never raises.

        In the child of a fork nothing is done: the run is its parent's.
        """
        if self._process is not here():
            return
        if done and self._waiting is not None:
            self._waiting.end()
        if not self._is_ours or not isinstance(self.lock, RedisLock):
            return
        if self._body is not None:
            # A retry is published next, from inside the body: a loss may not tear that apart any more.
            self._body.end()
        self._is_ours = False
        try:
            released = self.lock.release(done=done, unused=unused)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not reach Celery
            # Celery before 5.7 would turn a finished task into a failed one.
            logger.warning("could not release: %s; the lock ends by itself with its lease", error)
            return
        if released and not unused:
            lock_released.send(sender=self._task, lock=self.lock)
        if self.lock.wanted:
            wanted.publish_apart(self._task.app, self.lock.name)


def current_lock() -> RedisLock | Unlocked:
    """Return the lock of the task that runs here.

    Inside the body it has ``name``, ``fencing_token``, ``remaining``, ``lost`` and ``ensure_held()``. In a
    body that runs without a lock, a direct call say, its ``ensure_held()`` does nothing; where no body is
    known to run, such as in a thread that a body started, it raises `LockLost`.
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


def tell_again() -> None:
    """Tell the body that runs here once more of the loss of its lock.

    It was raised in an eager call inside the body, and ended no more than that.

    Raises:
        LockLost: The lock was lost, and the body is to stop.
    """
    run = innermost(Run)
    if run is not None:
        run.tell_again()


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
        # A copy of a request, which Celery makes for a direct call, would take the run for a header.
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


def make_way_for_retry(task: Task[..., Any]) -> None:
    """Before a retry is published: give the lock of this run back, or keep it for `handing_over`."""
    begun = run_of(task.request)
    if begun is None:
        return
    options = begun.call.plan.options
    if options.scope == "task" and options.mode != "off" and not task.request.is_eager:
        begun.hands_over = True
    else:
        finish(task)


def handing_over(call: Call, send: Send) -> Send:
    """Return `send`, or for the retry of the run that goes on here: give the lock of the run back, and send.

    The retry has the publish lock by then, so no other call comes between the two.
    """
    request = call.task.request
    begun = run_of(request)
    if begun is None or not begun.hands_over or call.task_id != request.id:
        return send

    def release_and_send(*args: Any, **options: Any) -> Any:
        finish(call.task)
        return send(*args, **options)

    return release_and_send


def _forget_earlier_attempts(request: Any) -> None:
    """The next retry of this task, for whatever reason, begins to count anew."""
    for header in OF_EARLIER_TRIES:
        (request.headers or {}).pop(header, None)
