"""Style: what all panels of the picture share: colours, marks, bars, captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from .outcome import Run

ALONE = "#2a7f9e"
OVERLAPPING = "#d1495b"
INK = "#1f2933"
FAINT = "#7b8794"

TICK: dict[str, Any] = {"marker": "|", "ms": 12, "mew": 1.8, "color": INK, "linestyle": "none"}
SKIP: dict[str, Any] = {"marker": "x", "ms": 8, "mew": 2, "color": INK, "linestyle": "none"}


def lanes(runs: Sequence[Run]) -> list[int]:
    """Give each run the lowest lane that is free when it starts; runs come by start."""
    free_from: list[float] = []
    chosen = []
    for run in runs:
        lane = next((i for i, end in enumerate(free_from) if end <= run.start), len(free_from))
        free_from[lane : lane + 1] = [run.end]
        chosen.append(lane)
    return chosen


def bar(axes: Axes, run: Run, row: int, color: str, text: str) -> None:
    """Draw one run, with a text in its middle."""
    axes.barh(
        row, run.end - run.start, left=run.start, height=0.72, color=color, edgecolor="white", linewidth=1.5
    )
    middle = (run.start + run.end) / 2
    axes.text(middle, row, text, ha="center", va="center", color="white", fontsize=9)


def caption(axes: Axes, title: str, subtitle: str, color: str) -> None:
    """Say above the panel what it shows."""
    axes.set_title(title, loc="left", color=INK, fontsize=13, fontweight="bold", pad=26)
    axes.annotate(
        subtitle,
        (0, 1),
        xytext=(0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        color=color,
        fontsize=11,
    )


def plain(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows, and take away what is no data."""
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelsize=11)
    axes.tick_params(axis="x", colors=INK, labelbottom=True)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
