"""History: what the journal says of each run of a body (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from .journal import Entry

Interval = tuple[float, float]

#: A kill is written down before the signal is sent; seconds until nothing can begin any more.
SIGNALLED_S = 1.0


@dataclass
class Body:
    """One run of a body, from its start to its end, seconds on the clock of the journal.

    Attributes:
        end: When it ended, or its process was killed; infinite when nobody knows.
        outcome: "done", the name of an error, "killed" or "unknown".
        beliefs: (since when, until when) it believed that it holds the lock.
    """

    run: str
    task: str
    key: str
    token: str | None
    fencing_token: int | None
    pid: int
    group: int
    start: float
    end: float = inf
    outcome: str = "unknown"
    beliefs: list[Interval] = field(default_factory=list)

    def believes(self, at: float, until: float) -> None:
        """Take note that from now on it believed until then, and no more what it believed before."""
        self._cut(at)
        if until > at:
            self.beliefs.append((at, until))

    def ends(self, at: float, outcome: str) -> None:
        """Take note of the end; the first word counts."""
        if self.end == inf:
            self.end, self.outcome = at, outcome
            self._cut(at)

    def _cut(self, at: float) -> None:
        if self.beliefs:
            since, until = self.beliefs[-1]
            self.beliefs[-1] = since, max(since, min(until, at))

    @property
    def last_moment(self) -> float:
        """When it surely was still there: its end, or what it last believed."""
        if self.end < inf:
            return self.end
        return self.beliefs[-1][1] if self.beliefs else self.start


def bodies_of(entries: Sequence[Entry]) -> dict[str, Body]:
    """Read the journal; the bodies are in the order in which they began."""
    bodies: dict[str, Body] = {}
    for entry in sorted(entries, key=lambda entry: entry["at"]):
        what = entry["what"]
        if what == "started":
            bodies[entry["run"]] = _begun(entry)
        elif what == "believed":
            bodies[entry["run"]].believes(entry["at"], entry["until"])
        elif what == "ended":
            bodies[entry["run"]].ends(entry["at"], entry["outcome"])
    for kill in [entry for entry in entries if entry["what"] == "killed"]:
        for body in [body for body in bodies.values() if _befalls(kill, body)]:
            body.ends(max(kill["at"], body.start), "killed")
    return bodies


def _begun(entry: Entry) -> Body:
    names = ("run", "task", "key", "token", "fencing_token", "pid", "group")
    body = Body(**{name: entry[name] for name in names}, start=entry["at"])
    body.believes(entry["at"], entry["until"])
    return body


def _befalls(kill: Entry, body: Body) -> bool:
    """Whether the body was there, or began before the signal had come through."""
    is_named = body.pid in kill.get("pids", ()) or body.group == kill.get("group")
    return is_named and body.start < kill["at"] + SIGNALLED_S


def common(a: Body, b: Body) -> list[Interval]:
    """Return when both believed to hold the lock."""
    shared = [
        (max(since_a, since_b), min(until_a, until_b))
        for since_a, until_a in a.beliefs
        for since_b, until_b in b.beliefs
    ]
    return [(since, until) for since, until in shared if since < until]
