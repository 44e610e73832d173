"""Assertions: what tests of locked tasks ask, with messages that say what differs.

They need no store in memory: what they look at is the task, its result, or the Redis that its app has.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import states
from celery.exceptions import TaskRevokedError

from ..config.provider import provider_of
from ..engine import inspect, store_of
from ..errors import LockLost
from ..messages.headers import CALL_HEADER
from .checked_call import CheckedCall
from .seen_runs import SeenRun, seen_runs

__all__ = [
    "assert_lock_required",
    "assert_locked",
    "assert_other_lock",
    "assert_ran_once",
    "assert_same_lock",
    "assert_skipped",
]

#: How often a result is looked at that a worker has not stored yet, seconds.
_LOOK_S = 0.02


def assert_locked(task: Any, *args: Any, **kwargs: Any) -> None:
    """Check that the locks of a call are held at this moment, by whomever.

    Args:
        task: The task.
        *args: Of the call.
        **kwargs: Of the call.

    Raises:
        AssertionError: One of them is free, or the call takes none.
    """
    __tracebackhide__ = True
    call = CheckedCall(task, args, kwargs)
    if call.takes_no_lock:
        raise AssertionError(f"task {call.task.name} takes no lock: {call.takes_no_lock}")
    store = store_of(provider_of(call.task.app).client)
    free = [key for key in call.keys if inspect(store, key) is None]
    if free:
        raise AssertionError(
            f"a call of {call.task.name} is not locked: nobody holds {' and '.join(map(repr, free))}"
        )


def assert_same_lock(call: Any, other: Any) -> None:
    """Check that two calls take the same lock, which keeps them apart.

    Args:
        call: A signature, such as ``import_csv.s("a.csv")``.
        other: Another one, also of another task.

    Raises:
        AssertionError: They take different locks; the message names the arguments that make the difference.
    """
    __tracebackhide__ = True
    one, another = CheckedCall.of(call), CheckedCall.of(other)
    if one.keys != another.keys:
        raise AssertionError(
            f"the two calls take different locks:\n{_both(one, another)}\n{_why(one, another)}"
        )


def assert_other_lock(call: Any, other: Any) -> None:
    """Check that two calls have no lock in common, so that neither waits for the other.

    Args:
        call: A signature, such as ``import_csv.s("a.csv")``.
        other: Another one, also of another task.

    Raises:
        AssertionError: They have one; the message names the arguments that differ, but make no difference.
    """
    __tracebackhide__ = True
    one, another = CheckedCall.of(call), CheckedCall.of(other)
    if not set(one.keys).isdisjoint(another.keys):
        raise AssertionError(
            f"the two calls take the same lock:\n{_both(one, another)}\n{_why_not(one, another)}"
        )


def assert_skipped(result: Any, *, by: Any = None, within: float = 10.0) -> None:
    """Check that a call was skipped, because its lock was busy.

    Args:
        result: What `delay`, `apply_async` or `apply` has returned.
        by: Who had the lock: a task's name, an id, a host, the word that was given to ``busy``, or the result
            of the call that had it. None: whoever.
        within: For how long a result is waited for that a worker has not stored yet, seconds.

    Raises:
        AssertionError: It ran, it ended in another way, or somebody else had the lock.
    """
    __tracebackhide__ = True
    state = _state_of(result, within)
    reason = str(result.result)
    if state != states.REVOKED or not isinstance(result.result, TaskRevokedError):
        raise AssertionError(
            f"the call was not skipped: its state is {state}{_outcome(state, result.result)}"
        )
    holder = reason.partition("held by: ")[2].partition("; `celery ")[0]
    if not holder:
        raise AssertionError(f"the call was not skipped because its lock was busy: {reason}")
    wanted = str(getattr(by, "id", by))
    if by is not None and not re.search(rf"(?<![\w.-]){re.escape(wanted)}(?![\w.-])", holder):
        raise AssertionError(f"the call was not skipped by {wanted!r}: its lock was held by: {holder}")


@contextmanager
def assert_ran_once(task: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
    """Check that in the block one body ran of all calls that have the same lock as this one.

    It counts what runs in this process: eager calls, and a worker of ``celery.contrib.testing``. Wait for the
    results inside the block.

    Args:
        task: The task.
        *args: Of the call.
        **kwargs: Of the call.

    Raises:
        AssertionError: None ran, or more than one.
    """
    __tracebackhide__ = True
    call = CheckedCall(task, args, kwargs)
    with seen_runs(call.task.name) as seen:
        yield
    ran = [each for each in seen if each.has_run]
    of_this = [each for each in ran if _keys_of(call, each) == call.keys]
    if len(of_this) != 1:
        raise AssertionError(_counted(call, len(of_this), len(ran), len(seen)))


def assert_lock_required(function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Check that a function refuses to run without a lock: it calls ``current_lock().ensure_locked()``.

    The function is called, outside of every lock. So it does its work if it does not refuse.

    Args:
        function: A task, or what a task calls.
        *args: For it.
        **kwargs: For it.

    Raises:
        AssertionError: It ran.
    """
    __tracebackhide__ = True
    name = getattr(function, "name", None) or getattr(function, "__name__", repr(function))
    try:
        function(*args, **kwargs)
    except LockLost:
        return
    except Exception as error:
        raise AssertionError(
            f"{name} ran without a lock, and raised {type(error).__name__}: call "
            "current_lock().ensure_locked() before anything else"
        ) from error
    raise AssertionError(f"{name} ran without a lock: call current_lock().ensure_locked() in it")


