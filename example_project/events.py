"""What happened and when: one JSON line for each event, from all processes in one file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

#: The environment variable that names the file; without it nothing is written.
EVENTS_FILE = "EXAMPLE_EVENTS"


@dataclass(frozen=True)
class Event:
    """One line of the file.

    Attributes:
        at: Seconds on the host's monotonic clock, which all its processes share.
        kind: ``ready``, ``published``, ``ticked``, ``skipped``, ``batch``, ``started``, ``rows``,
            ``finished``, ``failed``, ``changed`` or ``killed``.
        run: Id of the task; empty for events of a whole program.
        rows: Rows written so far by this run.
        name: What ran, or which program did it.
        group: What it belongs to: a batch, a due time.
    """

    at: float
    kind: str
    run: str = ""
    rows: int = 0
    name: str = ""
    group: str = ""


def record(kind: str, run: str = "", rows: int = 0, *, name: str = "", group: str = "") -> None:
    """Append one event to the file that the environment names, if any."""
    path = os.environ.get(EVENTS_FILE)
    if path:
        append(Path(path), Event(time.monotonic(), kind, run, rows, name, group))


def append(path: Path, event: Event) -> None:
    """Append one event; a single short write in append mode, so lines never mix."""
    line = json.dumps(asdict(event)) + "\n"
    with path.open("ab", buffering=0) as file:
        file.write(line.encode())


@contextmanager
def recorded_run(run: str, *, name: str = "", group: str = "") -> Iterator[None]:
    """Record when the body begins and how it ends."""
    record("started", run, name=name, group=group)
    try:
        yield
    except BaseException:
        record("failed", run)
        raise
    record("finished", run)


def read(path: Path) -> list[Event]:
    """Return the complete lines of the file, in order of time; none when there is no file yet."""
    if not path.exists():
        return []
    complete = path.read_text().rpartition("\n")[0]
    return sorted((Event(**json.loads(line)) for line in complete.splitlines()), key=lambda event: event.at)
