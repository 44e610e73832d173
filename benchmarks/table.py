"""Table: the results of a scenario as Markdown, a line for each case and contender."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .contenders import CONTENDERS
from .results import Results
from .statistics import paired_ratios, quantile, spread


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        heading: What stands above it.
        measure: Which values it shows.
        against: Show the ratio, round by round, to this contender's values of the same case.
        share: Show this quantile of a distribution over all rounds; None: the median of the rounds.
        digits: Digits after the point.
        quartiles: Show the middle half of the rounds, too.
        worst: Show the largest of the rounds, not the median: what may not happen once.
    """

    heading: str
    measure: str
    against: str | Mapping[str, str] | None = None
    share: float | None = None
    digits: int = 2
    quartiles: bool = True
    worst: bool = False


def markdown(results: Results, scenario: str, columns: Sequence[Column]) -> str:
    """Return the table of a scenario."""
    rows = in_order(results, scenario)
    has_cases = any(case for case, _ in rows)
    headings = [*(["case"] if has_cases else []), "contender", *(column.heading for column in columns)]
    lines = [headings, ["---"] * (len(headings) - len(columns)) + ["--:"] * len(columns)]
    for case, contender in rows:
        cells = [cell(results, scenario, case, contender, column) for column in columns]
        lines.append([*([case] if has_cases else []), title_of(contender), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def in_order(results: Results, scenario: str) -> list[tuple[str, str]]:
    """Return cases as they were run, and within each the contenders in the order of their table."""
    rows = list(results.rows(scenario))
    cases = list(dict.fromkeys(case for case, _ in rows))
    places = {name: place for place, name in enumerate(CONTENDERS)}
    return sorted(rows, key=lambda row: (cases.index(row[0]), places.get(row[1], -1)))


def title_of(contender: str) -> str:
    """Return what tables call a contender, or what a scenario itself calls it."""
    return CONTENDERS[contender].title if contender in CONTENDERS else contender


def cell(results: Results, scenario: str, case: str, contender: str, column: Column) -> str:
    """Return one cell; a dash where nothing was measured."""
    if column.share is not None:
        pooled = results.pooled(scenario, case, contender, column.measure)
        return _number(quantile(pooled, column.share), column.digits) if pooled else "-"
    values = values_of(results, scenario, case, contender, column)
    if not values:
        return "-"
    if column.worst:
        return _number(max(values), column.digits)
    middle = spread(values)
    text = _number(middle.median, column.digits)
    if not column.quartiles or len(values) < 2:
        return text
    return f"{text} ({_number(middle.low, column.digits)} to {_number(middle.high, column.digits)})"


def values_of(results: Results, scenario: str, case: str, contender: str, column: Column) -> list[float]:
    """Return what a column shows, a number for each round."""
    values = results.rounds(scenario, case, contender, column.measure)
    if column.against is None:
        return values
    against = column.against if isinstance(column.against, str) else column.against.get(contender, "")
    reference = results.rounds(scenario, case, against, column.measure)
    return paired_ratios(values, reference) if len(reference) == len(values) else []


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"
