"""Traces: whether OpenTelemetry is told of an app's locks; without the setting nothing of it is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Any

from celery import Celery

from ..config.settings import SETTINGS
from ..config.unknown_settings import spelled
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .spans import Spans

__all__ = ["check", "destination_of", "in_trace_of", "traceparent_of"]


def destination_of(app: Celery) -> Spans | None:
    """Return what makes spans of events, or None.

    Raises:
        ConfigurationError: The setting is wrong, or OpenTelemetry is not installed.
    """
    return _spans(app).Spans() if _is_on(app) else None


def traceparent_of(app: Celery) -> Callable[[], str] | None:
    """Return what gives the place of the code that calls it in a trace, or None.

    A holder of a lock shows it to those who meet the lock. It never raises, and is empty where nothing is
    recorded.
    """
    spans = _spans_or_none(app)
    return None if spans is None else spans.traceparent


def in_trace_of(app: Celery, headers: Mapping[str, Any] | None) -> AbstractContextManager[object]:
    """Return a block that goes on in the trace of a message with these headers, if that is in one."""
    spans = _spans_or_none(app) if headers else None
    return nullcontext() if spans is None else spans.in_trace_of(headers)


def check(app: Celery) -> None:
    """Check the setting, and that what it needs is installed.

    Raises:
        ConfigurationError: As of `destination_of`.
    """
    if _is_on(app):
        _spans(app)


def _is_on(app: Celery) -> bool:
    is_on = SETTINGS["redislock_traces"].of(app.conf)
    if not isinstance(is_on, bool):
        raise ConfigurationError(
            f"{spelled(app.conf, 'redislock_traces')} setting must be True or False, "
            f"not {type(is_on).__name__}"
        )
    return is_on


def _spans_or_none(app: Celery) -> Any:
    """Return the module that makes spans; None: it is not asked for, or the setting is wrong.

    A worker does not start with a wrong setting; in another process ``receivers.py`` logs it. A lock does not
    depend on it.
    """
    try:
        return _spans(app) if _is_on(app) else None
    except ConfigurationError:
        return None


def _spans(app: Celery) -> ModuleType:
    try:
        # Only now: it imports OpenTelemetry.
        from . import spans
    except ImportError as error:
        raise ConfigurationError(
            f"{spelled(app.conf, 'redislock_traces')} setting is True, but {error.name or 'opentelemetry'} "
            "is not installed: pip install celery-redislock[opentelemetry]"
        ) from error
    return spans
