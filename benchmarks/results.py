"""Results: the values of a run, by scenario, case, contender, measure and round; JSON and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Value = float | list[float]

#: More values of one distribution than this are thinned, evenly over their order.
_KEPT = 300


class Results:
    """What was measured, and on what."""

    def __init__(self, facts: dict[str, Any], values: dict[str, Any] | None = None) -> None:
        self.facts = facts
        self._values: dict[str, dict[str, dict[str, dict[str, list[Value]]]]] = values or {}

    def add(self, scenario: str, case: str, contender: str, **measures: Value) -> None:
        """Add one round of a contender: numbers, or lists of numbers for distributions."""
        row = self._values.setdefault(scenario, {}).setdefault(case, {}).setdefault(contender, {})
        for measure, value in measures.items():
            row.setdefault(measure, []).append(_short(value))

    def scenarios(self) -> list[str]:
        """List what was measured, in order."""
        return list(self._values)

    def rows(self, scenario: str) -> Iterator[tuple[str, str]]:
        """Give each case and contender of a scenario, in order."""
        for case, contenders in self._values.get(scenario, {}).items():
            for contender in contenders:
                yield case, contender

    def rounds(self, scenario: str, case: str, contender: str, measure: str) -> list[float]:
        """Return one number for each round; none where it was not measured."""
        values = self._values.get(scenario, {}).get(case, {}).get(contender, {}).get(measure, [])
        return [value for value in values if not isinstance(value, list)]

    def pooled(self, scenario: str, case: str, contender: str, measure: str) -> list[float]:
        """Return a distribution over all rounds, sorted."""
        values = self._values.get(scenario, {}).get(case, {}).get(contender, {}).get(measure, [])
        return sorted(number for value in values if isinstance(value, list) for number in value)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps({"facts": self.facts, "values": self._values}) + "\n")

    @classmethod
    def load(cls, *paths: Path) -> Results:
        """Read what `save` wrote; of several files the last that has a scenario counts, and its facts."""
        contents = [json.loads(path.read_text()) for path in paths]
        values = {scenario: rows for content in contents for scenario, rows in content["values"].items()}
        return cls(contents[-1]["facts"], values)


def _short(value: Value) -> Value:
    if isinstance(value, list):
        return [float(f"{number:.4g}") for number in _thinned(sorted(value))]
    return float(f"{value:.5g}")


def _thinned(ordered: list[float]) -> list[float]:
    if len(ordered) <= _KEPT:
        return ordered
    return [ordered[place * (len(ordered) - 1) // (_KEPT - 1)] for place in range(_KEPT)]
