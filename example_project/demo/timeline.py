"""The picture: one bar for each import, one mark for each skip, all phases on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import batch_panel
from .batch_outcome import BatchOutcome
from .outcome import Outcome, Run, most_at_once
from .style import ALONE, FAINT, INK, OVERLAPPING, SKIP, TICK, bar, caption, lanes, plain

#: Inches: one row of bars or marks, and all that is not rows.
_ROW_HEIGHT = 0.44
_AROUND = 3.6


def draw(unlocked: Outcome, locked: Outcome, batches: BatchOutcome, directory: Path) -> list[Path]:
    """Write ``timeline.png`` and ``timeline.svg`` and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = [len(_row_names(unlocked)), len(_row_names(locked)), len(batch_panel.row_names(batches))]
    figure = Figure(
        figsize=(11, _AROUND + _ROW_HEIGHT * sum(rows)),
        layout=ConstrainedLayoutEngine(h_pad=0.12),
        facecolor="white",
    )
    upper, middle, lower = figure.subplots(3, 1, sharex=True, height_ratios=rows)
    _panel(upper, unlocked)
    _panel(middle, locked)
    batch_panel.draw_batches(lower, batches)
    lower.set_xlabel("seconds since the first tick", color=INK)
    lower.set_xlim(-0.5, 1.02 * max(phase.seconds for phase in (unlocked, locked, batches)))
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, frameon=False, labelcolor=INK)
    paths = [directory / "timeline.png", directory / "timeline.svg"]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths


def _panel(axes: Axes, outcome: Outcome) -> None:
    lane_of = lanes(outcome.runs)
    names = _row_names(outcome)
    for number, (run, lane) in enumerate(zip(outcome.runs, lane_of, strict=True), start=1):
        color = OVERLAPPING if _overlaps(run, outcome.runs) else ALONE
        bar(axes, run, 1 + lane, color, f"import {number}" if run.succeeded else f"import {number} failed")
    axes.plot(outcome.ticks, [0] * len(outcome.ticks), **TICK)
    if outcome.skips:
        axes.plot(outcome.skips, [len(names) - 1] * len(outcome.skips), **SKIP)
    plain(axes, names)
    as_in_the_file = outcome.rows_in_database == outcome.rows_in_file
    caption(axes, _title(outcome), _subtitle(outcome), FAINT if as_in_the_file else OVERLAPPING)


def _row_names(outcome: Outcome) -> list[str]:
    used = max(lanes(outcome.runs), default=0) + 1
    imports = ["imports", *[""] * (used - 1)]
    return ["ticks", *imports, *(["skips"] if outcome.skips else [])]


def _overlaps(run: Run, runs: Sequence[Run]) -> bool:
    return any(
        other is not run and most_at_once([(run.start, run.end), (other.start, other.end)]) > 1
        for other in runs
    )


def _title(outcome: Outcome) -> str:
    if outcome.most_at_once <= 1:
        return f"{outcome.title}: one import at a time"
    return f"{outcome.title}: {outcome.most_at_once} imports at once"


def _subtitle(outcome: Outcome) -> str:
    asked = f"{len(outcome.ticks)} ticks, {len(outcome.runs)} imports, {len(outcome.skips)} skipped"
    rows = f"{outcome.rows_in_database:,} rows in the database"
    if outcome.rows_in_database == outcome.rows_in_file:
        return f"{asked}.  {rows}, as in the file"
    return f"{asked}.  {rows} instead of the file's {outcome.rows_in_file:,}"


def _legend() -> list[Patch | Line2D]:
    return [
        Line2D([], [], **TICK, label="tick: a beat asks for an import"),
        Patch(color=OVERLAPPING, label="import that overlaps another"),
        Patch(color=ALONE, label="import, or month, that runs alone"),
        Line2D([], [], **SKIP, label="skip: the lock is busy"),
        *batch_panel.legend(),
    ]
