"""Examination: goes through the rules, layer by layer, and notes where it could not look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..config.all_off import is_off
from ..errors import StoreUnavailable
from .configuration import Configuration
from .finding import LEVELS, Finding
from .history import History
from .live import Live
from .rule import CONFIG, HISTORY, LIVE, CannotLook, Rule
from .rules import RULES

__all__ = ["NotLooked", "Report", "examine", "examine_configuration"]


@dataclass(frozen=True)
class NotLooked:
    """Where it could not be looked.

    Attributes:
        layer: "config", "live" or "history".
        why: For people, with the ids of the rules if it is only some of the layer.
    """

    layer: str
    why: str

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON types."""
        return {"layer": self.layer, "why": self.why}


@dataclass
class Report:
    """What the rules have found.

    Attributes:
        findings: The worst first.
        ignored: Those that are silenced, with the reason.
        not_looked: Where it could not be looked.
        is_redis_reached: False: Redis was asked, and did not answer.
    """

    findings: list[Finding] = field(default_factory=list)
    ignored: list[tuple[Finding, str]] = field(default_factory=list)
    not_looked: list[NotLooked] = field(default_factory=list)
    is_redis_reached: bool = True

    def add(self, layer: str, seen: object, rules: Iterable[Rule] = RULES) -> None:
        """Go through the rules of a layer.

        Args:
            layer: "config", "live" or "history".
            seen: What they look at.
            rules: The table.
        """
        missed: dict[str, list[str]] = {}
        for rule in rules:
            if rule.layer == layer:
                try:
                    self.findings += rule.findings(seen)
                except (CannotLook, StoreUnavailable) as error:
                    missed.setdefault(str(error), []).append(rule.id)
        self.not_looked += [NotLooked(layer, f"{why} ({', '.join(ids)})") for why, ids in missed.items()]

    def set_aside(self, reasons: Mapping[str, str]) -> None:
        """Put the findings of these rules among the ignored ones.

        Args:
            reasons: By id.
        """
        self.ignored += [(each, reasons[each.id]) for each in self.findings if each.id in reasons]
        self.findings = [each for each in self.findings if each.id not in reasons]
        self.findings.sort(key=lambda each: (LEVELS.index(each.level), each.id))


def examine_configuration(configured: Configuration, reasons: Mapping[str, str]) -> Report:
    """Go through the rules that need no network.

    Args:
        configured: What the app declares.
        reasons: Why rules are ignored, by id.

    Raises:
        ConfigurationError: An option or a setting is wrong.
    """
    report = Report()
    report.add(CONFIG, configured)
    report.set_aside(reasons)
    return report


def examine(configured: Configuration, reasons: Mapping[str, str], since_s: float) -> Report:
    """Go through all rules.

    Args:
        configured: What the app declares.
        reasons: Why rules are ignored, by id.
        since_s: How much of the history is looked at, seconds.

    Raises:
        ConfigurationError: An option or a setting is wrong.
    """
    report = Report()
    report.add(CONFIG, configured)
    if is_off(configured.app):
        report.not_looked.append(NotLooked(LIVE, "lock_mode is off for every task: no Redis is asked"))
    else:
        _examine_redis(report, configured, since_s)
    report.set_aside(reasons)
    return report


def _examine_redis(report: Report, configured: Configuration, since_s: float) -> None:
    try:
        live = Live(configured)
    except CannotLook as error:
        report.is_redis_reached = False
        report.not_looked += [NotLooked(layer, str(error)) for layer in (LIVE, HISTORY)]
        return
    report.add(LIVE, live)
    try:
        report.add(HISTORY, History.of(live, since_s))
    except (CannotLook, StoreUnavailable) as error:
        report.not_looked.append(NotLooked(HISTORY, str(error)))
