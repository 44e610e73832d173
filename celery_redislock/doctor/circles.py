"""Circles: a rule about runs that wait for each other: none of them goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..engine import Inspection
from .finding import WARNING, Problem
from .live import Live
from .rule import CannotLook

__all__ = ["waits_for_itself"]


class Process(NamedTuple):
    """A process that holds locks, or waits for them."""

    host: str
    pid: str


class Wait(NamedTuple):
    """A process waits for a lock that another one holds.

    Attributes:
        waiter, holder: The processes.
        lock_name: The Redis key.
        text: Who waits, for people.
    """

    waiter: Process
    holder: Process
    lock_name: str
    text: str


def waits_for_itself(seen: Live) -> Iterator[Problem]:
    """RL403: each of some processes waits for a lock that the next one holds, the last for the first's."""
    circles = list(_circles([wait for lock in seen.contended for wait in _waits(lock)]))
    one_at_a_time = _one_at_a_time(seen) if circles else frozenset()
    for circle in circles:
        told = "; ".join(f"{wait.text} waits for {wait.lock_name}" for wait in circle)
        is_sure = one_at_a_time.issuperset(wait.waiter for wait in circle)
        if len(circle) == 1 and not is_sure:
            continue  # another thread of the same process waits: it is only the next in line
        yield Problem(
            f"each waits for a lock that the next one holds, so none goes on until its wait is over: {told}",
            f"celery -A APP locks release --force {circle[0].lock_name}",
            # Where a process runs several tasks at once, the one that holds may not be the one that waits.
            "" if is_sure else WARNING,
        )


def _waits(lock: Inspection) -> Iterator[Wait]:
    holder = _process_of(lock.holder.metadata)
    # A batch is held by no process, and a lock that is only kept by nobody.
    if holder is None or lock.is_kept or "call" in lock.holder.metadata:
        return
    for waiter in lock.line:
        process = _process_of(waiter.metadata)
        if process is not None:
            task, task_id = waiter.metadata.get("task", "-"), waiter.metadata.get("id", "-")
            text = f"{task}[{task_id}] in process {process.pid} on {process.host}"
            yield Wait(process, holder, lock.name, text)


def _process_of(metadata: Mapping[str, str]) -> Process | None:
    host, pid = metadata.get("host"), metadata.get("pid")
    return Process(host, pid) if host and pid else None


def _circles(waits: Iterable[Wait]) -> Iterator[tuple[Wait, ...]]:
    """Find each circle once, from whichever process it is entered."""
    from_process: dict[Process, list[Wait]] = {}
    for wait in waits:
        from_process.setdefault(wait.waiter, []).append(wait)
    told: set[frozenset[str]] = set()
    done: set[Process] = set()
    for start in from_process:
        for circle in _from(start, from_process, done):
            locks = frozenset(wait.lock_name for wait in circle)
            if locks not in told:
                told.add(locks)
                yield circle


def _from(
    start: Process, from_process: Mapping[Process, list[Wait]], done: set[Process]
) -> Iterator[tuple[Wait, ...]]:
    """Follow all waits from a process; each process is followed once in all.

    Args:
        start: Where to begin.
        from_process: The waits of each process.
        done: Those that were followed; it grows.
    """
    way: list[Wait] = []
    open_waits = [iter(from_process.get(start, ()))]
    visited = [start]
    while open_waits:
        wait = next(open_waits[-1], None)
        if wait is None:
            open_waits.pop()
            done.add(visited.pop())
            if way:
                way.pop()
        elif wait.holder in visited:
            yield (*way[visited.index(wait.holder) :], wait)
        elif wait.holder not in done:
            way.append(wait)
            visited.append(wait.holder)
            open_waits.append(iter(from_process.get(wait.holder, ())))


def _one_at_a_time(seen: Live) -> frozenset[Process]:
    """Return the processes that run one task at a time, as far as their workers say so."""
    try:
        workers = seen.workers
    except CannotLook:
        return frozenset()
    return frozenset(
        Process(str(worker.settings.get("host")), str(pid))
        for worker in workers
        for pid in worker.settings.get("processes", ())
    )
