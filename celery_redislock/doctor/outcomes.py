"""Outcomes: rules about the ends of calls that nobody would learn of."""

from __future__ import annotations

from collections.abc import Iterator

from ..messages import replies
from .configuration import Configuration, Declared
from .finding import ERROR, WARNING, Problem
from .wording import names

__all__ = ["nobody_learns", "sent_to_one_process"]

#: What ends a call that does not run -> how bad it is that nobody learns of it.
_ENDS = {"fail": ("fails", ERROR), "skip": ("is skipped", WARNING)}
#: A result backend to paste.
_SUGGESTED = "redis://localhost:6379/1"


def nobody_learns(seen: Configuration) -> Iterator[Problem]:
    """RL104: the result of a call that finds its lock busy is kept nowhere."""
    for policy, (ends, level) in _ENDS.items():
        ending = [each for each in seen.locked if each.options.on_conflict == policy]
        if not seen.keeps_results and ending:
            yield Problem(
                f"there is no result_backend: nobody learns that a call of {_names(ending)} {ends} because "
                "its lock is busy, and a chord with it never ends",
                f'app.conf.result_backend = "{_SUGGESTED}"',
                level,
            )
        elif ignoring := [each for each in ending if each.task.ignore_result]:
            yield Problem(
                f"ignore_result is set: nobody learns that a call of {_names(ignoring)} {ends} because its "
                "lock is busy",
                "ignore_result=False",
                level,
            )


def sent_to_one_process(seen: Configuration) -> Iterator[Problem]:
    """RL113: a call returns the result of another one, which only the other's publisher can read."""
    scoped = [each for each in seen.locked if each.options.scope != "run"]
    if scoped and replies.are_sent(seen.app):
        yield Problem(
            "with this result_backend only the process that published a call can get its result: with the "
            f"lock_scope of {_names(scoped)}, a process that is given the result of another's call would "
            "wait forever",
            f'app.conf.result_backend = "{_SUGGESTED}"',
        )


def _names(tasks: list[Declared]) -> str:
    return names([each.name for each in tasks])
