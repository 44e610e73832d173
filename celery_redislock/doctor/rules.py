"""Rules: the table of all rules, in the order of their ids."""

from __future__ import annotations

from . import (
    circles,
    declarations,
    delivery,
    fleet,
    holds,
    lengths,
    measured,
    outcomes,
    purged,
    schedules,
    servers,
)
from .finding import ERROR, INFO, WARNING
from .rule import CONFIG, HISTORY, LIVE, Rule

__all__ = ["IDS", "RULES"]

#: An id stands once for each function that looks for it.
RULES: tuple[Rule, ...] = (
    Rule("RL101", ERROR, CONFIG, delivery.delivered_while_it_runs),
    Rule("RL101", ERROR, CONFIG, delivery.delayed_beyond),
    Rule("RL101", ERROR, HISTORY, measured.delivered_again),
    Rule("RL102", WARNING, CONFIG, delivery.ages_in_the_worker),
    Rule("RL102", WARNING, HISTORY, measured.reserved_too_long),
    Rule("RL103", INFO, CONFIG, delivery.lost_with_the_child),
    Rule("RL104", ERROR, CONFIG, outcomes.nobody_learns),
    Rule("RL105", WARNING, CONFIG, lengths.lease_shorter_than_a_pause),
    Rule("RL105", WARNING, HISTORY, measured.lease_shorter_than_a_stall),
    Rule("RL106", ERROR, CONFIG, lengths.hold_shorter_than_the_run),
    Rule("RL106", ERROR, HISTORY, measured.hold_shorter_than_runs),
    Rule("RL107", WARNING, CONFIG, lengths.queue_ttl_shorter_than_the_wait),
    Rule("RL107", WARNING, HISTORY, measured.publish_lock_shorter_than_the_queue),
    Rule("RL107", WARNING, HISTORY, measured.batch_shorter_than_its_waits),
    Rule("RL108", WARNING, CONFIG, declarations.options_without_a_lock),
    Rule("RL109", WARNING, CONFIG, declarations.replaced_and_not_terminated),
    Rule("RL110", ERROR, CONFIG, declarations.beat_without_its_lock),
    Rule("RL110", ERROR, HISTORY, schedules.two_beats),
    Rule("RL111", WARNING, HISTORY, schedules.runs_overlap),
    Rule("RL112", WARNING, HISTORY, schedules.skips),
    Rule("RL113", WARNING, CONFIG, outcomes.sent_to_one_process),
    Rule("RL120", WARNING, HISTORY, holds.never_shared),
    Rule("RL201", WARNING, LIVE, servers.evicts),
    Rule("RL202", ERROR, LIVE, servers.is_replica),
    Rule("RL203", ERROR, LIVE, servers.is_too_old),
    Rule("RL204", ERROR, LIVE, servers.is_one_node),
    Rule("RL205", ERROR, LIVE, servers.lacks_rights),
    Rule("RL206", ERROR, LIVE, servers.has_too_few_replicas),
    Rule("RL207", WARNING, LIVE, fleet.clock_is_off),
    Rule("RL207", WARNING, HISTORY, fleet.clock_of_beat_is_off),
    Rule("RL208", WARNING, LIVE, servers.answers_late),
    Rule("RL208", WARNING, LIVE, servers.is_nearly_full),
    Rule("RL301", ERROR, LIVE, fleet.disagrees),
    Rule("RL401", WARNING, HISTORY, holds.stuck),
    Rule("RL402", ERROR, HISTORY, holds.lost),
    Rule("RL403", ERROR, LIVE, circles.waits_for_itself),
    Rule("RL404", WARNING, LIVE, purged.message_is_gone),
)

IDS = tuple(dict.fromkeys(rule.id for rule in RULES))
