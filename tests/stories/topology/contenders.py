"""Contenders: a crew of processes that take one lock in turn, and write down what they believed and when."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...support.deadlines import eventually
from ...support.places import ROOT


@dataclass(frozen=True)
class Hold:
    """What one process believed about one grant.

    Attributes:
        member: Number of the process.
        fencing_token: Of the grant.
        begin: Before the process knew of it, by ``time.monotonic()``.
        end: When it last looked and still held the lock.
        was_lost: Whether it was told of a loss.
    """

    member: int
    fencing_token: int
    begin: float
    end: float
    was_lost: bool


class Crew:
    """Processes that hold one lock, one after the other, for as long as a ``with`` block.

    Args:
        url: Where the lock is.
        name: Of the lock.
        folder: For what they write down.
        members: How many.
        lock_class: ``module:class``.
        options: Of the lock.
    """

    def __init__(
        self,
        url: str,
        name: str,
        folder: Path,
        members: int = 4,
        lock_class: str = "celery_redislock:RedisLock",
        **options: Any,
    ) -> None:
        self._folder = folder
        self._members = range(members)
        self._command = [
            sys.executable,
            "-m",
            __name__,
            url,
            name,
            str(folder),
            lock_class,
            json.dumps(options),
        ]

    def __enter__(self) -> Crew:
        self._processes = [
            subprocess.Popen([*self._command, str(member)], cwd=ROOT) for member in self._members
        ]
        self.goes_on(within=40)
        return self

    def __exit__(self, *_: object) -> None:
        (self._folder / "stop").touch()
        try:
            for process in self._processes:
                process.wait(60)
        finally:
            for process in self._processes:
                process.kill()
                process.wait()

    def holds(self) -> list[Hold]:
        """Return all that was written down so far, in the order of the grants."""
        found = [Hold(member, *json.loads(line)) for member in self._members for line in self._lines(member)]
        return sorted(found, key=lambda hold: hold.begin)

    def goes_on(self, within: float) -> None:
        """Return when every process has held the lock once more.

        Raises:
            AssertionError: One is stuck.
        """
        before = [len(self._lines(member)) for member in self._members]

        def stuck() -> list[int]:
            return [member for member in self._members if len(self._lines(member)) <= before[member]]

        eventually(lambda: not stuck() or not self._are_alive(), within, "all should hold the lock once more")
        assert self._are_alive(), "a process has ended"
        assert not stuck(), f"stuck: {stuck()}"

    def _are_alive(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def _lines(self, member: int) -> list[str]:
        path = self._folder / f"{member}.holds"
        return path.read_text().split("\n")[:-1] if path.exists() else []


def overlaps(holds: list[Hold]) -> list[tuple[Hold, Hold]]:
    """Return who held the lock at the same time, as far as each could know."""
    found = []
    last: Hold | None = None
    for hold in holds:
        if last is not None and hold.begin < last.end:
            found.append((last, hold))
        if last is None or hold.end > last.end:
            last = hold
    return found


def main() -> None:
    """Take the lock again and again until told to stop."""
    from celery.utils.imports import symbol_by_name

    from celery_redislock import StoreUnavailable
    from celery_redislock.config.client import client_from_url

    url, name, folder, lock_class, options, member = sys.argv[1:]
    client = client_from_url(url, setting="url")
    stop, journal = Path(folder, "stop"), Path(folder, f"{member}.holds")
    lock = symbol_by_name(lock_class)(client, name, **json.loads(options))
    while not stop.exists():
        try:
            if not lock.acquire(blocking=True, timeout=5):
                continue
        except StoreUnavailable:
            continue
        begin = end = time.monotonic()
        number = lock.fencing_token
        if number is None:
            continue  # the answer came when the lease was over
        while not lock.lost and time.monotonic() < begin + 0.03:
            end = time.monotonic()
            time.sleep(0.002)
        was_lost = lock.lost
        with journal.open("a") as file:
            file.write(json.dumps([number, begin, end, was_lost]) + "\n")
        try:
            lock.release()
        except StoreUnavailable:
            continue


if __name__ == "__main__":
    main()
