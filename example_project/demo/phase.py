"""Phase: a fresh database, workers, two beats; what they do is said by the phases of the demo."""

from __future__ import annotations

import os
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis
from sqlalchemy.exc import SQLAlchemyError

from .. import database, events, monitoring
from ..events import EVENTS_FILE, Event
from .processes import CannotRun, Programs

BEATS = ("beat-1", "beat-2")

#: Tasks that the worker can run at once.
PROCESSES = 4

#: Seconds.
READY_WITHIN = 40.0
DONE_WITHIN = 150.0
_LOOK_EVERY = 0.1


@dataclass(frozen=True)
class Phase(ABC):
    """One phase of the demo.

    Attributes:
        title: What the phase is called.
        mode: `redislock_mode` of worker and beats.
        redis_url: The server; the phase's keys are removed afterwards.
        directory: For the database, the beats' schedules, the log files and the events.
        on_events: Told all events so far, several times a second.
    """

    title: str
    mode: str
    redis_url: str
    directory: Path
    on_events: Callable[[Sequence[Event]], None]

    def play(self) -> Sequence[Event]:
        """Run the phase to its end and return all that happened.

        Raises:
            CannotRun: A program ended or hung.
        """
        self.directory.mkdir(parents=True)
        namespace = f"redislock-demo:{uuid.uuid4().hex}:"
        self._empty_database()
        try:
            with Programs(self._environment(namespace), self.directory) as programs:
                for name, arguments in self.workers().items():
                    quiet = ("--loglevel=info", "--without-gossip", "--without-mingle")
                    programs.celery(name, "worker", f"--hostname={name}@%h", *quiet, *arguments)
                self.wait(programs, self._is_ready, READY_WITHIN, "the workers did not start")
                self.act(programs)
        finally:
            _remove_keys(self.redis_url, namespace)
        return events.read(self.events_file)

    @abstractmethod
    def act(self, programs: Programs) -> None:
        """Do what the phase is about; the workers are ready."""

    def workers(self) -> dict[str, Sequence[str]]:
        """Return the workers by their names, each with its arguments."""
        return {"worker": [f"--concurrency={PROCESSES}"]}

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Return what this phase adds to the environment of its programs."""

    def start_beat(self, programs: Programs, name: str, *arguments: str) -> None:
        """Start a beat whose events carry this name."""
        schedule = str(self.directory / f"{name}-schedule")
        own = {monitoring.PROGRAM: name}
        programs.celery(name, "beat", f"--schedule={schedule}", "--pidfile=", *arguments, environment=own)

    def wait(
        self,
        programs: Programs,
        condition: Callable[[Sequence[Event]], bool],
        within: float,
        failure: str,
    ) -> None:
        """Look at the events until they fulfil the condition, for `within` seconds."""
        deadline = time.monotonic() + within
        while not condition(seen := events.read(self.events_file)):
            programs.check()
            if time.monotonic() > deadline:
                raise CannotRun(f"{failure} within {within:.0f} s (logs: {self.directory})")
            self.on_events(seen)
            time.sleep(_LOOK_EVERY)
        self.on_events(seen)

    @property
    def events_file(self) -> Path:
        """Where the programs write what happens."""
        return self.directory / "events.jsonl"

    @property
    def database_url(self) -> str:
        """The database of the phase."""
        in_a_file = f"sqlite:///{self.directory / 'flights.sqlite3'}"
        return os.environ.get("DATABASE_URL") or in_a_file

    def _is_ready(self, seen: Sequence[Event]) -> bool:
        return sum(event.kind == "ready" for event in seen) >= len(self.workers())

    def _empty_database(self) -> None:
        try:
            database.recreate_tables(self.database_url)
        except SQLAlchemyError as error:
            raise CannotRun(f"the database cannot be used: {error}") from error

    def _environment(self, namespace: str) -> dict[str, str]:
        return {
            "REDISLOCK_URL": self.redis_url,
            "REDISLOCK_MODE": self.mode,
            "DATABASE_URL": self.database_url,
            "EXAMPLE_NAMESPACE": namespace,
            EVENTS_FILE: str(self.events_file),
            # A worker that is killed leaves its temporary files: they go with the directory.
            "TMPDIR": str(self.directory),
            **self.settings(),
        }


def ids(seen: Sequence[Event], *kinds: str) -> set[str]:
    """Return the ids of the runs that have an event of one of these kinds."""
    return {event.run for event in seen if event.kind in kinds}


def _remove_keys(url: str, namespace: str) -> None:
    # A server that has gone has taken the keys along.
    with suppress(redis.ConnectionError), redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f"*{namespace}*", count=1000):
            client.unlink(key)
