"""Durations: seconds or timedelta at the door, whole milliseconds inside."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from .errors import ConfigurationError

#: Milliseconds; Redis refuses expiries that overflow its 64-bit clock, and nobody waits a thousand years.
MAXIMUM_MS = 1000 * 365 * 24 * 3600 * 1000

#: As users give one.
Duration = float | timedelta

#: Where Redis counts its time from.
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def to_ms(value: object, name: str, *, minimum_ms: int = 1) -> int:
    """Convert a duration given by a user.

    Args:
        value: Seconds (int or float) or a timedelta.
        name: What the user calls it, for the message.
        minimum_ms: The least that is accepted, in milliseconds: 1, or 0 where "not at all" makes sense.

    Raises:
        ConfigurationError: It is anything else: not a number, a bool, negative, infinite, too small.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, timedelta):
        seconds = value.total_seconds()
    else:
        raise ConfigurationError(
            f"{name} must be a number of seconds or a timedelta, not {type(value).__name__}"
        )
    # Not a number, it is in no range either.
    if not minimum_ms <= seconds * 1000 <= MAXIMUM_MS:
        least = f"at least {minimum_ms / 1000:g} s"
        raise ConfigurationError(f"{name} must be {least} and at most a thousand years, not {seconds} s")
    return round(seconds * 1000)
