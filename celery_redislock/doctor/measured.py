"""Measured: rules about durations that do not fit how long runs, waits and renewals really take."""

from __future__ import annotations

from collections.abc import Iterator

from .delivery import longer
from .finding import Problem
from .history import History
from .rule import CannotLook
from .wording import names, rounded_up, seconds, times

#: A renewal may come so many times as late as the latest one, before the lease ends.
ROOM_OF_A_LEASE = 3
#: Pools whose leases are renewed by a greenlet: it runs when the bodies wait.
GREEN_POOLS = ("gevent", "eventlet")
#: This share of the runs may lose their lock at `lock_max_hold`.
SHARE_OF_LONG_RUNS = 0.01
#: A percentile is right within this factor.
WITHIN = 1.1
#: So many runs are needed to say something about most of them.
ENOUGH = 10


def delivered_again(seen: History) -> Iterator[Problem]:
    """RL101: the broker delivers a message again while its run still goes on."""
    visible_s = seen.configured.visibility_s
    if visible_s is None:
        return
    for each in seen.configured.locked:
        p99_s = seen.statistics.task(each.name).percentile("hold", 0.99)
        if each.is_acknowledged_late and p99_s is not None and p99_s > visible_s:
            yield Problem(
                f"{each.name} holds its lock for {seconds(p99_s)} (p99 of its runs), but after a "
                f"visibility_timeout of {seconds(visible_s)} the broker delivers its message again",
                longer(seen.configured, 2 * p99_s),
            )


def reserved_too_long(seen: History) -> Iterator[Problem]:
    """RL102: messages that a worker has reserved grow old behind the runs before them."""
    visible_s, ahead = seen.configured.visibility_s, seen.configured.reserved_ahead
    if visible_s is None or ahead <= 1:
        return
    for each in seen.configured.locked:
        numbers = seen.statistics.task(each.name)
        p95_s = numbers.percentile("hold", 0.95)
        if p95_s is None or numbers.samples("hold") < ENOUGH or not each.is_acknowledged_late:
            continue
        if p95_s > visible_s / 4:
            yield Problem(
                f"a worker reserves {ahead:g} messages for each process, and {each.name} takes "
                f"{seconds(p95_s)} (p95 of its runs): the last one may wait there for longer than the "
                f"visibility_timeout of {seconds(visible_s)}",
                "app.conf.worker_prefetch_multiplier = 1",
            )


def lease_shorter_than_a_stall(seen: History) -> Iterator[Problem]:
    """RL105: the lease would end if a renewal came a little later than the latest did."""
    late_s = seen.statistics.engine.worst_late_s
    too_short = [
        each for each in seen.configured.locked if each.options.ttl_ms / 1000 < ROOM_OF_A_LEASE * late_s
    ]
    why, cure = _bodies_that_compute(seen) if too_short else ("", "")
    for each in too_short:
        yield Problem(
            f"a renewal was asked for {seconds(late_s)} late, and lock_ttl of {each.name} is "
            f"{seconds(each.options.ttl_ms / 1000)}: a stall that is a little longer loses its lock{why}",
            f"lock_ttl={rounded_up(ROOM_OF_A_LEASE * late_s)}{cure}",
        )


def _bodies_that_compute(seen: History) -> tuple[str, str]:
    """Return why a worker of greenlets renews late, and another cure; nothing if none answers.

    There the latest renewal tells how long a body has computed: nothing else runs meanwhile.
    """
    try:
        green = [worker for worker in seen.live.workers if worker.pool in GREEN_POOLS]
    except CannotLook:
        green = []
    if not green:
        return "", ""
    pools = " and ".join(sorted({worker.pool for worker in green}))
    return (
        f"; {names([worker.name for worker in green])} runs {pools}, where a body that computes without "
        "waiting holds up all renewals",
        " # or a queue of their own for tasks that compute, and a worker with -P prefork for it",
    )


def hold_shorter_than_runs(seen: History) -> Iterator[Problem]:
    """RL106: runs take longer than they may hold their lock."""
    for each in seen.configured.locked:
        numbers, hold_ms = seen.statistics.task(each.name), each.options.max_hold_ms
        p99_s = numbers.percentile("hold", 0.99)
        if hold_ms is None or p99_s is None:
            continue
        ended = numbers.count("lost", "max_hold")
        if p99_s > WITHIN * hold_ms / 1000 or ended > SHARE_OF_LONG_RUNS * numbers.count("acquired"):
            yield Problem(
                f"lock_max_hold of {each.name} is {seconds(hold_ms / 1000)}, p99 of its runs is "
                f"{seconds(p99_s)}, and {ended} runs have lost their lock by it",
                f"lock_max_hold={rounded_up(2 * max(p99_s, hold_ms / 1000))}",
            )


def publish_lock_shorter_than_the_queue(seen: History) -> Iterator[Problem]:
    """RL107: the publish lock of a message ends while the message still waits in its queue."""
    for each in seen.configured.locked:
        numbers, ttl_s = seen.statistics.task(each.name), each.options.queue_ttl_ms / 1000
        p99_s = numbers.percentile("queue", 0.99)
        if each.options.scope == "run" or p99_s is None or p99_s <= ttl_s:
            continue
        yield Problem(
            f"messages of {each.name} wait {seconds(p99_s)} in their queue (p99), and lock_queue_ttl is "
            f"{seconds(ttl_s)}: after that an equal call is published once more",
            f"lock_queue_ttl={rounded_up(2 * p99_s)}",
        )


def batch_shorter_than_its_waits(seen: History) -> Iterator[Problem]:
    """RL107: the lock of a batch ends while its members wait for a worker."""
    for name, numbers in sorted(seen.statistics.tasks.items()):
        if lapsed := numbers.count("lapsed"):
            yield Problem(
                f"{times(lapsed)} a batch had lost its lock when its member {name} began: for its lock_idle "
                f"of {seconds(numbers.idle_s)} none of its members ran, and another run may have begun",
                f"lock_idle={rounded_up(2 * numbers.idle_s)} # of the batch: longer than its members wait",
            )
