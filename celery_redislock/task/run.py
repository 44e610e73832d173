"""Run: one run of a locked task: its lock, its body, its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from celery import Task
from celery._state import get_current_task
from celery.exceptions import Ignore, SoftTimeLimitExceeded

from ..config.call import Call
from ..config.options import LockOptions
from ..config.plan import Planned
from ..config.several_locks import SeveralLocks
from ..conflicts import outage, redelivery
from ..engine import RedisLock, ReleaseOutcome, now
from ..engine.threads import here
from ..errors import ConfigurationError, LockBusy, LockKeyError, LockLost, RedislockError, StoreUnavailable
from ..events import Acquired, Lost, Released, Waiting, tell
from ..holder import Holder
from ..messages.celery_exceptions import Skipped
from ..messages.headers import CALL_HEADER, TICKET_HEADER
from ..pending import replacement
from ..pending.publish import publish_pending_apart
from ..publish_lock.ticket import Ticket
from ..signals import lock_released
from . import acquisition
from .acquisition import Outcome
from .held_locks import all_around, enter, held_in, innermost, leave
from .interruption import FromOutside, Interruptible, interruptible_here
from .own_locks import OwnLocks, own_locks_of
from .unlocked import Unknown, Unlocked

logger = logging.getLogger(__name__)

#: Of a request: its run.
ATTRIBUTE = "redislock_run"


class Run:
    """One run of a task.

    Attributes:
        options: Of the lock.
        lock: What the body sees as ``self.lock``.
        has_anything: It has, or may have, something to give back.
        is_replaced: It was asked to stop: another run takes its place.
        hands_over: It gives its lock back once its own retry has the publish lock.
        has_called: The body has begun.
        has_ended: It has given back what it had.
        copies: How often its request is on the stack once more, for a body that Celery calls.
    """

    # What most runs never change is not set for each.
    lock: RedisLock | SeveralLocks | Unlocked = Unlocked()
    has_anything = is_replaced = hands_over = has_called = has_ended = _has_waited = False
    copies = 0
    _is_ours = False
    _remember_s = redelivery.COPY_MAY_COME_S
    _body: Interruptible | None = None
    _interruption: LockLost | None = None
    _depth = 0
    _began_at = _taken_at = 0.0
    _ticket: Ticket | None = None
    _asked: RedisLock | None = None
    _has_told_of_loss = False

    def __init__(self, task: Planned, options: LockOptions, request: Any) -> None:
        self.options = options
        self._task = task
        # Kept, because Celery looks it up each time that it is asked for.
        self._request = request
        self._process = here.process

    @property
    def seen_by_body(self) -> RedisLock | Unlocked:
        """The lock as ``self.lock`` gives it."""
        # To a type checker a task has one lock: only its options tell, which it does not read.
        return cast("RedisLock | Unlocked", self.lock)

    def take(self, call: Call, around: tuple[Any, ...]) -> None:
        """Take the lock of this call, or settle why it cannot: see `begin`.

        Args:
            call: What runs.
            around: What holds locks around this run.
        """
        task, options, headers = self._task, self.options, self._request.headers
        if TICKET_HEADER in headers:
            self._ticket = Ticket(task.app, headers, self._request.id)
        if not call.plan.runs_locked:
            self._end_ticket()
            return
        try:
            lock = self._several_to_take(call, around) if call.plan.namings else self._to_take(call, around)
        except (LockKeyError, ConfigurationError) as error:
            if options.mode != "shadow":
                raise
            self._end_ticket()
            outage.settle(task, options, error)
            return
        if lock is None:
            # The task in whose body this one is called has it, or the batch to which it belongs.
            self._end_ticket()
            return
        try:
            while self._take_or_settle(call, lock) is Outcome.FREE_AGAIN:
                pass
        except (StoreUnavailable, LockLost) as error:
            # LockLost: no thread could be started that renews the lock, so it was taken and given back.
            # Or one of several was lost meanwhile.
            self.give_back()
            self.lock = Unlocked()
            outage.settle(task, self._options_of(error, call), error)

    def _options_of(self, error: RedislockError, call: Call) -> LockOptions:
        """Return the options by which a run is settled that got no lock because of an error."""
        if isinstance(error, LockLost) and call.plan.namings and self.options.on_error == "run":
            # One lock was lost while another was waited for: Redis is there, and somebody may have the lock.
            return replace(self.options, on_error="retry")
        return self.options

    def _to_take(self, call: Call, around: tuple[Any, ...]) -> RedisLock | None:
        """Return the lock to be taken; None: it is held around this run, and is `self.lock` now.

        Raises:
            TypeError, LockKeyError: The call gives no name.
            ConfigurationError: A setting is wrong, or the call gives no limit.
            LockBusy: The lock is held around this run on terms that are not as strict.
        """
        locks = call.plan.made.get(OwnLocks) or own_locks_of(call)
        # It refers to the run weakly: a run has its lock, and a lock that is dropped must not be renewed.
        token = "" if self._ticket is None else self._ticket_of(call, self._ticket)
        lock = locks.lock_of(call, self._request, self, token)
        held = self._held_in(around, lock) if around else None
        if held is None:
            return lock
        self.lock = held
        return None

    def _held_in(self, around: tuple[Any, ...], lock: RedisLock) -> RedisLock | Unlocked | None:
        """Return the lock that is to be taken if it is held around this run.

        Raises:
            LockBusy: It is held there on terms that are not as strict.
        """
        try:
            return held_in(around, lock)
        except LockBusy:
            if self.options.mode == "shadow":
                return Unlocked()
            raise

    def _ticket_of(self, call: Call, ticket: Ticket) -> str:
        """Return the token of the publish lock that the grant of the lock ends; empty: there is none."""
        if call.plan.sharings[0].is_shared:
            # Its message was sent when one run at a time held the lock.
            self._end_ticket()
            return ""
        return ticket.token_under(call.lock_name)

    def _several_to_take(self, call: Call, around: tuple[Any, ...]) -> SeveralLocks | None:
        """The same of a call that has several locks: those that are held around this run are not taken."""
        locks = call.plan.made.get(OwnLocks) or own_locks_of(call)
        several = locks.locks_of(call, self._request, self)
        # Its message was sent when the task had one lock, with a publish lock of that.
        self._end_ticket()
        if not around:
            return several
        found = {lock.name: self._held_in(around, lock) for lock in several.locks}
        held = {name: lock for name, lock in found.items() if lock is not None}
        if len(held) < len(found):
            return locks.locks_of(call, self._request, self, held) if held else several
        known = [lock for lock in held.values() if isinstance(lock, RedisLock)]
        # What a batch holds has no lock here.
        self.lock = SeveralLocks.around(known) if known else Unlocked()
        return None

    def _end_ticket(self) -> None:
        if self._ticket is not None:
            self._ticket.end()

    def _take_or_settle(self, call: Call, lock: RedisLock | SeveralLocks) -> Outcome:
        # Before the lock is asked for: a soft time limit may strike at any moment from here.
        self.lock, self._is_ours, self._began_at = lock, True, self._began_at or now()
        # Now: a copy is told by its headers, and those of its earlier tries go once it has the lock.
        self._remember_s = redelivery.remembered_s(self._task, self._request)
        holder = acquisition.attempt(self._task, self._request, lock, self.options)
        ticket = self._ticket
        if holder is not None:
            self.lock, self._is_ours = Unlocked(), False
            has_ticket = ticket is not None and bool(ticket.token)
            return acquisition.settle_conflict(
                call, lock, holder, has_ticket=has_ticket, asked_at=self._began_at
            )
        if ticket is not None:
            ticket.has_begun(lock.name)
        try:
            acquisition.confirm(self._task, self._request, lock, self.options)
        except Ignore:
            self.give_back(unused=True)
            raise
        self._taken_at = taken_at = now()
        how = "waited" if lock.was_busy else "at_once"
        tell(Acquired(self._task, self._request.id, lock, how, taken_at - self._began_at))
        return Outcome.LOCKED

    def call(self, body: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call the task: Celery's own call, or one that the body makes of its own task.

        Celery's call is interrupted if the lock is lost.

        Raises:
            PutOff: The lock is lost before the body has begun: the task was published again.
            LockLost: The same, for an eager call; or the lock was lost.
        """
        options = self.options
        self._depth += 1
        is_first, self.has_called = not self.has_called, True
        try:
            if is_first and self._is_ours and options.on_lost == "abort" and options.mode != "shadow":
                with self._opened():
                    return body(*args, **kwargs)
            return body(*args, **kwargs)
        finally:
            self._depth -= 1

    def _opened(self) -> Interruptible:
        """Return the block in which the body runs."""
        # Before the look at the lock: a loss that is noticed after it interrupts the body, even as it begins.
        self._body = body = interruptible_here()
        if self.lock.lost:
            if self._request.is_eager:
                self.lock.ensure_held()
            self.give_back()
            redelivery.begin_again(self._task)
        return body

    def lock_held(self, lock_name: str) -> RedisLock | None:
        """Return the lock of this Redis key if this run has it."""
        lock = self.lock
        if isinstance(lock, SeveralLocks):
            return lock.member(lock_name)
        return lock if isinstance(lock, RedisLock) and lock.name == lock_name else None

    def is_of(self, task: Task[..., Any]) -> bool:
        """Whether it is a run of this task."""
        return self._task.name == task.name and self._task.app is task.app

    def is_called_by_celery(self) -> bool:
        """Whether what goes on is Celery's call, and not one that the body makes of its own task."""
        return self._depth == 1

    def log_facts(self) -> dict[str, str]:
        """Return whose lock it is."""
        return {"task": self._task.name, "task_id": str(self._request.id)}

    def report_waiting(self, lock: RedisLock, holder: Holder) -> None:
        """Tell that the run begins to wait for its lock."""
        if not self._has_waited:
            self._has_waited = True
            tell(Waiting(self._task, self._request.id, lock, holder))

    def report_lost(self, lock: RedisLock) -> None:
        """Interrupt the body, if it is to stop, and tell of the loss; of several locks the first counts."""
        if self._has_told_of_loss:
            return
        self._has_told_of_loss = isinstance(self.lock, SeveralLocks)
        reason = lock.loss or "it is not held"
        if self._body is not None:
            self._interruption = LockLost(lock.name, reason)
            self._body.interrupt(self._interruption)
        tell(Lost(self._task, self._request.id, lock, lock.loss_reason or "taken", reason))

    def report_stop_wanted(self, lock: RedisLock) -> None:
        """Interrupt the body: another run is to take the place of this one."""
        self.is_replaced, self._asked = True, lock
        tell(Lost(self._task, self._request.id, lock, replacement.REPLACED, "another run takes its place"))
        if self._body is not None:
            self._interruption = LockLost(lock.name, replacement.REPLACED)
            self._body.interrupt(self._interruption)

    def end_replaced(self) -> Skipped:
        """Store that another run has replaced this one, and return what Celery is told."""
        lock = self._asked
        if lock is None or isinstance(self.lock, Unlocked):
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

    def is_interrupted_by(self, error: BaseException) -> bool:
        """Whether this is the error by which the body is told of the loss of its lock."""
        return error is self._interruption

    def give_back(self, done: str = "", *, unused: bool = False, is_last: bool = False) -> None:
        """Release the lock if this run took it and has not released it yet; never raises.

        In the child of a fork nothing is done: the run is its parent's.

        Args:
            done: As in `finish`.
            unused: The body has not begun.
            is_last: Nothing of this run comes after it, so Redis need not confirm it first.
        """
        if self._process is not here.process:
            return
        if done and self._ticket is not None:
            self._ticket.end()
        lock = self.lock
        if not self._is_ours or isinstance(lock, Unlocked):
            return
        if self._body is not None:
            # A retry is published next, from inside the body: a loss must not interrupt that.
            self._body.end()
        self._is_ours = False
        outcome = self._release(lock, done, unused=unused, is_last=is_last)
        if self._taken_at and not unused:
            is_free = outcome is None or outcome.released
            try:
                tell(Released(self._task, self._request.id, lock, now() - self._taken_at, is_free))
            except Exception:  # noqa: BLE001 - a soft time limit: the body has ended, and Celery must not fail it
                logger.debug("a time limit has come too late for task %s", self._task.name)
        if outcome is not None:
            self._end(outcome)

    def _release(
        self, lock: RedisLock | SeveralLocks, done: str, *, unused: bool, is_last: bool
    ) -> ReleaseOutcome | None:
        """Release the lock; return what has become of it, or None if `_end` is told later."""
        try:
            if is_last and isinstance(lock, RedisLock) and self._may_go_on(lock):
                lock.send_release(self._end, done=done, remember=self._remember_s)
                return None
            released = lock.release(done=done, remember=self._remember_s, unused=unused)
            return ReleaseOutcome(released, lock.has_pending)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not reach Celery
            return ReleaseOutcome(released=False, error=error)

    def _may_go_on(self, lock: RedisLock) -> bool:
        """Whether nobody needs to know at once what becomes of the release."""
        merges = self.options.on_conflict in ("coalesce", "replace")
        is_awaited = merges or lock.has_pending or lock_released.receivers
        return not is_awaited and not self._request.is_eager

    def _end(self, outcome: ReleaseOutcome) -> None:
        """Do what follows a release: publish what is pending; or warn."""
        if outcome.error is not None:
            # Celery before 5.7 would turn a finished task into a failed one.
            logger.warning("could not release a lock: %s; it is free when its lease ends", outcome.error)
            return
        if not outcome.has_pending:
            return
        lock = self.lock
        pending = lock.with_pending if isinstance(lock, SeveralLocks) else (lock.name,)
        for name in pending:
            publish_pending_apart(self._task.app, name)


