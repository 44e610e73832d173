"""Promises: the tests of the contract as functions of a `Trial`, to be asked in other places too."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import ModuleType

from . import test_exclusion, test_fencing, test_lease, test_loss, test_lost_replies, test_waiting

Promise = Callable[..., None]

SAFETY: tuple[ModuleType, ...] = (test_exclusion, test_lease, test_lost_replies, test_fencing)
CONTRACT: tuple[ModuleType, ...] = (*SAFETY, test_loss, test_waiting)


def promises_of(modules: Iterable[ModuleType]) -> list[Promise]:
    """List the tests of some modules."""
    return [test for module in modules for name, test in vars(module).items() if name.startswith("test_")]


def takes_a_trial_alone(promise: Promise) -> bool:
    """Whether a test needs nothing but a `Trial`."""
    return list(inspect.signature(promise).parameters) == ["trial"]
