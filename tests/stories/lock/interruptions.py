"""Interruptions: what a signal's handler does to a program, at each line in turn, or at random moments."""

from __future__ import annotations

import gc
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import celery_redislock

from ...support import tracing

PACKAGE = str(Path(celery_redislock.__file__).parent)


class SoftLimit(Exception):
    """What a time limit raises."""


class CtrlC(BaseException):
    """What the terminal raises."""


def interrupted_at(number: int, work: Callable[[], object], files: Sequence[str] = (PACKAGE,)) -> bool:
    """Do something, and be interrupted at the so-many-th line, or call of a function, of the package.

    Returns:
        False when the work was done before.
    """
    seen = 0

    def handle(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.startswith(tuple(files)):
            return None
        if event in ("call", "line"):
            seen += 1
            if seen == number:
                raise SoftLimit if number % 2 else CtrlC
        return handle

    tracing.make_ready()
    before = sys.gettrace()
    # It would run the ends of old connections among the lines, and what is raised there goes no further.
    gc.disable()
    sys.settrace(handle)
    try:
        next(_apart(work))
    except (SoftLimit, CtrlC):
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    # Some of it may have been swallowed, by what must not fail: a callback that is told of a loss.
    return seen >= number


def _apart(work: Callable[[], object]) -> Iterator[None]:
    """Do something as the body of a generator, which has a stack of its own of errors that are handled.

    Where a trace function raises as an ``except`` ends, which no signal's handler can, CPython leaves that
    error there: it would be the context of all errors to come.
    """
    work()
    yield


@contextmanager
def alarms() -> Iterator[Callable[[Callable[[], object]], bool]]:
    """Give what does a work that a real signal interrupts at a random moment soon."""

    def strike(_number: int, _frame: FrameType | None) -> None:
        raise SoftLimit

    before = signal.signal(signal.SIGALRM, strike)

    def interrupted(work: Callable[[], object]) -> bool:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 1e-3))
            try:
                work()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except SoftLimit:
            return True
        return False

    try:
        yield interrupted
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
