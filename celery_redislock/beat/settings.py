"""Settings of beat: which scheduler is wrapped, which beats are one group, how long their lease is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import isclass
from typing import Any

from celery.beat import Scheduler
from celery.utils.imports import load_extension_class_names, symbol_by_name

from ..config.options import duration_ms
from ..config.settings import SETTINGS
from ..config.unknown_settings import spelled
from ..errors import ConfigurationError


@dataclass(frozen=True)
class BeatSettings:
    """The settings of beat, checked.

    Attributes:
        scheduler: The class that is wrapped.
        name: Beats of one name are one group.
        ttl_ms: Length of the leader's lease, milliseconds.
    """

    scheduler: type[Scheduler]
    name: str
    ttl_ms: int


def beat_settings(conf: Mapping[str, Any], wrapper: type[Scheduler]) -> BeatSettings:
    """Check the settings of beat.

    Args:
        conf: The settings of the app.
        wrapper: The scheduler that wraps another; it cannot wrap itself.

    Raises:
        ConfigurationError: One is wrong.
    """
    name = SETTINGS["redislock_beat_name"].of(conf)
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            f"{spelled(conf, 'redislock_beat_name')} setting must be a non-empty str such as 'beat'"
        )
    label = f"{spelled(conf, 'redislock_beat_ttl')} setting"
    ttl_ms = duration_ms(SETTINGS["redislock_beat_ttl"].of(conf), label, minimum_ms=1000)
    label = f"{spelled(conf, 'redislock_beat_scheduler')} setting"
    scheduler = _scheduler_class(SETTINGS["redislock_beat_scheduler"].of(conf), label)
    if issubclass(scheduler, wrapper):
        raise ConfigurationError(
            f"{label} must name the scheduler that LockedScheduler wraps, not LockedScheduler itself"
        )
    return BeatSettings(scheduler, name, ttl_ms)


def _scheduler_class(named: object, label: str) -> type[Scheduler]:
    if isinstance(named, str):
        try:
            named = symbol_by_name(named, aliases=_aliases())
        except Exception as error:
            raise ConfigurationError(f"{label} {named!r} cannot be imported: {error}") from error
    if not isclass(named) or not issubclass(named, Scheduler):
        raise ConfigurationError(
            f"{label} must name a subclass of celery.beat.Scheduler such as 'celery.beat:PersistentScheduler'"
        )
    return named


def _aliases() -> dict[str, str]:
    """Return the short names that packages give to their schedulers, as ``celery beat -S`` knows them."""
    named: Any = load_extension_class_names("celery.beat_schedulers")
    return dict(named)
