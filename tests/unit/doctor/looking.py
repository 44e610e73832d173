"""Looking: one rule of the table at a time, as the doctor applies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery

from celery_redislock.doctor.configuration import Configuration
from celery_redislock.doctor.finding import Finding
from celery_redislock.doctor.rule import CONFIG
from celery_redislock.doctor.rules import RULES

from ...support.applications import locked

__all__ = ["configured", "found_by", "task_of"]


def found_by(rule_id: str, seen: object, layer: str = CONFIG) -> list[Finding]:
    """Return what the rule with this id finds in a layer."""
    rules = [rule for rule in RULES if rule.id == rule_id and rule.layer == layer]
    assert rules, f"the table should have {rule_id} in the layer {layer}"
    return [finding for rule in rules for finding in rule.findings(seen)]


def configured(app: Celery, **settings: Any) -> Configuration:
    """Return what an app declares, with these settings."""
    app.conf.update(settings)
    return Configuration.of(app)


def task_of(app: Celery, name: str = "shop.import_csv", **options: Any) -> Any:
    """Declare a locked task that does nothing."""
    function: Callable[[], None] = lambda: None  # noqa: E731 - each task needs a function of its own
    return locked(app, function, name=name, **options)
