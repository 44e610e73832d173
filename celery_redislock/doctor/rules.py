"""Rules: the table of all rules, in the order of their ids."""

from __future__ import annotations

from . import delivery, lengths, servers
from .finding import ERROR, INFO, WARNING
from .rule import CONFIG, LIVE, Rule

__all__ = ["IDS", "RULES"]

#: An id stands once for each layer in which it looks.
RULES: tuple[Rule, ...] = (
    Rule("RL103", INFO, CONFIG, delivery.lost_with_the_child),
    Rule("RL106", ERROR, CONFIG, lengths.hold_shorter_than_the_run),
    Rule("RL201", WARNING, LIVE, servers.evicts),
    Rule("RL202", ERROR, LIVE, servers.is_replica),
    Rule("RL203", ERROR, LIVE, servers.is_too_old),
    Rule("RL204", ERROR, LIVE, servers.is_one_node),
)

IDS = tuple(dict.fromkeys(rule.id for rule in RULES))
