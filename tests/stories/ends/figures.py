"""Figures: what was measured, as lines of JSON; ``python -m tests.stories.ends.figures FILE`` makes a table.

They are appended to the file that ENDS_FIGURES names, so that several test processes can share it.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

#: How, state, seconds and overlaps.
Measured = tuple[str, str, "float | None", "int | None"]

HEAD = "| what happens | pool | how | times | result state | median s | max s | overlaps |"


def note(
    row: str, pool: str, state: str, seconds: float | None, overlaps: int | None = None, how: str = ""
) -> None:
    """Keep what was measured once, if anybody asked for it.

    Args:
        row: What happened: the id of a row of the operators' table, or whatever else was timed.
        pool: The pool; "-" where none has to do with it.
        state: What the result says.
        seconds: Until the lock was free, or until whatever the row says; None: not timed.
        overlaps: How many bodies ran beside another one; None: not counted.
        how: Broker, acknowledgement, lease: what else it may depend on.
    """
    path = os.environ.get("ENDS_FIGURES")
    if path:
        with Path(path).open("a") as lines:
            lines.write(json.dumps([row, pool, how, state, seconds, overlaps]) + "\n")


def table(lines: Iterable[str]) -> list[str]:
    """Return the figures as a Markdown table, a line each."""
    seen: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for line in lines:
        row, pool, *measured = json.loads(line)
        seen[row, pool].append(tuple(measured))
    order = {row: number for number, (row, _) in reversed(list(enumerate(seen)))}
    places = sorted(seen, key=lambda place: order[place[0]])
    return [HEAD, "|---" * HEAD.count(" | ") + "|---|", *(_line(place, seen[place]) for place in places)]


def _line(place: tuple[str, str], seen: list[Measured]) -> str:
    row, pool = place
    how = "; ".join(sorted({how for how, *_ in seen}))
    states = ", ".join(sorted({state for _, state, _, _ in seen}))
    seconds = [figure for _, _, figure, _ in seen if figure is not None]
    counts = [count for *_, count in seen if count is not None]
    times = f"{median(seconds):.3f} | {max(seconds):.3f}" if seconds else "- | -"
    overlaps = sum(counts) if counts else "-"
    return f"| {row} | {pool} | {how} | {len(seen)} | {states} | {times} | {overlaps} |"


if __name__ == "__main__":
    print("\n".join(table(Path(sys.argv[1]).read_text().splitlines())))