def current_lock() -> RedisLock | Unlocked:
    """Return the lock of the task that runs in this thread, as ``self.lock`` does in a bound task.

    It has ``name``, ``fencing_token``, ``remaining``, ``lost`` and ``ensure_held()``. In a body that runs
    without a lock, such as a direct call, ``ensure_held()`` does nothing. In a thread that runs no task, such
    as one that a body has started, ``ensure_held()`` and ``fencing_token`` raise `LockLost`: hand the lock
    over to such threads.
    """
    run = innermost(Run)
    if run is not None:
        return run.seen_by_body
    return Unlocked() if get_current_task() is not None else Unknown()


def lock_of(task: Task[..., Any]) -> RedisLock | Unlocked:
    """Return the lock of a task's run that goes on here; else as `current_lock`."""
    begun = run_of(task.request)
    if begun is not None:
        return begun.seen_by_body
    if task.request_stack.top is not None:
        # Called directly.
        return Unlocked()
    # In another thread, to which the context of the body's may have been handed.
    return next((run.seen_by_body for run in all_around(Run) if run.is_of(task)), Unknown())


def raise_again() -> None:
    """Raise the loss of its lock in the body that runs here once more.

    The first time it was raised in an eager call inside the body, and ended only that call.

    Raises:
        LockLost: The lock was lost, and the body is to stop.
    """
    run = innermost(Run)
    if run is not None:
        run.raise_again()


