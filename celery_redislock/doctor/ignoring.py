"""Ignoring: which rules a project has silenced, each with a reason that its people can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from celery import Celery

from ..config.settings import SETTINGS
from ..config.unknown_settings import spelled
from ..errors import ConfigurationError
from .rules import IDS

__all__ = ["ignored_by", "refuse_unknown"]

_SETTING = "redislock_doctor_ignore"


def ignored_by(app: Celery) -> Mapping[str, str]:
    """Return the reason for each rule that the settings silence.

    Raises:
        ConfigurationError: There is no such rule, or a reason is missing.
    """
    label = f"{spelled(app.conf, _SETTING)} setting"
    given = SETTINGS[_SETTING].of(app.conf)
    if not isinstance(given, Mapping):
        raise ConfigurationError(f'{label} must be a dict of reasons by id, such as {{"RL105": "a reason"}}')
    refuse_unknown(given, label)
    for rule, reason in given.items():
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigurationError(f"{label} must give a reason why {rule} is ignored")
    return dict(given)


def refuse_unknown(rules: Iterable[object], label: str) -> None:
    """Refuse ids of rules that there are not.

    Args:
        rules: The ids.
        label: Where they were given.

    Raises:
        ConfigurationError: There is no such rule.
    """
    for rule in rules:
        if rule not in IDS:
            raise ConfigurationError(f"{label}: there is no rule {rule!r}; there are {', '.join(IDS)}")
