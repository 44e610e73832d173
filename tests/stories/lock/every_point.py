"""Every point: an exception out of nothing, as a signal handler raises it, at each bytecode of a call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import redis

import celery_redislock

from ...support import tracing

_OURS = str(Path(celery_redislock.__file__).parent)
_REDIS_PYS = str(Path(redis.__file__).parent)


class Interruption(BaseException):
    """What the handler raises."""


def interrupted_everywhere(call: Callable[[], object], *, each: int = 1) -> Iterator[bool]:
    """Make a call again and again, interrupted one point later each time, until it goes through.

    The points are each bytecode of ours, and each line of redis-py.

    Args:
        call: Made once for each point; what else it raises counts as well.
        each: Only each so many points.

    Yields:
        After each call: whether it was interrupted.
    """
    point = 0
    while True:
        point += each
        tracer = _Tracer(point)
        try:
            tracing.make_ready()
            sys.settrace(tracer.entering)
            try:
                call()
            finally:
                sys.settrace(None)
        except Interruption:
            yield True
            continue
        except redis.RedisError:
            pass
        if not tracer.has_struck:
            yield False
            return
        yield True


class _Tracer:
    def __init__(self, point: int) -> None:
        self._left = point
        self.has_struck = False
        # Kept: Python 3.11 calls what it was given without a reference of its own. It once called the object
        # that had come to lie in that place.
        self.entering, self._stepping = self.enter, self.step

    def enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        name = frame.f_code.co_filename
        if name.startswith(_OURS):
            frame.f_trace_opcodes = True
        elif not name.startswith(_REDIS_PYS):
            return None
        return self._stepping

    def step(self, frame: FrameType, event: str, _argument: Any) -> Any:
        is_point = event == "opcode" or (event == "line" and not frame.f_trace_opcodes)
        if is_point and not self.has_struck:
            self._left -= 1
            if self._left == 0:
                self.has_struck = True
                raise Interruption
        return self._stepping
