"""Limits: how many may hold a lock, changed by an operator while the system runs; ``celery locks limit``.

::

    from celery_redislock import limits

    limits.set(app, "api", 3, for_=3600, note="the API is slow")
    limits.pause(app, "api")
    limits.reset(app, "api")

What is set counts in place of the limits of the tasks, and of the locks of other programs, and survives their
restarts. Nobody who holds the lock loses it.
"""

from __future__ import annotations

import getpass
import os
import socket

from celery import Celery

from .config.provider import provider_of
from .durations import Duration, to_ms
from .engine import Limit, Limits
from .errors import ConfigurationError
from .pending.publish import publish_pending

__all__ = ["Limit", "get", "pause", "reset", "set"]

#: The longest note: those who are refused are told it, each time.
LONGEST_NOTE = 200


def set(  # noqa: A001 - limits.set
    app: Celery, name: str, n: int, for_: Duration | None = None, note: str = ""
) -> Limit:
    """Let at most so many share a lock, also where a task has no limit, or another one.

    A task that takes the lock alone needs no limit, and is not changed by one.

    Args:
        app: Whose lock.
        name: Of the lock, with or without the prefix.
        n: How many, at least 1.
        for_: How long that lasts, seconds or a `timedelta`; None: until it is changed.
        note: Why, for people.

    Returns:
        What is set now.

    Raises:
        ConfigurationError: An argument is wrong.
        StoreUnavailable: Redis could not be reached.
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ConfigurationError(f"n must be an int of at least 1, not {n!r}: limits.pause lets nobody in")
    key, kept = _limits_of(app, name)
    now_set = kept.set(n, _ms(for_), _who(), _checked(note))
    publish_pending(app, key)
    return now_set


def pause(app: Celery, name: str, for_: Duration | None = None, note: str = "") -> Limit:
    """Let nobody take a lock, alone or shared. Who holds it keeps it, and renews it.

    Calls that find the lock paused do what `lock_on_conflict` says; those that wait for it go on waiting.

    Args:
        app, name, for_, note: As of `set`.

    Returns:
        What is set now.

    Raises:
        ConfigurationError: An argument is wrong.
        StoreUnavailable: Redis could not be reached.
    """
    return _limits_of(app, name)[1].pause(_ms(for_), _who(), _checked(note))


def reset(app: Celery, name: str) -> Limit:
    """Take away what is set for a lock: the limit of each task counts again.

    Args:
        app, name: As of `set`.

    Returns:
        Nothing is set now.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    key, kept = _limits_of(app, name)
    now_set = kept.reset(_who())
    # While it was paused, nobody released it.
    publish_pending(app, key)
    return now_set


def get(app: Celery, name: str) -> Limit:
    """Return what is set for a lock.

    Args:
        app, name: As of `set`.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    return _limits_of(app, name)[1].get()


def _limits_of(app: Celery, name: str) -> tuple[str, Limits]:
    provider = provider_of(app)
    key = name if name.startswith(provider.prefix) else provider.lock_name(name)
    return key, Limits(provider.client, key)


def _ms(duration: Duration | None) -> int | None:
    return None if duration is None else to_ms(duration, "for_")


def _checked(note: str) -> str:
    if not isinstance(note, str) or len(note) > LONGEST_NOTE:
        raise ConfigurationError(f"note must be a str of at most {LONGEST_NOTE} characters")
    return note


def _who() -> str:
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a user without a name, as in many containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
