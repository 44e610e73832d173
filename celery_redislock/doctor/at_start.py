"""At start: which findings a worker logs when it starts."""

from __future__ import annotations

from celery import Celery

from .configuration import Configuration
from .examination import Report
from .finding import ERROR, Finding
from .ignoring import ignored_by
from .live import Live
from .rule import CONFIG, LIVE
from .rules import RULES

__all__ = ["of_configuration", "of_servers"]

#: Of the configuration all errors are logged, and these: what is declared has no effect in this worker.
_WITHOUT_EFFECT = frozenset({"RL108", "RL109", "RL113"})
#: Of what runs now: one question for each server answers these.
_FITNESS = frozenset({"RL201", "RL202", "RL203", "RL204"})


def of_configuration(app: Celery) -> list[Finding]:
    """Return what a worker logs of its configuration.

    Args:
        app: Its tasks are imported.

    Raises:
        ConfigurationError: An option or a setting is wrong.
    """
    report = Report()
    report.add(CONFIG, Configuration(app))
    report.set_aside(ignored_by(app))
    return [each for each in report.findings if each.level == ERROR or each.id in _WITHOUT_EFFECT]


def of_servers(live: Live) -> list[Finding]:
    """Return what a worker logs of the servers of its locks."""
    report = Report()
    report.add(LIVE, live, [rule for rule in RULES if rule.id in _FITNESS])
    report.set_aside(ignored_by(live.configured.app))
    return report.findings