def _both(one: CheckedCall, another: CheckedCall) -> str:
    return f"  {one.shown()}\n  {another.shown()}"


def _why(one: CheckedCall, another: CheckedCall) -> str:
    """Say why two calls take different locks."""
    deciding = one.deciding(another)
    if deciding:
        return (
            f"{_subject(deciding, 'differ')} and {_verb(deciding, 'make')} the difference: "
            "name the arguments that count in lock_args, or name the lock with lock_key"
        )
    if one.task.name != another.task.name:
        return (
            "the tasks differ, and a lock is of one task unless it has a name of its own: give both the same "
            "lock_key"
        )
    return "no argument makes the difference: the calls have lock options of their own"


def _why_not(one: CheckedCall, another: CheckedCall) -> str:
    """Say why two calls take the same lock."""
    differing = one.differing(another)
    if differing:
        return (
            f"{_subject(differing, 'differ')}, but {_verb(differing, 'make')} no difference: "
            "add what counts to lock_args, or to lock_key"
        )
    if one.task.name != another.task.name:
        return "both tasks name this lock by lock_key: put a word for the task into it"
    return "no argument differs: an argument that is left to its default is the same as its default"


def _subject(names: list[str], verb: str) -> str:
    noun = "argument" if len(names) == 1 else "arguments"
    return f"{noun} {', '.join(map(repr, names))} {_verb(names, verb)}"


def _verb(names: list[str], verb: str) -> str:
    return f"{verb}s" if len(names) == 1 else verb


def _state_of(result: Any, within: float) -> str:
    """Return the state of a result, once there is one."""
    deadline = time.monotonic() + within
    while result.state in (states.PENDING, states.RECEIVED, states.STARTED) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    return str(result.state)


_MEANINGS = {
    states.SUCCESS: ": its body ran: the lock was free when it began, or lock_mode let it run",
    states.RETRY: ": it is tried again",
    states.PENDING: ": it has not ended; is there a worker?",
}


def _outcome(state: str, result: Any) -> str:
    if state in _MEANINGS:
        return _MEANINGS[state]
    return f": {type(result).__name__}: {result}" if isinstance(result, BaseException) else ""


def _keys_of(call: CheckedCall, seen: SeenRun) -> tuple[str, ...]:
    """Return the Redis keys of the locks of a run of the same task."""
    own_options = (seen.request.headers or {}).get(CALL_HEADER)
    return CheckedCall(call.task, seen.args, seen.kwargs, own_options).keys


def _counted(call: CheckedCall, of_this: int, ran: int, calls: int) -> str:
    """Say how often what ran that should have run once."""
    keys = " and ".join(map(repr, call.keys))
    lines = [f"{call.task.name} ran {_times(of_this)} under {keys}, and was to run once"]
    if call.takes_no_lock:
        lines.append(f"it takes no lock: {call.takes_no_lock}")
    if ran > of_this:
        lines.append(f"under other locks it ran {_times(ran - of_this)}: do all calls take the same lock?")
    if calls > ran:
        lines.append(f"{calls - ran} of its {calls} calls ended without their body")
    return "\n".join(lines)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
