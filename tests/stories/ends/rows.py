"""Rows: the operators' table of ``docs/explanation/ends.md``, and which test shows which row."""

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


HEAD = "| what happens | result state | lock free after | an equal task | pools |"

_AT_ONCE = "at once"
_RUNS = "runs"
_ALL = POOLS
_PREFORK = ("prefork",)

ROWS: dict[str, Row] = {
    "returns": Row("the body returns", "SUCCESS", _AT_ONCE, _RUNS, _ALL),
    "raises": Row("the body raises", "FAILURE", _AT_ONCE, _RUNS, _ALL),
    "soft limit": Row("soft time limit, not caught", "FAILURE", _AT_ONCE, _RUNS, _PREFORK),
    "soft limit, caught": Row(
        "soft time limit, caught", "as the body ends", "at once, when the body ends", _RUNS, _PREFORK
    ),
    "retry": Row("`self.retry()`", "RETRY", "before the retry is published", _RUNS, _ALL),
    "autoretry": Row("`autoretry_for`", "RETRY", "before the retry is published", _RUNS, _ALL),
    "ignore": Row("`raise Ignore`", "none is stored", _AT_ONCE, _RUNS, _ALL),
    "reject": Row("`raise Reject`", "FAILURE; none is stored before Celery 5.7", _AT_ONCE, _RUNS, _ALL),
    "replace": Row("`self.replace(...)`", "that of the replacement", "before it is published", _RUNS, _ALL),
    "exit": Row("`sys.exit()`", "FAILURE (`WorkerLostError`); none but with prefork", _AT_ONCE, _RUNS, _ALL),
    "terminate": Row("`revoke(terminate=True)`", "REVOKED", _AT_ONCE, _RUNS, _PREFORK),
    "terminate a greenlet": Row(
        "`revoke(terminate=True)`", "REVOKED or none", _AT_ONCE, _RUNS, ("gevent", "eventlet")
    ),
    "terminate by SIGKILL": Row(
        '`revoke(terminate=True, signal="SIGKILL")`',
        "REVOKED",
        "6 s at most, mostly at once",
        _RUNS,
        _PREFORK,
    ),
    "killed": Row(
        "the child dies: SIGKILL, out of memory, `os._exit()`, segmentation fault",
        "FAILURE (`WorkerLostError`)",
        "6 s at most, mostly at once",
        _RUNS,
        _PREFORK,
    ),
    "hard limit": Row(
        "hard time limit",
        "FAILURE (`TimeLimitExceeded`)",
        "2 s at most, and never before the body is dead, though it ignores SIGTERM",
        _RUNS,
        _PREFORK,
    ),
    "hard limit of a greenlet": Row(
        "hard time limit", "FAILURE (`TimeLimitExceeded`)", _AT_ONCE, _RUNS, ("gevent",)
    ),
    "worker killed": Row(
        "worker or host dies",
        "as it was; delivered again if late-acknowledged",
        "the end of the lease: `lock_ttl` at most",
        "runs after that",
        _ALL,
    ),
    "stopped": Row(
        "the process stands still (SIGSTOP, a suspended machine) for longer than the lease",
        "FAILURE (`LockLost`)",
        "the end of the lease",
        "runs after that; the body is told when it wakes up",
        _ALL,
    ),
    "cut off": Row(
        "worker and Redis of the locks cannot reach each other for longer than the lease",
        "FAILURE (`LockLost`)",
        "the end of the lease",
        "runs after that; the body was told before",
        _ALL,
    ),
    "short outage": Row(
        "Redis of the locks is away for less than the lease, while the body runs",
        "as the body ends",
        "at once, when the body ends",
        _RUNS,
        _ALL,
    ),
    "taken by force": Row(
        "`locks release --force`, or somebody deletes the key",
        'FAILURE (`LockLost`); with `lock_on_lost="continue"` as the body ends',
        _AT_ONCE,
        "runs at once, beside the body until that is told: a third of `lock_ttl` at most",
        _ALL,
    ),
    "warm shutdown": Row(
        "warm shutdown (SIGTERM)", "as the body ends", "at once, when the body ends", _RUNS, _ALL
    ),
    "soft shutdown": Row(
        "soft shutdown (`worker_soft_shutdown_timeout`, SIGQUIT), and the body ends in time",
        "as the body ends",
        "at once, when the body ends",
        _RUNS,
        ("prefork", "threads", "gevent", "eventlet"),
    ),
    "cold shutdown": Row(
        "cold shutdown (SIGQUIT)",
        "RETRY; late-acknowledged: as it was, and delivered again; "
        "before Celery 5.5: FAILURE (`WorkerLostError`) or none, by the version of billiard",
        "at once, when the body is ended",
        _RUNS,
        _PREFORK,
    ),
    "cold shutdown of threads": Row(
        "cold shutdown (SIGQUIT)", "as the body ends", "at once, when the body ends", _RUNS, ("threads",)
    ),
    "cold shutdown of greenlets": Row(
        "cold shutdown (SIGQUIT)",
        "none is stored",
        "at once, when the body is ended",
        _RUNS,
        ("gevent", "eventlet"),
    ),
    "cold shutdown of solo": Row(
        "cold shutdown, or soft shutdown: the body stands still until its time is over",
        "FAILURE (`NotImplementedError`)",
        "at once, when the body is ended",
        _RUNS,
        ("solo",),
    ),
    "redelivered, alive": Row(
        "delivered again while the first run lives (`visibility_timeout`)",
        "that of the first run",
        "when the first run ends",
        "is put off until then, and dropped",
        _ALL,
    ),
    "redelivered, done": Row(
        "delivered again after it was finished", "stays", "is not held", "is dropped", _ALL
    ),
    "redelivered, dead": Row(
        "delivered again after its worker died",
        "that of the second run",
        "when the second run ends",
        "runs after the end of the lease; is not skipped",
        _ALL,
    ),
    "redelivered, another": Row(
        "delivered again, and another task has the lock",
        "as `lock_on_conflict` says",
        "is not held",
        "as `lock_on_conflict` says",
        _ALL,
    ),
    "away, retry": Row(
        'Redis of the locks is away before the body, `lock_on_error="retry"`',
        "RETRY, until it is back",
        "is not held",
        "waits too",
        _ALL,
    ),
    "away, fail": Row(
        'the same, `lock_on_error="fail"`', "FAILURE (`StoreUnavailable`)", "is not held", "fails too", _ALL
    ),
    "away, run": Row(
        'the same, `lock_on_error="run"`',
        "as the body ends",
        "is not held",
        "runs beside it, UNLOCKED; the log says so",
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
