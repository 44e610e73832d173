"""Schedules: rules about beats, and about entries that come more often than their runs can follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..config.plan import Planned
from ..config.schedule import Entry, entries_of
from ..observing.statistics import EntryNumbers
from .finding import Problem
from .history import History
from .intervals import ROOM, line_to_paste, next_round_s
from .wording import names, seconds

#: A share of skipped ticks up to this is no finding.
SKIPPED_SHARE = 0.05
#: What is done about a busy lock so that the due time has no run. One that is merged has that of another.
SKIPPING = ("skip", "fail", "not_published")
#: So many due times, or runs, are needed to say something.
ENOUGH = 10
LOCKED_BEAT = "celery -A APP beat -S celery_redislock.beat:LockedScheduler"


def two_beats(seen: History) -> Iterator[Problem]:
    """RL110: two beats send beside each other, and at most one of them locks."""
    tasks: dict[tuple[str, str], set[str]] = {}
    for task, numbers in seen.last_day.beats.items():
        for pair in numbers.counts:
            tasks.setdefault(pair, set()).add(task)
    for (kind, origins), sent in sorted(tasks.items()):
        which = "only one of them is a LockedScheduler" if kind == "mixed" else "none is a LockedScheduler"
        yield Problem(
            f"two beats run at once, {origins.replace(' ', ' and ')}, and {which}: each due time of "
            f"{names(sent)} is sent twice",
            f"{LOCKED_BEAT} # each of them; or stop one",
        )


def runs_overlap(seen: History) -> Iterator[Problem]:
    """RL111: a task without a lock takes longer than its schedule waits."""
    for task, entry in _most_frequent(seen.configured.app).items():
        runs = seen.statistics.task(task)
        p95_s = runs.percentile("run", 0.95)
        if _has_lock(seen, task) or p95_s is None or runs.samples("run") < ENOUGH:
            continue
        if p95_s > entry.interval_s > 0:
            yield Problem(
                f"{task} has no lock, and its runs overlap: entry {entry.name!r} comes every "
                f"{seconds(entry.interval_s)}, and p95 of {runs.samples('run')} runs is {seconds(p95_s)}",
                f'@locked_task(lock_on_conflict="skip") # in place of the decorator of {task}',
            )


def _most_frequent(app: Any) -> dict[str, Entry]:
    """Return for each scheduled task the entry that comes most often."""
    found: dict[str, Entry] = {}
    for entry in entries_of(app):
        there = found.get(entry.task_name)
        if there is None or entry.interval_s < there.interval_s:
            found[entry.task_name] = entry
    return found


def _has_lock(seen: History, task: str) -> bool:
    known = seen.configured.app.tasks.get(task)
    return isinstance(known, Planned) and known.plan_for().runs_locked


def skips(seen: History) -> Iterator[Problem]:
    """RL112: many due times of an entry are skipped, since the run before still has the lock."""
    entries = seen.configured.app.conf.beat_schedule or {}
    for name, numbers in sorted(seen.statistics.entries.items()):
        skipped = sum(numbers.count("skipped", action) for action in SKIPPING)
        come = max(numbers.ticks("sent"), numbers.begun + skipped)
        if come >= ENOUGH and skipped > SKIPPED_SHARE * come:
            sent, lost = numbers.ticks("sent"), numbers.ticks("lost")
            counts = (
                f"entry {name!r} skips {skipped / come:.0%}: {sent + lost} due, {sent} sent, "
                f"{numbers.begun} begun, {skipped} skipped; {_times(numbers)}"
            )
            yield _of_skips(name, numbers, counts, entries.get(name))


def _of_skips(name: str, numbers: EntryNumbers, counts: str, declared: Any) -> Problem:
    run_s, wait_s = numbers.percentile("run", 0.95) or 0.0, numbers.percentile("wait", 0.95) or 0.0
    interval_s = numbers.interval_s
    if ROOM * run_s >= interval_s:
        when = declared.get("schedule") if declared else None
        return Problem(
            f"{counts}: its runs take too long for an interval of {seconds(interval_s)}",
            f"{line_to_paste(name, next_round_s(run_s), when)} "
            '# or lock_on_conflict="coalesce": one more run follows',
        )
    task = declared.get("task", "TASK") if declared else "TASK"
    if wait_s >= interval_s - run_s:
        return Problem(
            f"{counts}: its messages wait too long for a worker",
            f'app.conf.task_routes = {{"{task}": {{"queue": "scheduled"}}}}'
            " # and start a worker with -Q scheduled, or more workers",
        )
    return Problem(
        f"{counts}: other calls of {task} have the lock",
        f'lock_on_conflict="coalesce" # on {task}; or lock_wait={max(1, round(run_s))}',
    )


def _times(numbers: EntryNumbers) -> str:
    """Return p50 and p95 of wait and run."""
    told = []
    for kind in ("wait", "run"):
        median_s, most_s = numbers.percentile(kind, 0.5), numbers.percentile(kind, 0.95)
        if median_s is not None and most_s is not None:
            told.append(f"{kind} p50 {seconds(median_s)}, p95 {seconds(most_s)}")
    return "; ".join(told) or "no run has ended"
