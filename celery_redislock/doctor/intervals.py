"""Intervals: the next round interval that is long enough for a run, and the line that sets it (pure)."""

from __future__ import annotations

import json
from typing import Any

from celery.schedules import crontab

__all__ = ["line_to_paste", "next_round_s"]

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
#: Intervals as people write them, seconds.
ROUND_S = (
    *(1, 2, 3, 5, 10, 15, 20, 30),
    *(MINUTE_S * minutes for minutes in (1, 2, 3, 5, 10, 15, 20, 30)),
    *(HOUR_S * hours for hours in (1, 2, 3, 4, 6, 8, 12)),
)
#: An interval is longer than the run by this factor, so that a run that takes a little longer skips nothing.
ROOM = 1.2


def next_round_s(run_s: float) -> int:
    """Return the shortest round interval that leaves room for a run, seconds; whole days from a day on.

    Args:
        run_s: How long most runs take, seconds.
    """
    least_s = ROOM * run_s
    days = int(-(-least_s // DAY_S))
    return next((interval_s for interval_s in ROUND_S if interval_s > least_s), days * DAY_S)


def line_to_paste(entry: str, interval_s: int, when: Any) -> str:
    """Return the line that has an entry come at an interval.

    Args:
        entry: Its name.
        interval_s: One of `next_round_s`.
        when: Its schedule now; None: it is not in the setting `beat_schedule`.
    """
    if when is None:
        return f"let {entry!r} come every {_in_words(interval_s)}, where its schedule is kept"
    how = _as_crontab(interval_s) if isinstance(when, crontab) else str(interval_s)
    return f'app.conf.beat_schedule[{json.dumps(entry)}]["schedule"] = {how}'


def _as_crontab(interval_s: int) -> str:
    if interval_s < HOUR_S:
        return f'crontab(minute="*/{max(1, interval_s // MINUTE_S)}")'
    if interval_s < DAY_S:
        return f'crontab(minute=0, hour="*/{interval_s // HOUR_S}")'
    # A crontab cannot say "every third day" without a short step at the end of a month.
    return "crontab(minute=0, hour=0)" if interval_s == DAY_S else str(interval_s)


def _in_words(interval_s: int) -> str:
    for unit_s, unit in ((DAY_S, "days"), (HOUR_S, "hours"), (MINUTE_S, "minutes")):
        if interval_s >= unit_s:
            return f"{interval_s // unit_s} {unit}"
    return f"{interval_s} seconds"
