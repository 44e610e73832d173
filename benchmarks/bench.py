"""Bench: what a scenario works with: server, agents, settings, results, progress."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import redis
from rich.progress import Progress

from tests.support.servers import Server

from .counters import Counters, counters
from .crew import Agent, Crew
from .results import Results, Value


@dataclass(frozen=True)
class Settings:
    """How much is done.

    Attributes:
        rounds: How often each contender runs; None: as each scenario thinks best.
        quick: Short and small: to see that it works, not to believe the figures.
        contenders: Names of those that take part.
    """

    rounds: int | None
    quick: bool
    contenders: tuple[str, ...]

    def rounds_or(self, usual: int) -> int:
        """Return the number of rounds of a scenario."""
        return self.rounds or (1 if self.quick else usual)


@dataclass
class Bench:
    """One run of the benchmark, as a scenario sees it."""

    server: Server
    crew: Crew
    settings: Settings
    results: Results
    progress: Progress
    scenario: str = ""
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.client: redis.Redis = self.server.client()

    @property
    def port(self) -> int:
        """The server's port."""
        return self.server.port

    def choose(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that take part."""
        return [name for name in names if name in self.settings.contenders]

    def interleaved(
        self, contenders: Iterable[str], rounds: int, case: str = "", *, flush: bool = True
    ) -> Iterator[str]:
        """Give every contender once a round, in another order each time, as a rule on an empty server."""
        names = list(contenders)
        label = f"{self.scenario} {case}".strip()
        task = self.progress.add_task(label, total=rounds * len(names))
        for _ in range(rounds):
            for name in self._random.sample(names, len(names)):
                if flush:
                    self.client.flushall()
                yield name
                self.progress.advance(task)
        self.progress.update(task, visible=False)

    def agent(self, contender: str) -> Agent:
        """Return the contender's process."""
        return self.crew[contender]

    def counters(self) -> Counters:
        """Ask the server what it has done."""
        return counters(self.client)

    def leave_out(self, case: str, why: str) -> None:
        """Say that a case of the scenario cannot be measured here."""
        self.progress.console.print(f"left out: {self.scenario}, {case}: {why}", markup=False)
        self.results.facts.setdefault("left out", []).append(f"{self.scenario}, {case}: {why}")

    def add(self, case: str, contender: str, **measures: Value) -> None:
        """Keep one round of a contender."""
        self.results.add(self.scenario, case, contender, **measures)
