"""Verdict: reads what the contenders wrote down, and says which promises were broken (pure)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import NamedTuple

from .ground import GROUNDS, READER, STRANGER, TTL_S, WRITER
from .ledger import ENDED, FAILED, GRANTED, WAITED, Record

#: No lock may be without a grant for so long while many ask for it, seconds: several dead waiters may stand
#: in line, a second each, behind a dead holder, while the clients are paused.
STUCK_S = 15.0
#: By how much the server's clock, cut to milliseconds, may make a window shorter, microseconds.
CUT_US = 2000


#: How late somebody may know of its grant and believe in it, seconds: it had its turn for one, and a lease.
LATE_S = 1.0 + TTL_S + 0.2
#: In place of a limit: nobody may take the lock.
PAUSED = 0


class Change(NamedTuple):
    """What was set as the limit of a lock at some time between two: None is nothing."""

    place: int
    limit: int | None
    sent_at: float
    done_at: float


class Grant(NamedTuple):
    """Somebody believed in its lock from `at` to `until`."""

    at: float
    until: float
    kind: int
    fencing_token: int
    contender: str


@dataclass
class Verdict:
    """What happened; `offences` must not, each with the evidence."""

    grants: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    errors: int = 0
    timed_out: int = 0
    most: dict[str, int] = field(default_factory=dict)
    longest_gap_s: float = 0.0
    offences: list[str] = field(default_factory=list)


def judge(
    ledgers: Mapping[str, Iterable[Record]],
    deaths: Mapping[str, float],
    began: float,
    ended: float,
    changes: Sequence[Change] = (),
) -> Verdict:
    """Judge a whole run.

    Args:
        ledgers: The records of each contender.
        deaths: When it was killed, of those that were.
        began, ended: When all were there.
        changes: Of the limits, in their order.
    """
    verdict, found = Verdict(), Counter[int]()
    grants: dict[int, list[Grant]] = defaultdict(list)
    for name, records in ledgers.items():
        for place, grant in _grants_of(name, records, deaths.get(name, inf), found):
            grants[place].append(grant)
    verdict.grants, verdict.errors, verdict.timed_out = found[GRANTED], found[FAILED], found[WAITED]
    verdict.kinds = dict(
        Counter(_kind(grant.kind) for place in grants.values() for grant in place).most_common()
    )
    for place, ground in enumerate(GROUNDS):
        of_lock = sorted(grants[place])
        in_force = InForce([change for change in changes if change.place == place])
        verdict.most[ground.name] = _judge_company(verdict, ground.name, of_lock, in_force)
        _judge_fencing_tokens(verdict, ground.name, of_lock)
        _judge_gaps(verdict, ground.name, [began, *(grant.at for grant in of_lock), ended])
        if ground.min_hold_ms:
            _judge_window(verdict, ground.name, of_lock, ground.min_hold_ms)
    return verdict


def _grants_of(
    name: str, records: Iterable[Record], died: float, found: Counter[int]
) -> Iterator[tuple[int, Grant]]:
    """Give each grant with its place; who was killed believes in nothing any more."""
    open_grants: dict[int, Record] = {}
    for record in records:
        found[record.what] += 1
        if record.what == GRANTED:
            open_grants[record.grant] = record
        elif record.what == ENDED:
            begun = open_grants.pop(record.grant)
            yield begun.ground, Grant(begun.at, record.until, begun.kind, begun.fencing_token, name)
    for begun in open_grants.values():
        until = min(begun.until, died)
        yield begun.ground, Grant(begun.at, until, begun.kind, begun.fencing_token, name)


class InForce:
    """Which limits of a lock may have been in force when.

    Args:
        changes: In their order.
    """

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = [Change(0, None, -inf, -inf), *changes]
        self._ends = [*(change.done_at for change in changes), inf]

    def limit_of(self, grant: Grant) -> float:
        """Return the largest limit with which this one may have come in."""
        first = bisect_left(self._ends, grant.at - LATE_S)
        last = bisect_left(self._changes, grant.at, key=lambda change: change.sent_at)
        limits = [change.limit for change in self._changes[first:last]]
        return max(_limit(grant) if limit is None else limit for limit in limits)


def _judge_company(verdict: Verdict, name: str, grants: Sequence[Grant], in_force: InForce) -> int:
    """Look at who is there whenever somebody comes; return how many were there at most.

    Of those that share a lock at one time, the last that came in had a limit of at least their number.
    """
    present: list[Grant] = []
    most = 0
    for grant in grants:
        if grant.until <= grant.at:
            continue
        if grant.kind != STRANGER and in_force.limit_of(grant) == PAUSED:
            verdict.offences.append(f"{name}: somebody came in while it was paused: {grant}")
        present = [other for other in present if other.until > grant.at]
        alone = [other for other in present if other.kind in (WRITER, STRANGER)]
        if alone or (present and grant.kind in (WRITER, STRANGER)):
            verdict.offences.append(f"{name}: somebody who has it alone is beside others: {grant}, {present}")
        present.append(grant)
        most = max(most, len(present))
        if not alone and len(present) > 1 and len(present) > max(map(in_force.limit_of, present)):
            verdict.offences.append(f"{name}: {len(present)} hold it, more than the limit: {present}")
    return most


def _limit(grant: Grant) -> float:
    return inf if grant.kind == READER else 1 if grant.kind in (WRITER, STRANGER) else grant.kind


def _judge_fencing_tokens(verdict: Verdict, name: str, grants: Sequence[Grant]) -> None:
    times = Counter(grant.fencing_token for grant in grants if grant.fencing_token)
    verdict.offences += [f"{name}: fencing token {token} came twice" for token, n in times.items() if n > 1]


def _judge_gaps(verdict: Verdict, name: str, moments: Sequence[float]) -> None:
    gap, since = max((after - before, before) for before, after in pairwise(moments))
    verdict.longest_gap_s = max(gap, verdict.longest_gap_s)
    if gap > STUCK_S:
        verdict.offences.append(f"{name}: stuck for {gap:.1f} s from {since}")


def _judge_window(verdict: Verdict, name: str, grants: Sequence[Grant], window_ms: int) -> None:
    """A fencing token is the time of the grant, on the server's clock."""
    starts = sorted(grant.fencing_token for grant in grants)
    for first, grant in zip(starts, starts[grants[0].kind :] if grants else [], strict=False):
        if grant - first < window_ms * 1000 - CUT_US:
            verdict.offences.append(f"{name}: more began within {grant - first} us than the limit")


def _kind(kind: int) -> str:
    words = {WRITER: "alone", STRANGER: "alone, with SET NX PX", READER: "shared"}
    return words.get(kind, f"limit {kind}")