def interrupts(error: BaseException) -> bool:
    """Whether an error is raised in the thread of a body by something else than the code that runs there.

    It is the soft time limit, or the loss of the lock of a run that goes on here.
    """
    if isinstance(error, SoftTimeLimitExceeded | FromOutside):
        return True
    return isinstance(error, LockLost) and any(run.is_interrupted_by(error) for run in all_around(Run))


def run_of(request: Any) -> Run | None:
    """Return the run of a request, once it has begun."""
    return getattr(request, ATTRIBUTE, None)


def begin(task: Planned, request: Any, args: Any, kwargs: Any) -> None:
    """Take the lock of this run, unless it has begun already.

    Raises:
        Skipped, ComesAgain, LockBusy: The lock is busy: what Celery is told.
        PutOff, Done: An earlier delivery of this task may run still, or has finished it.
        StoreUnavailable: Redis could not be reached, and `lock_on_error` is "fail".
        LockKeyError, TypeError: The arguments give no name.
        ConfigurationError: The call's own lock options are wrong.
    """
    if ATTRIBUTE in request.__dict__:
        return
    headers = request.headers
    if headers is None:
        # Celery copies a request for a direct call; without headers the copy would take the run for one.
        headers = request.headers = {}
    plan = task.plan_for(headers.get(CALL_HEADER))
    run = request.__dict__[ATTRIBUTE] = Run(task, plan.options, request)
    if request.delivery_info and request.delivery_info.get("redelivered"):
        redelivery.mark(request)
    around = enter(run)
    if not plan.runs_locked and TICKET_HEADER not in headers:
        return
    run.has_anything = True
    try:
        run.take(Call.received(task, plan, request, args, kwargs), around)
    except Ignore as told:
        # Celery formats every frame of it: that would cost more than the whole conflict.
        raise told.with_traceback(None) from None


def finish(request: Any, done: str = "") -> None:
    """Give the lock of a run back, if it has one; never raises. May be called more than once.

    Args:
        request: That ends.
        done: The id of its task, if that returned or raised and will not come again.
    """
    run = request.__dict__.get(ATTRIBUTE)
    if run is not None:
        leave(run)
        if run.has_anything:
            run.give_back(done, is_last=bool(done))
        run.has_ended = True
