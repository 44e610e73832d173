"""Contest: processes that want the same lock, forked by an agent, and killed when the time is over."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkProcess
from typing import Any

#: Forked, because importing everything again fifty times takes longer than the contest.
fork = multiprocessing.get_context("fork")


@contextmanager
def processes(
    target: Callable[..., object], arguments: Sequence[tuple[Any, ...]]
) -> Iterator[list[ForkProcess]]:
    """Run one process for each tuple of arguments; kill those that are left at the end."""
    started: list[ForkProcess] = []
    try:
        for each in arguments:
            process = fork.Process(target=_mortal, args=(os.getpid(), target, each), daemon=True)
            process.start()
            started.append(process)
        yield started
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.join()


def threads(target: Callable[..., object], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Run one thread for each tuple of arguments in this process, until all have ended."""
    running = [threading.Thread(target=target, args=each) for each in arguments]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def end_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _mortal(parent: int, target: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    end_with_parent()
    if os.getppid() == parent:  # else it died before that
        target(*arguments)
