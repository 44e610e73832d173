"""The third panel of the picture: two beats, batches of months, changes and their resyncs."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .batch_outcome import BatchOutcome
from .outcome import Run
from .style import ALONE, FAINT, OVERLAPPING, SKIP, TICK, bar, caption, lanes, plain

_KILLED: dict[str, Any] = {"marker": "X", "ms": 11, "color": OVERLAPPING, "mec": "white", "linestyle": "none"}
_RESYNC = "#5f7f3b"
#: Batches after each other differ a little, so that one sees where the next begins.
_BATCHES = (ALONE, "#1d5c74")


def row_names(outcome: BatchOutcome) -> list[str]:
    """Return the names of the rows, from above."""
    months = ["months", *[""] * (_lanes_of(outcome) - 1)]
    skips = ["skips"] if outcome.skips else []
    return [*_beats(outcome), *months, *skips, "changes", "resyncs"]


def draw_batches(axes: Axes, outcome: BatchOutcome) -> None:
    """Draw the phase."""
    names, beats = row_names(outcome), _beats(outcome)
    imports = [tick for tick in outcome.ticks if not tick.due.startswith("change")]
    for row, beat in enumerate(beats):
        own = [tick.at for tick in imports if tick.beat == beat]
        axes.plot(own, [row] * len(own), **TICK)
    if outcome.killed_at and imports:
        killed = next(tick.beat for tick in reversed(imports) if tick.at <= outcome.killed_at)
        axes.plot([outcome.killed_at], [beats.index(killed)], **_KILLED)
    _months(axes, outcome, len(beats))
    if outcome.skips:
        axes.plot(outcome.skips, [names.index("skips")] * len(outcome.skips), **SKIP)
    axes.plot(outcome.changes, [names.index("changes")] * len(outcome.changes), **TICK)
    for run in outcome.resyncs:
        bar(axes, run, names.index("resyncs"), _RESYNC if run.succeeded else OVERLAPPING, "")
    plain(axes, names)
    caption(axes, _title(outcome), _subtitle(outcome), FAINT if outcome.batches_at_once <= 1 else OVERLAPPING)


def legend() -> list[Line2D]:
    """Return what only this panel has."""
    return [Line2D([], [], **_KILLED, label="this beat is killed")]


def _months(axes: Axes, outcome: BatchOutcome, first_row: int) -> None:
    lane_of = dict(zip(_members(outcome), lanes(_members(outcome)), strict=True))
    for number, batch in enumerate(outcome.batches):
        for member in batch:
            color = _BATCHES[number % 2] if member.succeeded else OVERLAPPING
            bar(axes, member, first_row + lane_of[member], color, "")


def _members(outcome: BatchOutcome) -> list[Run]:
    return sorted((run for batch in outcome.batches for run in batch), key=lambda run: run.start)


def _lanes_of(outcome: BatchOutcome) -> int:
    return max(lanes(_members(outcome)), default=0) + 1


def _beats(outcome: BatchOutcome) -> list[str]:
    return sorted({tick.beat for tick in outcome.ticks}) or ["beats"]


def _title(outcome: BatchOutcome) -> str:
    at_once = "one batch at a time" if outcome.batches_at_once <= 1 else "batches mix"
    return f"{outcome.title}: {at_once}"


def _subtitle(outcome: BatchOutcome) -> str:
    copied = "the last one included" if outcome.last_change_copied else "the last one is missing"
    return (
        f"{len(outcome.batches)} batches of twelve months, {len(outcome.skips)} skipped; "
        f"{outcome.sent_twice} ticks sent twice.  "
        f"{len(outcome.changes)} changes in {len(outcome.resyncs)} resyncs, {copied}"
    )
