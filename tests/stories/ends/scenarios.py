"""Scenarios: the long parts of these tests, which wait most of the time and so are played side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar

import pytest

from .rows import POOLS

Test = TypeVar("Test", bound=Callable[..., Any])

#: Plays with a worker of its own; it is given the store's address, and fails by raising.
Scenario = Callable[[str], None]

#: What the tests ask for the end of a scenario.
Played = Mapping[str, "Future[None]"]

GREENLETS = ("gevent", "eventlet")

#: How many go on at a time: enough to hide the waiting, few enough for two cores.
AT_A_TIME = 5


def plays(**scenarios: Scenario) -> Callable[[Test], Test]:
    """Mark a test as one that needs these scenarios; they begin with the first test of its module."""

    def mark(test: Test) -> Test:
        test.plays = scenarios  # type: ignore[attr-defined]
        return test

    return mark


def in_each_pool(
    name: str, play: Callable[..., None], *, quick: Sequence[str], pools: Sequence[str] = POOLS, **given: Any
) -> Callable[[Test], Test]:
    """Mark a test, with the arguments `scenario` and `played`, as one that needs a scenario in each pool.

    Args:
        name: Of the scenario.
        play: Is given the store's address, `pool` and `given`.
        quick: Pools that are tested every time; the others are slow.
        pools: All pools in which it can happen.
        **given: More for `play`.
    """
    there = [pool for pool in pools if pool not in GREENLETS or find_spec(pool) is not None]
    scenarios = {f"{name}-{pool}": partial(play, pool=pool, **given) for pool in there}
    marks = [() if pool in quick else pytest.mark.slow for pool in there]
    cases = [pytest.param(key, id=key, marks=mark) for key, mark in zip(scenarios, marks, strict=True)]

    def mark(test: Test) -> Test:
        return pytest.mark.parametrize("scenario", cases)(plays(**scenarios)(test))

    return mark


def scenarios_of(item: Any) -> dict[str, Scenario]:
    """Return the scenarios that a test needs: the one that is its only parameter, or all."""
    scenarios: dict[str, Scenario] = getattr(getattr(item, "function", None), "plays", {})
    chosen = getattr(getattr(item, "callspec", None), "id", None)
    return {chosen: scenarios[chosen]} if chosen in scenarios else dict(scenarios)
