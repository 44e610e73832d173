"""Calls of an API: three at once, and no more in any window than it takes; without locks there are more."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from example_project.geocoding import AT_ONCE, find

from ..support.workers import running_worker

CALLS, WINDOW_S = 5, 2.0
#: A place is counted by the server's clock from when it was taken: a moment before the call begins.
SLACK_S = 0.2


def called(project: Celery, redis_url: str, mode: str) -> list[dict[str, Any]]:
    """Make twice as many calls as fit into one window, all at once; return them as they began."""
    env = {
        "REDISLOCK_URL": redis_url,
        "REDISLOCK_MODE": mode,
        "EXAMPLE_API_CALLS": str(CALLS),
        "EXAMPLE_API_WINDOW": str(WINDOW_S),
    }
    with running_worker("example_project.app", env=env, concurrency=AT_ONCE + 1):
        results = [find.delay(f"{number} Main Street") for number in range(2 * CALLS)]
        calls = [result.get(timeout=60) for result in results]
    return sorted(calls, key=lambda call: float(call["began"]))


def most_at_once(calls: list[dict[str, Any]]) -> int:
    """Return how many went on when one began, at most."""
    return max(sum(one["began"] <= call["began"] < one["ended"] for one in calls) for call in calls)


def most_in_a_window(calls: list[dict[str, Any]]) -> int:
    """Return how many began in a window, at most."""
    ends = [call["began"] + WINDOW_S - SLACK_S for call in calls]
    return max(
        sum(call["began"] <= other["began"] < end for other in calls)
        for call, end in zip(calls, ends, strict=True)
    )


def test_the_api_gets_as_much_as_it_takes(project: Celery, redis_url: str) -> None:
    calls = called(project, redis_url, "on")

    assert most_at_once(calls) <= AT_ONCE
    assert most_in_a_window(calls) == CALLS
    assert {call["connection"] for call in calls} <= set(range(AT_ONCE))


@pytest.mark.usefixtures("database_url")
def test_without_the_lock_it_gets_more(project: Celery, redis_url: str) -> None:
    """The control."""
    assert most_in_a_window(called(project, redis_url, "off")) > CALLS
