"""Rows: the tables of ``docs/explanation/ends.md``, and which test shows which row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., Any])

POOLS = ("prefork", "threads", "solo", "gevent", "eventlet")


@dataclass(frozen=True)
class Row:
    """What happens to a run, and what becomes of it."""

    happens: str
    state: str
    free: str
    equal: str
    pools: tuple[str, ...]

    def __str__(self) -> str:
        where = "all" if self.pools == POOLS else ", ".join(self.pools)
        return f"| {self.happens} | {self.state} | {self.free} | {self.equal} | {where} |"


HEAD = "| what happens | result state | lock free after | an equal call | pools |"

_AT_ONCE = "at once"
_RUNS = "runs"
_ALL = POOLS
_PREFORK = ("prefork",)

ROWS: dict[str, Row] = {
    "returns": Row("the body returns", "SUCCESS", _AT_ONCE, _RUNS, _ALL),
    "raises": Row("the body raises", "FAILURE", _AT_ONCE, _RUNS, _ALL),
    "soft limit": Row("soft time limit, not caught by the body", "FAILURE", _AT_ONCE, _RUNS, _PREFORK),
    "soft limit, caught": Row(
        "soft time limit, caught by the body",
        "that of the body",
        "at once, when the body ends",
        _RUNS,
        _PREFORK,
    ),
    "retry": Row("`self.retry()`", "RETRY", "before the retry is published", _RUNS, _ALL),
    "autoretry": Row("`autoretry_for`", "RETRY", "before the retry is published", _RUNS, _ALL),
    "ignore": Row("`raise Ignore`", "none is stored", _AT_ONCE, _RUNS, _ALL),
    "reject": Row("`raise Reject`", "FAILURE; none is stored before Celery 5.7", _AT_ONCE, _RUNS, _ALL),
    "replace": Row("`self.replace(...)`", "that of the replacement", "before it is published", _RUNS, _ALL),
    "exit": Row(
        "`sys.exit()`",
        "FAILURE (`WorkerLostError`) with prefork; with other pools none is stored",
        _AT_ONCE,
        _RUNS,
        _ALL,
    ),
    "terminate": Row("`revoke(terminate=True)`", "REVOKED", _AT_ONCE, _RUNS, _PREFORK),
    "terminate a greenlet": Row(
        "`revoke(terminate=True)`", "REVOKED or none", _AT_ONCE, _RUNS, ("gevent", "eventlet")
    ),
    "terminate by SIGKILL": Row(
        '`revoke(terminate=True, signal="SIGKILL")`',
        "REVOKED",
        "at most 6 s, usually at once",
        _RUNS,
        _PREFORK,
    ),
    "killed": Row(
        "the child process dies: SIGKILL, out of memory, `os._exit()`, segmentation fault",
        "FAILURE (`WorkerLostError`)",
        "at most 6 s, usually at once",
        _RUNS,
        _PREFORK,
    ),
    "hard limit": Row(
        "hard time limit",
        "FAILURE (`TimeLimitExceeded`)",
        "at most 2 s, and never before the process is dead, even if it ignores SIGTERM",
        _RUNS,
        _PREFORK,
    ),
    "hard limit of a greenlet": Row(
        "hard time limit", "FAILURE (`TimeLimitExceeded`)", _AT_ONCE, _RUNS, ("gevent",)
    ),
    "worker killed": Row(
        "the worker or its host dies",
        "unchanged; with late ack the message is delivered again",
        "the lease ends: at most `lock_ttl`",
        "runs after that",
        _ALL,
    ),
    "stopped": Row(
        "the process is frozen (SIGSTOP, a suspended machine) for longer than the lease",
        "FAILURE (`LockLost`)",
        "the lease ends",
        "runs after that; the frozen body learns of it when it wakes up",
        _ALL,
    ),
    "cut off": Row(
        "the worker cannot reach Redis for longer than the lease",
        "FAILURE (`LockLost`)",
        "the lease ends",
        "runs after that; the body has learned of it before",
        _ALL,
    ),
    "short outage": Row(
        "Redis is down for less than the lease while the body runs",
        "that of the body",
        "at once, when the body ends",
        _RUNS,
        _ALL,
    ),
    "taken by force": Row(
        "`locks release --force`, or the key is deleted",
        'FAILURE (`LockLost`); with `lock_on_lost="continue"` that of the body',
        _AT_ONCE,
        "runs at once; the first body learns of it within a third of `lock_ttl`",
        _ALL,
    ),
    "warm shutdown": Row(
        "warm shutdown (SIGTERM)", "that of the body", "at once, when the body ends", _RUNS, _ALL
    ),
    "soft shutdown": Row(
        "soft shutdown (`worker_soft_shutdown_timeout`, SIGQUIT); the body ends in time",
        "that of the body",
        "at once, when the body ends",
        _RUNS,
        ("prefork", "threads", "gevent", "eventlet"),
    ),
    "cold shutdown": Row(
        "cold shutdown",
        "with early ack RETRY, but the message is gone; with late ack unchanged, and the message is "
        "delivered again; Celery 5.4: FAILURE (`WorkerLostError`) or none, by the version of billiard",
        "at once, when the worker has stopped the body",
        _RUNS,
        _PREFORK,
    ),
    "cold shutdown of threads": Row(
        "cold shutdown", "that of the body", "at once, when the body ends", _RUNS, ("threads",)
    ),
    "cold shutdown of greenlets": Row(
        "cold shutdown",
        "none is stored",
        "at once, when the worker has stopped the body",
        _RUNS,
        ("gevent", "eventlet"),
    ),
    "cold shutdown of solo": Row(
        "cold shutdown, or soft shutdown: the body stands still until the time is over",
        "FAILURE (`NotImplementedError`)",
        "at once, when the worker has stopped the body",
        _RUNS,
        ("solo",),
    ),
    "redelivered, alive": Row(
        "delivered again while the first run is alive (`visibility_timeout`)",
        "that of the first run",
        "when the first run ends",
        "the second delivery is delayed until then, and dropped",
        _ALL,
    ),
    "redelivered, done": Row(
        "delivered again after the first run had finished",
        "unchanged",
        "not held",
        "the second delivery is dropped, within an hour ([a minute](#of-celery) if the message was "
        "acknowledged early) and if no other task has finished under this lock since; else it runs",
        _ALL,
    ),
    "redelivered, dead": Row(
        "delivered again after its worker died",
        "that of the second run",
        "when the second run ends",
        "the second delivery runs after the lease has ended; it is not skipped",
        _ALL,
    ),
    "redelivered, another": Row(
        "delivered again while another call holds the lock",
        "as `lock_on_conflict` says",
        "not held",
        "the second delivery does what `lock_on_conflict` says",
        _ALL,
    ),
    "away, retry": Row(
        'Redis cannot be reached before the body, `lock_on_error="retry"`',
        "RETRY, until it is back",
        "not held",
        "is retried too",
        _ALL,
    ),
    "away, fail": Row(
        'the same, `lock_on_error="fail"`', "FAILURE (`StoreUnavailable`)", "not held", "fails too", _ALL
    ),
    "away, run": Row(
        'the same, `lock_on_error="run"`',
        "that of the body",
        "not held",
        "runs at the same time, without a lock; the log says UNLOCKED",
        _ALL,
    ),
}


def shows(*rows: str) -> Callable[[Test], Test]:
    """Mark a test as the one that shows these rows."""
    for row in rows:
        if row not in ROWS:
            raise KeyError(row)

    def mark(test: Test) -> Test:
        test.rows = rows  # type: ignore[attr-defined]
        return test

    return mark
