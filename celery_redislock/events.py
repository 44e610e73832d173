"""Events: what happened to a lock, as frozen data, told to listeners that cannot break a run.

All that is seen of locks begins here. The code on the way of a run tells an event, and nothing else: the
signals, the log, the statistics, the metrics and the traces listen.

A listener is called in the thread that tells, so it must be quick: what may block or takes time goes to
another thread, see ``observing/background.py``. What a listener raises is logged, and goes no further.

But not all that is raised in a listener is the listener's: a soft time limit, or the loss of a lock, is
raised in whatever code the body's thread happens to run. Such an *interruption* goes on once all listeners
have heard: it is for the run. Who knows such errors says so, see `let_pass`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from .holder import Holder

__all__ = [
    "ENDED_BY",
    "LOSS_REASONS",
    "Acquired",
    "ChildDied",
    "Conflicted",
    "Event",
    "Forced",
    "Led",
    "Lost",
    "Orphaned",
    "Ran",
    "Released",
    "Renewed",
    "StoreFailed",
    "Ticked",
    "Waiting",
    "is_interruption",
    "let_pass",
    "listen",
    "tell",
    "unlisten",
]

logger = logging.getLogger(__name__)

#: Why a lock is lost. "expired": its lease ran out, and was not renewed. "cut_off": it could not be renewed,
#: because Redis was away or refused. "taken": its key was deleted, or another holder has it. "forced": by
#: `force_release`. "replaced": another run takes its place. "max_hold": its longest hold is over.
LOSS_REASONS = ("expired", "cut_off", "taken", "forced", "replaced", "max_hold")

#: What has ended the lock of a run that is gone. "parent": its child process died, and the parent gave the
#: lock back. "lease": nobody could, so its lease ran out; this is told by the same message, delivered again,
#: when it gets the lock. No worker gives back what another one held: it cannot know that this one is dead.
ENDED_BY = ("parent", "lease")


class Acquired(NamedTuple):
    """A run has its lock, and its body is about to begin.

    Attributes:
        task: Celery's.
        task_id: Of the run.
        lock: A `RedisLock`.
        how: "at_once"; "waited": it was busy when it was asked for first.
        waited_s: From the first question to the grant, seconds.
    """

    task: Any
    task_id: str
    lock: Any
    how: str
    waited_s: float


class Waiting(NamedTuple):
    """A run has met a busy lock, and begins to wait for it; told once for each run.

    Attributes:
        task, task_id, lock: As of `Acquired`.
        holder: Who has the lock.
    """

    task: Any
    task_id: str
    lock: Any
    holder: Holder


class Released(NamedTuple):
    """A run has given its lock back.

    Attributes:
        task, task_id, lock: As of `Acquired`.
        held_s: From the grant until now, seconds.
        is_free: False: Redis could not be told, or the lock was lost before. Where nobody waits for the reply
            of Redis it is True, and a loss that the reply tells is told as `Lost`.
    """

    task: Any
    task_id: str
    lock: Any
    held_s: float
    is_free: bool


class Conflicted(NamedTuple):
    """A call has met a busy lock.

    Attributes:
        task: Celery's.
        task_id: Of the call.
        lock_name: The Redis key.
        action: What is done, or would be: a word of `lock_on_conflict`; "callable"; "superseded": another
            run stands for it; "put_off": the holder is an earlier delivery of the same task.
        holder: Who has the lock; None: it is not known any more.
        reason: As one sentence.
        is_shadow: The body runs all the same.
        is_published: False: the call was about to be published.
        conflict: The `Conflict` whose policy is applied; None: there is none.
        waited_s: From the first question for the lock until now, seconds; 0.0: it was not asked for.
        successor: Of a superseded call: the id of the task that runs in its place; empty: not known here.
        headers: Of the message of a superseded call, as it was sent first, or of a call that was about to be
            published; None: not at hand, see the task's request.
        is_pending: The call was waiting as a pending run, and ends now; it is told where that is seen.
    """

    task: Any
    task_id: str
    lock_name: str
    action: str
    holder: Holder | None
    reason: str
    is_shadow: bool = False
    is_published: bool = True
    conflict: Any = None
    waited_s: float = 0.0
    successor: str = ""
    headers: Any = None
    is_pending: bool = False


class Lost(NamedTuple):
    """A run has lost its lock. Told in a thread of its own.

    Attributes:
        task, task_id, lock: As of `Acquired`.
        reason: One of `LOSS_REASONS`.
        text: The same, for people.
    """

    task: Any
    task_id: str
    lock: Any
    reason: str
    text: str


class Lapsed(NamedTuple):
    """The lock of a batch has ended while members of it waited and none ran; seen when the next one begins.

    Attributes:
        task: Celery's, of that member.
        task_id: Of that member.
        lock_name: The Redis key.
        idle_s: For how long a batch keeps its lock while none of its members runs (`lock_idle`), seconds.
    """

    task: Any
    task_id: str
    lock_name: str
    idle_s: float


class Orphaned(NamedTuple):
    """The lock of a run that is gone is free again.

    Attributes:
        task: Celery's.
        task_id: Of the run.
        lock_name: The Redis key.
        by: One of `ENDED_BY`.
    """

    task: Any
    task_id: str
    lock_name: str
    by: str


class Forced(NamedTuple):
    """A person has taken a lock from its holder.

    Attributes:
        app: Celery's.
        lock_name: The Redis key.
        holder: Who had it.
    """

    app: Any
    lock_name: str
    holder: Holder | None


class Renewed(NamedTuple):
    """A lease was to be renewed.

    Attributes:
        result: "renewed", "lost", or "failed": it is tried again.
        late_s: How long after it was due it was asked for, seconds.
    """

    result: str
    late_s: float


class StoreFailed(NamedTuple):
    """Redis did not do what it was asked.

    Attributes:
        verb: What was asked: "acquire", "release", "renew", ...
        error: The name of the error's class.
    """

    verb: str
    error: str


class Ran(NamedTuple):
    """A run of a task that the setting `beat_schedule` names, and that takes no lock, has ended.

    Attributes:
        task: Celery's.
        task_id: Of the run.
        state: "returned", "failed", "retried".
        run_s: From its begin until now, seconds.
    """

    task: Any
    task_id: str
    state: str
    run_s: float


class Ticked(NamedTuple):
    """A due time of a beat's entry has come.

    Attributes:
        app: Celery's.
        entry: Its name in the schedule.
        task_name: What it publishes.
        due: ISO 8601.
        result: "sent"; "taken": it was claimed before, by another beat; "early": by Redis's record it is not
            due yet; "lost": it was claimed, and not sent. A beat that dies between the two tells nothing.
        interval_s: The shortest time between two due times of the entry, seconds; 0.0: not known.
        ahead_s: How far the clock of the beat's host is ahead of the Redis server's, seconds; None: unknown.
    """

    app: Any
    entry: str
    task_name: str
    due: str
    result: str
    interval_s: float
    ahead_s: float | None = None


class Led(NamedTuple):
    """A beat of a group has begun to lead, or does not lead.

    Attributes:
        app: Celery's.
        beat: The name of the group, `redislock_beat_name`.
        leads: False: it stands by, or has ended.
    """

    app: Any
    beat: str
    leads: bool


class ChildDied(NamedTuple):
    """A child process of a worker that ran a locked task has died, however it ended.

    Attributes:
        app: Celery's.
        pid: Of the child.
    """

    app: Any
    pid: int


Event: TypeAlias = (
    Acquired
    | Waiting
    | Released
    | Conflicted
    | Lost
    | Lapsed
    | Orphaned
    | Forced
    | Ran
    | Renewed
    | StoreFailed
    | Ticked
    | Led
    | ChildDied
)
Listener: TypeAlias = Callable[[Any], object]

_listeners: dict[type[Any], tuple[Listener, ...]] = {}
_knowers: tuple[Callable[[BaseException], bool], ...] = ()


def listen(kind: type[Any], listener: Listener) -> None:
    """Have a listener called with each event of a kind; nothing if it is already."""
    before = _listeners.get(kind, ())
    if listener not in before:
        _listeners[kind] = (*before, listener)


def unlisten(kind: type[Any], listener: Listener) -> None:
    """Have a listener not called any more."""
    _listeners[kind] = tuple(other for other in _listeners.get(kind, ()) if other != listener)


def let_pass(knows: Callable[[BaseException], bool]) -> None:
    """Have `tell` let errors pass that interrupt a run.

    Args:
        knows: Says whether an error is one.
    """
    global _knowers
    if knows not in _knowers:
        _knowers = (*_knowers, knows)


def is_interruption(error: BaseException) -> bool:
    """Whether an error that was raised in a listener is for the run, and not the listener's own."""
    return any(knows(error) for knows in _knowers)


def tell(event: Event) -> None:
    """Call the listeners of this kind of event; never raises what a listener raises.

    Raises:
        Exception: An interruption of the run that has come meanwhile.
    """
    interruption: Exception | None = None
    for listener in _listeners.get(type(event), ()):
        try:
            listener(event)
        except Exception as error:
            if is_interruption(error):
                interruption = error
            else:
                logger.exception("a listener to %s events has failed", type(event).__name__)
    if interruption is not None:
        raise interruption
