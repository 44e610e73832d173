"""Callables: functions that a user gives as lock options, checked, and told as text."""

from __future__ import annotations

import inspect
from typing import Any

from ..errors import ConfigurationError

__all__ = ["path_of", "refuse_method"]


def path_of(function: Any) -> str:
    """Return a function, or another callable, by its path."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def refuse_method(value: Any, label: str) -> None:
    """Refuse a function that takes ``self``: it is called with the arguments of the task alone.

    Raises:
        ConfigurationError: It takes it.
    """
    if inspect.isfunction(value) and [*inspect.signature(value).parameters][:1] == ["self"]:
        raise ConfigurationError(
            f"{label} is a method with self, but is called without it: make it a @staticmethod"
        )
