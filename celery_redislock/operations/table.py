"""Table: rows of text in columns that are as wide as the terminal lets them be.

Without a terminal nothing is cut: what goes to a file or to ``grep`` has whole names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from .formats import cut_apart, narrowest_apart, padded, width_of

#: What ends the text of a cell that people should look at first: it is red on a terminal.
MARK = " !"

GAP = "  "
#: A name is not cut to less.
LEAST = 8


class Column(NamedTuple):
    """One column.

    Attributes:
        heading: What stands above it.
        share: How much of what is left it gets beside the others that have one, if not all fit; 0: it has
            short texts, which are never cut.
        is_number: Its texts stand at its right side.
    """

    heading: str
    share: int = 0
    is_number: bool = False


def lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """Return the headings and the rows as lines.

    The names of the last column may be longer than the width: one that would look like another is not cut.

    Args:
        columns: The last one has names.
        rows: Each has a text for each column.
        width: Of the terminal, in columns of text; None: there is none.
    """
    headings = [column.heading for column in columns]
    # One column after the other, none is kept: there may be a hundred thousand rows.
    needs = widths = [
        max(width_of(heading), max((width_of(row[place]) for row in rows), default=0))
        for place, heading in enumerate(headings)
    ]
    if width is not None and sum(needs) + len(GAP) * (len(needs) - 1) > width:
        widths = _narrowed(columns, rows, needs, width)
    cutters = [
        cut_apart((row[place] for row in rows), widths[place]) if widths[place] < needs[place] else str
        for place in range(len(columns))
    ]
    yield click.style(_line(columns, headings, widths), bold=True)
    for row in rows:
        cells = [cutter(text) for cutter, text in zip(cutters, row, strict=True)]
        yield _line(columns, cells, widths)


def _narrowed(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: Sequence[int], width: int
) -> list[int]:
    """Return how wide each column is where not all fit: what needs less than its share leaves the rest."""
    left = width - len(GAP) * (len(columns) - 1)
    narrowed = [0 if column.share else wide for column, wide in zip(columns, widths, strict=True)]
    left -= sum(narrowed)
    open_ = [place for place, column in enumerate(columns) if column.share]
    # The narrowest first: it decides what is left for the others.
    open_.sort(key=lambda place: (place == len(columns) - 1, widths[place] / columns[place].share))
    while open_:
        place = open_.pop(0)
        share = left * columns[place].share // (columns[place].share + sum(columns[p].share for p in open_))
        narrowed[place] = min(widths[place], max(share, LEAST))
        if open_ and narrowed[place] < widths[place]:
            # Its rows go on behind it: all of them are cut to one width, at which they differ.
            narrowed[place] = narrowest_apart((row[place] for row in rows), narrowed[place])
        left -= narrowed[place]
    return narrowed


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one line; nothing is filled up behind its last text."""
    parts = [
        _marked(padded(text, wide, is_number=column.is_number), text)
        for column, text, wide in zip(columns[:-1], cells, widths, strict=False)
    ]
    return GAP.join([*parts, cells[-1]])


def _marked(shown: str, text: str) -> str:
    return click.style(shown, fg="red", bold=True) if text.endswith(MARK) else shown
