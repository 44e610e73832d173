"""Report: the parts of the page that a run generates."""

from __future__ import annotations

from typing import Any

from .results import Results
from .scenarios import scenario_of
from .table import markdown


def parts(results: Results) -> dict[str, str]:
    """Return the facts, and for each scenario that was measured what it does and its table."""
    tables = {
        name: f"{_explained(name)}\n\n{markdown(results, name, scenario_of(name).COLUMNS)}"
        for name in results.scenarios()
    }
    return {"facts": _facts(results.facts), **tables}


def _explained(scenario: str) -> str:
    lines = (scenario_of(scenario).__doc__ or "").strip()
    return f'{lines}\n\n    make bench ARGS="--only {scenario}"'


def _facts(facts: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in sorted(facts["versions"].items()))
    machine = ", ".join(f"{name}: {value}" for name, value in facts.items() if name != "versions")
    return f"Measured with {machine}. Versions: {versions}."
