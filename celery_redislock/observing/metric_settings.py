"""Metric settings: which metrics an app wants, and where they are served."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

from celery import Celery

from ..config.settings import SETTINGS
from ..config.unknown_settings import spelled
from ..errors import ConfigurationError
from .metrics import HOLD_S

PROMETHEUS, OPENTELEMETRY = "prometheus", "opentelemetry"

#: The package that each word of `redislock_metrics` needs; our extra has the name of the word.
PACKAGES = {PROMETHEUS: "prometheus_client", OPENTELEMETRY: "opentelemetry.metrics"}


def wanted(app: Celery) -> tuple[str, ...]:
    """Return the words of `redislock_metrics`.

    Raises:
        ConfigurationError: One is unknown.
    """
    words = SETTINGS["redislock_metrics"].of(app.conf)
    if isinstance(words, list | tuple) and all(word in PACKAGES for word in words):
        return tuple(words)
    valid = ", ".join(f'"{word}"' for word in PACKAGES)
    raise ConfigurationError(f"{label(app, 'redislock_metrics')} must be a list of these words: {valid}")


def is_wanted(app: Celery, word: str) -> bool:
    """Whether `redislock_metrics` has a word; nothing is imported.

    Raises:
        ConfigurationError: It has one that is unknown.
    """
    return word in wanted(app)


def package_of(app: Celery, word: str) -> Any:
    """Import the package that a word of `redislock_metrics` needs, and return it.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return import_module(PACKAGES[word])
    except ImportError as error:
        raise ConfigurationError(
            f'{label(app, "redislock_metrics")} has "{word}", but {error.name or PACKAGES[word]} is not '
            f"installed: pip install celery-redislock[{word}]"
        ) from error


def port_of(app: Celery) -> int | None:
    """Return `redislock_metrics_port`; None: nothing is served. 0 is a free port.

    Raises:
        ConfigurationError: It is no port.
    """
    port = SETTINGS["redislock_metrics_port"].of(app.conf)
    if port is None or (isinstance(port, int) and not isinstance(port, bool) and 0 <= port < 2**16):
        return port
    raise ConfigurationError(f"{label(app, 'redislock_metrics_port')} must be a port: an int of 0 to 65535")


def hold_buckets_of(app: Celery) -> tuple[float, ...]:
    """Return the upper bounds of `redislock_hold_seconds`, seconds.

    Raises:
        ConfigurationError: They are no rising numbers above 0.
    """
    bounds = SETTINGS["redislock_metrics_hold_buckets"].of(app.conf)
    if bounds is None:
        return HOLD_S
    if isinstance(bounds, list | tuple) and bounds and all(map(_is_bound, bounds)):
        rising = tuple(map(float, bounds))
        if all(low < high for low, high in zip((0.0, *rising), rising, strict=False)):
            return rising
    raise ConfigurationError(
        f"{label(app, 'redislock_metrics_hold_buckets')} must be a list of rising numbers of seconds, "
        "such as [1, 10, 60, 600]"
    )


def check(app: Celery) -> None:
    """Check all settings of metrics, and that the packages they need are installed.

    Raises:
        ConfigurationError: One is wrong, or a package is missing.
    """
    port_of(app)
    hold_buckets_of(app)
    for word in wanted(app):
        package_of(app, word)


def _is_bound(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def label(app: Celery, name: str) -> str:
    """Return how messages call a setting."""
    return f"{spelled(app.conf, name)} setting"
