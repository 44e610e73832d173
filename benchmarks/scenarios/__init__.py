"""Scenarios: one module each, in the order of the report."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

#: Also the order in which they run.
NAMES = (
    "free_cycle",
    "shared_cycle",
    "handoff",
    "shared_waiting",
    "idle",
    "killed",
    "names",
    "memory",
    "ceiling",
    "bursts",
    "celery",
    "task_cost",
    "observing",
    "what_stays",
    "renewed",
)


class Scenario(Protocol):
    """What the module of a scenario has."""

    #: What the command line and the results call it.
    NAME: str
    #: Above its table, and the columns.
    TITLE: str
    COLUMNS: tuple[Column, ...]
    #: A plain text: what is done, and how to read it.
    __doc__: str | None

    def run(self, bench: Bench) -> None:
        """Measure all rounds of all contenders that take part."""


def scenario_of(name: str) -> Scenario:
    """Return the module."""
    module: Scenario = importlib.import_module(f"{__name__}.{name}")
    return module
