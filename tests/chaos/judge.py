"""Judge: reads the journal of a run of chaos and says what the locks did wrong (pure)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from .history import Body, Interval, bodies_of, common
from .journal import Entry
from .network import LOSS

#: How long after the last possible end of its lease a lock may still be seen held, seconds: for a result
#: to be stored between the body's end and the release, and for the watch, which does not look all the time.
SLACK_S = 2.0


@dataclass
class Verdict:
    """What happened; the lists hold what must not, each with the evidence."""

    runs: int = 0
    tasks: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    overlaps_after_data_loss: int = 0
    overlaps_with_a_loser: int = 0
    writes: int = 0
    refused_writes: int = 0
    lost_by_the_broker: int = 0
    overlaps_of_believers: list[str] = field(default_factory=list)
    corrupted_writes: list[str] = field(default_factory=list)
    fencing_tokens_twice: list[str] = field(default_factory=list)
    stuck_locks: list[str] = field(default_factory=list)
    lost_tasks: list[str] = field(default_factory=list)

    @property
    def offences(self) -> list[str]:
        """All that must not happen."""
        return [
            *self.overlaps_of_believers,
            *self.corrupted_writes,
            *self.fencing_tokens_twice,
            *self.stuck_locks,
            *self.lost_tasks,
        ]


def judge(entries: Sequence[Entry], ttl_s: float) -> Verdict:
    """Judge a whole run.

    Args:
        entries: All that was reported: by the tasks, and by those who made the faults.
        ttl_s: The length of a lease, seconds.
    """
    bodies = list(bodies_of(entries).values())
    faults = Counter(entry["fault"] for entry in entries if "fault" in entry)
    verdict = Verdict(
        runs=len(bodies),
        outcomes=dict(Counter(body.outcome for body in bodies).most_common()),
        faults=dict(faults.most_common()),
    )
    _judge_overlaps(verdict, bodies, _losses(entries, ttl_s))
    _judge_writes(verdict, [entry for entry in entries if entry["what"] == "wrote"])
    _judge_fencing_tokens(verdict, bodies)
    _judge_locks(verdict, bodies, [e for e in entries if e["what"] == "seen"], ttl_s)
    _judge_tasks(verdict, bodies, entries)
    return verdict


def _losses(entries: Sequence[Entry], ttl_s: float) -> list[Interval]:
    """Return when two may believe at once: until the leases have ended that the server forgot."""
    return [(e["began"], e["at"] + ttl_s) for e in entries if e.get("fault") == LOSS]


def overlapping(bodies: Sequence[Body]) -> Iterator[tuple[Body, Body]]:
    """Give each two bodies of one key that were there at the same time."""
    present: dict[str, list[Body]] = defaultdict(list)
    for body in sorted(bodies, key=lambda body: body.start):
        still_there = [other for other in present[body.key] if other.last_moment > body.start]
        for other in still_there:
            yield other, body
        present[body.key] = [*still_there, body]


def _judge_overlaps(verdict: Verdict, bodies: Sequence[Body], losses: Sequence[Interval]) -> None:
    for first, second in overlapping(bodies):
        both = common(first, second)
        if not both:
            verdict.overlaps_with_a_loser += 1
        elif all(_is_within(interval, losses) for interval in both):
            verdict.overlaps_after_data_loss += 1
        else:
            verdict.overlaps_of_believers.append(f"believed both at {both}: {first} and {second}")


def _is_within(interval: Interval, windows: Sequence[Interval]) -> bool:
    return any(since <= interval[0] and interval[1] <= until for since, until in windows)


def _judge_writes(verdict: Verdict, writes: Sequence[Entry]) -> None:
    """Look at the writes of each key in the order in which the resource took them."""
    largest: dict[str, int] = defaultdict(int)
    verdict.writes = len(writes)
    for write in writes:
        key, number = write["key"], write["fencing_token"]
        if not write["accepted"]:
            verdict.refused_writes += 1
        elif number < largest[key]:
            verdict.corrupted_writes.append(f"{key}: written with {number} after {largest[key]}: {write}")
        else:
            largest[key] = number


def _judge_fencing_tokens(verdict: Verdict, bodies: Iterable[Body]) -> None:
    """No two grants have the same number; one grant is one token, and one body."""
    seen: dict[tuple[str, int], Body] = {}
    for body in bodies:
        if body.fencing_token is None:
            continue
        first = seen.setdefault((body.key, body.fencing_token), body)
        if first is not body:
            verdict.fencing_tokens_twice.append(f"one fencing token for {first} and {body}")


def _judge_locks(verdict: Verdict, bodies: Iterable[Body], sightings: Sequence[Entry], ttl_s: float) -> None:
    by_token = {body.token: body for body in bodies}
    for seen in sightings:
        body = by_token.get(seen["token"])
        # Without a body it was taken by a process that died on the way there, or gave it back.
        begins_to_end = seen["at"] if body is None else body.end
        if seen["endless"] or (begins_to_end < inf and seen["last"] > begins_to_end + ttl_s + SLACK_S):
            verdict.stuck_locks.append(f"lock held from {seen['at']} to {seen['last']}: {seen}, {body}")


def _judge_tasks(verdict: Verdict, bodies: Iterable[Body], entries: Sequence[Entry]) -> None:
    publications: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry["what"] == "published":
            publications[entry["task"]].add(entry["publication"])
    settled = {entry["publication"] for entry in entries if entry["what"] in ("acknowledged", "queued")}
    states = {entry["task"]: entry for entry in entries if entry["what"] == "state"}
    done = {body.task for body in bodies if body.outcome == "done"}
    verdict.tasks = len(publications)
    for task, published in publications.items():
        state = states.get(task, {"state": "PENDING", "why": ""})
        if state["state"] == "SUCCESS" and task in done:
            continue
        if state["state"] not in ("SUCCESS", "FAILURE", "REVOKED") and published - settled:
            # Popped from its queue by a worker that died before it noted that: kombu's gap, not ours.
            verdict.lost_by_the_broker += 1
            continue
        ran = [body.outcome for body in bodies if body.task == task]
        verdict.lost_tasks.append(
            f"task {task} ended as {state['state']} {state['why']}: {len(published)} publications, runs {ran}"
        )
