"""Interruption: how the running body of a task is made to raise, when it has lost its lock.

It depends on where the body runs. In the main thread (prefork, solo) a signal reaches it, also in a sleep or
a read. In another thread (threads) the interpreter raises at its next step, after a call that blocks. Into a
greenlet (gevent, eventlet) its hub throws the error.

Each asks whether the body still runs at a moment when the body cannot move on. So an interruption that comes
late does nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from functools import cache, lru_cache
from types import TracebackType
from typing import Any, ClassVar, Protocol

from ..engine.threads import Process, here

#: Ignored by default, so that one that comes late harms nobody; Celery and billiard do not use it.
SIGNAL = signal.SIGURG


class Interruptible(Protocol):
    """A ``with`` block, in which alone the body of a task may be interrupted."""

    def __enter__(self) -> Interruptible: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def interrupt(self, error: Exception) -> None:
        """Raise `error` in the body, from any thread: now, or as it begins; nothing if it has ended."""

    def end(self) -> None:
        """Let nothing be raised in the rest of the body: it does what must not be torn apart."""


def interruptible_here() -> Interruptible:
    """Return the block for the current thread or greenlet."""
    throw = _throw_here()
    if throw is not None:
        return _InGreenlet(throw)
    return _InMainThread() if threading.get_ident() == _main_thread(here.process) else _InThread()


@lru_cache(maxsize=1)
def _main_thread(_: Process) -> int | None:
    """Return the main thread of a process: in the child of a fork it is the one that forked."""
    return threading.main_thread().ident


# Cached: who patches the standard library does it before anything runs.
@cache
def _throw_here() -> Any:
    """Return how an error is thrown at a greenlet; None where threads are threads."""
    if _is_patched("gevent.monkey", "is_module_patched", "threading"):
        return _throw_in_gevent
    if _is_patched("eventlet.patcher", "is_monkey_patched", "thread"):
        return _throw_in_eventlet
    return None


class _InMainThread:
    """Interrupted by a signal: its handler runs in the same thread, so it cannot come late."""

    _running: ClassVar[list[_InMainThread]] = []
    #: Of the process in which the handler was installed: Celery resets those of a child that it forks.
    _listens_in: ClassVar[int] = 0

    _error: Exception | None = None

    def __enter__(self) -> _InMainThread:
        if _InMainThread._listens_in != os.getpid():
            signal.signal(SIGNAL, _on_signal)
            _InMainThread._listens_in = os.getpid()
        self._running.append(self)
        if self._error is not None:
            self.raise_pending()
        return self

    def end(self, *_: object) -> None:
        if self in self._running:
            self._running.remove(self)

    __exit__ = end

    def interrupt(self, error: Exception) -> None:
        self._error = error
        main_thread = threading.main_thread().ident
        if main_thread is not None:
            signal.pthread_kill(main_thread, SIGNAL)

    @classmethod
    def raise_pending(cls) -> None:
        for body in reversed(cls._running):
            if body._error is not None:
                cls._running.remove(body)
                raise body._error


def _on_signal(_number: int, _frame: Any) -> None:
    _InMainThread.raise_pending()


class _InThread:
    """Interrupted by the interpreter, which is told, and told to forget it, under one lock."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._runs = False
        self._error: Exception | None = None

    def __enter__(self) -> _InThread:
        with self._gate:
            self._runs = self._error is None
        if self._error is not None and not self._runs:
            raise self._error
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            self.end()
        except Exception as struck_late:  # noqa: BLE001 - only ours: nothing else is raised in there
            self.end()
            exc = struck_late
        if isinstance(exc, FromOutside) and self._error is not None:
            raise self._error from None

    def end(self) -> None:
        with self._gate:
            if self._runs:
                self._runs = False
                # Most runs are not interrupted. Python before 3.12 takes this call, too, for an error on its
                # way, and looks for one in every thread from then on, until some error arrives.
                if self._error is not None:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, None)

    def interrupt(self, error: Exception) -> None:
        with self._gate:
            if self._error is not None:
                return
            self._error = error
            if self._runs:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, ctypes.py_object(_like(error)))


class FromOutside:
    """Marks an error that the interpreter made itself."""


def _like(error: Exception) -> type[Exception]:
    """Return a class of errors like this one that need no arguments: the interpreter gives none."""
    kind = type(error)

    class Like(kind, FromOutside):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__(*error.args)

    Like.__name__ = Like.__qualname__ = kind.__name__
    return Like


class _InGreenlet:
    """Interrupted by its hub, which runs nothing else meanwhile."""

    def __init__(self, throw: Any) -> None:
        self._greenlet = sys.modules["greenlet"].getcurrent()
        self._throw = throw
        self._runs = False
        self._error: Exception | None = None

    def __enter__(self) -> _InGreenlet:
        if self._error is not None:
            raise self._error
        self._runs = True
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._runs = False

    def interrupt(self, error: Exception) -> None:
        self._throw(lambda: self._raise(error))

    def _raise(self, error: Exception) -> None:
        self._error = error
        if self._runs:
            self._runs = False
            self._greenlet.throw(error)


def _throw_in_gevent(raise_there: Any) -> None:
    sys.modules["gevent"].get_hub().loop.run_callback_threadsafe(raise_there)


def _throw_in_eventlet(raise_there: Any) -> None:
    sys.modules["eventlet.hubs"].get_hub().schedule_call_global(0, raise_there)


def _is_patched(module: str, question: str, name: str) -> bool:
    """Whether a monkey-patching library is in use; it is not imported to find out."""
    patcher = sys.modules.get(module)
    return patcher is not None and bool(getattr(patcher, question)(name))
