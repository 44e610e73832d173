"""Tracing: makes this process ready to trace a thread, or to profile it."""

from __future__ import annotations

import ctypes
import threading


class _Delivered(Exception):
    """Raised in a thread from outside."""


def make_ready() -> None:
    """Take away the mark by which Python knows that an exception is on its way to some thread.

    The mark is one for the whole process. It stays when that thread has ended, or the exception was taken
    back; only the next exception that arrives takes it away. While it is there, a traced thread of Python
    3.11 does not get beyond the first line of a function (`CHECK_EVAL_BREAKER` in `DO_TRACING`, ``ceval.c``).
    """
    # A thread of its own: one that this thread has just started may pass for this thread.
    thread = threading.Thread(target=_raise_here)
    thread.start()
    thread.join()


def _raise_here() -> None:
    here = ctypes.c_ulong(threading.get_ident())
    try:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(here, ctypes.py_object(_Delivered))
        while True:
            pass
    except _Delivered:
        return
