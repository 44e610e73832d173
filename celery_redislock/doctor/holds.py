"""Holds: rules about locks that keep nothing apart, that are lost, and that are held for too long."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from datetime import datetime

from ..engine import Inspection, inspect_all, server_time, store_of
from ..events import LOSS_REASONS
from ..observing.statistics import TaskNumbers
from .configuration import Declared
from .finding import WARNING, Problem
from .history import History
from .wording import rounded_up, seconds, times

#: So many runs are needed to say that a lock is never shared, and this share of them took one of their own.
MANY_RUNS, OF_THEIR_OWN = 200, 0.95
#: A hold is too long if it takes so many times p99 of the task, and longer than this, seconds.
TOO_LONG, AT_LEAST_S = 3, 300.0
#: Reasons that somebody wanted: by the policy "replace", and by a person.
WANTED = ("replaced", "forced")


def never_shared(seen: History) -> Iterator[Problem]:
    """RL120: nearly each run takes a lock of its own, so the lock keeps nothing apart."""
    for each in seen.configured.locked:
        if each.options.args is not None or each.options.key is not None:
            continue
        numbers = seen.statistics.task(each.name)
        runs, locks = numbers.count("acquired"), numbers.distinct_locks
        if runs >= MANY_RUNS and locks >= OF_THEIR_OWN * runs and not _has_met_a_busy_lock(numbers):
            yield Problem(
                f"{each.name} locks nothing: {runs} runs took {min(locks, runs)} different locks, and none "
                "met a busy one; its name has all arguments, perhaps a time or an id among them",
                f"lock_args={_arguments(each)} # without those that differ in each call",
            )


def _arguments(task: Declared) -> str:
    """Return the names of what a task takes, as a line of Python."""
    return json.dumps([*inspect.signature(task.task.run).parameters])


def _has_met_a_busy_lock(numbers: TaskNumbers) -> bool:
    met = numbers.count("conflicts") + numbers.count("shadow") + numbers.count("acquired", "waited")
    return met > 0


def lost(seen: History) -> Iterator[Problem]:
    """RL402: runs have lost their lock in the last day."""
    for name, numbers in sorted(seen.last_day.tasks.items()):
        counts = {reason: numbers.count("lost", reason) for reason in LOSS_REASONS if reason != "replaced"}
        told = [f"{count} {reason}" for reason, count in counts.items() if count]
        if not told:
            continue
        worst = max((reason for reason in counts if reason not in WANTED), key=lambda each: counts[each])
        is_trouble = counts[worst] > 0
        total = sum(counts.values())
        yield Problem(
            f"{name} has lost its lock {times(total)} in the last day: {', '.join(told)}",
            _cure_of_a_loss(worst, seen, name) if is_trouble else "nothing, if a person meant to do it",
            "" if is_trouble else WARNING,
        )


def _cure_of_a_loss(reason: str, seen: History, task: str) -> str:
    declared = next((each for each in seen.configured.locked if each.name == task), None)
    if reason == "expired":
        ttl_s = declared.options.ttl_ms / 1000 if declared else 30.0
        return f"lock_ttl={rounded_up(3 * ttl_s)} # its worker was stopped, or too busy to renew, for longer"
    if reason == "max_hold":
        hold_ms = declared.options.max_hold_ms if declared else None
        return f"lock_max_hold={rounded_up(2 * (hold_ms or 60_000) / 1000)} # or a body that ends sooner"
    if reason == "cut_off":
        return "lock_ttl=... # longer than Redis was away, which the workers' logs tell"
    return 'app.conf.redislock_prefix = "myapp:locks:" # another program deletes or overwrites these keys'


def is_too_long(held_s: float, p99_s: float) -> bool:
    """Tell whether something must be wrong with a run that has held its lock for so long.

    Args:
        held_s: For how long, seconds.
        p99_s: 99 % of the runs of its task hold it for less, seconds.
    """
    return held_s > max(AT_LEAST_S, TOO_LONG * p99_s)


def stuck(seen: History) -> Iterator[Problem]:
    """RL401: a run holds its lock for much longer than runs of its task do, and renews it."""
    declared = {each.name: each for each in seen.configured.locked}
    client, prefix = seen.live.client, seen.live.provider.prefix
    at = server_time(store_of(client), prefix + "*")
    for lock in inspect_all(client, prefix):
        task = declared.get(lock.holder.metadata.get("task", ""))
        if task is not None:
            yield from _if_stuck(seen, lock, task, at)


def _if_stuck(seen: History, lock: Inspection, task: Declared, at: datetime) -> Iterator[Problem]:
    holder = lock.holder
    p99_s = seen.statistics.task(task.name).percentile("hold", 0.99)
    if holder.since is None or p99_s is None or lock.is_kept:
        return
    held_s = (at - holder.since).total_seconds()
    is_renewed = holder.lease_left is not None and held_s > task.options.ttl_ms / 1000
    if is_renewed and is_too_long(held_s, p99_s):
        told = {**dict.fromkeys(("id", "host", "pid"), "-"), **holder.metadata}
        since = holder.since.isoformat(timespec="seconds")
        yield Problem(
            f"{task.name}[{told['id']}] on {told['host']}, pid {told['pid']}, has held {lock.name} for "
            f"{seconds(held_s)}, since {since}, and renews it; p99 of its runs is {seconds(p99_s)}: "
            "its body may be stuck",
            f"celery -A APP locks release --force {lock.name}",
        )
