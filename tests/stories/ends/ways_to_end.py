"""Ways to end: what the bodies of these tests do, told by each call in steps, and how they end."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import uuid4

from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from ...support.stores import STORE
from .lives import LivesJournal

#: Seconds until a retry. At once, it could end before Celery has stored RETRY for the run before it, which
#: would then stay for ever: seen in one of ten, with tasks of any class.
RETRIED_S = 0.2

#: Seconds for which a body waits to be told what it has seen itself.
TOLD_S = 15


@cache
def journal() -> LivesJournal:
    """Return the journal of this process."""
    return LivesJournal(os.environ[STORE])


class Failure(Exception):
    """The body failed, as it was asked to."""


def scripted(self: Any, key: str, *steps: Any) -> Any:
    """Do what each step says, ``[name, *arguments]``, and return what the last one gave."""
    result, run = None, uuid4().hex
    facts = {"key": key, "id": self.request.id, "run": run, "task": self.name}
    try:
        # Inside: whoever reads this may stop or interrupt the body before the next line.
        journal().write("begun", retries=self.request.retries, **facts)
        for name, *arguments in steps:
            result = STEPS[name](self, run, *arguments)
    except BaseException as error:
        journal().write("ended", error=type(error).__name__, **facts)
        raise
    journal().write("ended", error=None, **facts)
    return result


def _beat(task: Any, run: str, seconds: float) -> None:
    """Show every 5 ms that the body is alive."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        journal().beat(run)
        time.sleep(0.005)


def _deaf(task: Any, run: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _gate(task: Any, run: str, gate: str) -> None:
    journal().pass_gate(gate)


def _raise(task: Any, run: str) -> None:
    raise Failure("as asked")


def _fail_at_first(task: Any, run: str) -> None:
    if task.request.retries == 0:
        raise Failure("as asked")


def _hand_over(task: Any, run: str) -> None:
    """Report the last moment under the lock: it is given back before what comes next is published."""
    journal().write("hands over", run=run, key=task.request.args[0])


def _retry_at_first(task: Any, run: str, countdown: float = RETRIED_S) -> None:
    if task.request.retries == 0:
        _hand_over(task, run)
        raise task.retry(countdown=countdown, max_retries=3)


def _ignore(task: Any, run: str) -> None:
    raise Ignore


def _reject(task: Any, run: str) -> None:
    raise Reject("as asked", requeue=False)


def _replace(task: Any, run: str) -> Any:
    queue = task.request.delivery_info["routing_key"]
    _hand_over(task, run)
    return task.replace(task.si(task.request.args[0], ["give", 2]).set(queue=queue))


def _exit(task: Any, run: str) -> None:
    sys.exit(3)


def _die(task: Any, run: str, way: str) -> None:
    # A crash must not leave a core file behind.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if way == "os._exit":
        os._exit(1)
    if way == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    ctypes.string_at(0)


def _until_soft_limit(task: Any, run: str) -> str:
    try:
        _beat(task, run, 30)
    except SoftTimeLimitExceeded:
        return "caught"
    return "not told"


def _until_lost(task: Any, run: str, seconds: float, told_s: float = TOLD_S) -> str:
    """Look at the lock every 5 ms, and report the moment at which it says that it is lost."""
    until = time.monotonic() + seconds
    saw = None
    try:
        while time.monotonic() < until:
            if task.lock.lost:
                saw = time.monotonic()
                # Whoever is to be interrupted is interrupted here, however late a busy machine does it.
                _doze(task, run, told_s)
                return "lost"
            time.sleep(0.005)
        return "kept"
    finally:
        if saw is not None:
            journal().write("saw the loss", run=run, key=task.request.args[0], saw=saw)


def _steal(task: Any, run: str) -> None:
    """Take our own lock away, as an operator would."""
    task.lock_for(*task.request.args, **task.request.kwargs).force_release()
    journal().write("stolen", run=run, key=task.request.args[0])


def _steal_and_retry(task: Any, run: str) -> None:
    if task.request.retries == 0:
        _steal(task, run)
        raise task.retry(countdown=RETRIED_S, max_retries=1)


def _sleep(task: Any, run: str, seconds: float) -> None:
    time.sleep(seconds)


def _doze(task: Any, run: str, seconds: float) -> None:
    """Sleep in small pieces: a thread can be interrupted only between two of them."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.005)


def _read(task: Any, run: str, seconds: float) -> None:
    """Wait for a socket on which nothing will ever come."""
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(seconds)
        here.recv(1)


def _send(task: Any, run: str, key: str, *steps: Any) -> str:
    queue = task.request.delivery_info["routing_key"]
    sent = task.apply_async((key, *steps), queue=queue)
    return str(sent.id)


def _eager(task: Any, run: str, name: str, key: str, *steps: Any) -> str:
    """Run a task inside this body, and go on however it ends."""
    inner = task.app.tasks[name].apply((key, *steps))
    journal().write("inner", key=task.request.args[0], state=inner.state)
    return str(inner.state)


def _give(task: Any, run: str, value: Any) -> Any:
    return value


def _lock(task: Any, run: str) -> dict[str, Any]:
    return {"name": task.lock.name, "fencing_token": task.lock.fencing_token, "lost": task.lock.lost}


def _pid(task: Any, run: str) -> int:
    return os.getpid()


STEPS: dict[str, Callable[..., Any]] = {
    "beat": _beat,
    "deaf": _deaf,
    "gate": _gate,
    "raise": _raise,
    "fail at first": _fail_at_first,
    "retry at first": _retry_at_first,
    "ignore": _ignore,
    "reject": _reject,
    "replace": _replace,
    "exit": _exit,
    "die": _die,
    "until soft limit": _until_soft_limit,
    "until lost": _until_lost,
    "steal": _steal,
    "steal and retry": _steal_and_retry,
    "sleep": _sleep,
    "doze": _doze,
    "read": _read,
    "send": _send,
    "eager": _eager,
    "give": _give,
    "lock": _lock,
    "pid": _pid,
}
