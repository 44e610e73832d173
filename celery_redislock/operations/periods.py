"""Periods: lengths of time as people write them on a command line: 30m, 12h, 7d."""

from __future__ import annotations

import re

import click

__all__ = ["period_s"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def period_s(_context: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of a period, None where none is given: the callback of an option.

    Raises:
        click.BadParameter: It is none.
    """
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)([smhd])", value)
    if not found or not int(found[1]):
        raise click.BadParameter(f"{value!r} is no length of time: write 30m, 12h or 7d")
    return float(int(found[1]) * _UNITS[found[2]])
