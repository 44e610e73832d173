"""Report: a verdict as a table for people, and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .judge import Verdict

#: Offences that are printed; the JSON has all.
_SHOWN = 5


def show(verdict: Verdict, facts: dict[str, Any]) -> None:
    """Print the verdict."""
    console = Console()
    table = Table(title=f"chaos, {', '.join(f'{name} {value}' for name, value in facts.items())}")
    table.add_column("what happened")
    table.add_column("times", justify="right")
    table.add_column("may be")
    for name, count, allowed in _rows(verdict):
        style = "bold red" if allowed == "0" and count else None
        table.add_row(name, str(count), allowed, style=style)
    for offence in verdict.offences[:_SHOWN]:
        console.print(offence, style="red", markup=False, soft_wrap=True)
    console.print(table)


def _rows(verdict: Verdict) -> list[tuple[str, int, str]]:
    return [
        ("tasks published", verdict.tasks, ""),
        ("bodies run", verdict.runs, ""),
        *((f"  ended: {outcome}", count, "") for outcome, count in verdict.outcomes.items()),
        ("faults", sum(verdict.faults.values()), ""),
        *((f"  {fault}", count, "") for fault, count in verdict.faults.items()),
        ("writes to the resource", verdict.writes, ""),
        ("  that the fence had to refuse", verdict.refused_writes, "any"),
        ("  accepted after a later holder's", len(verdict.corrupted_writes), "0"),
        ("bodies at once, both believing in their lock", len(verdict.overlaps_of_believers), "0"),
        ("  within a lease after data loss, as documented", verdict.overlaps_after_data_loss, "any"),
        ("bodies at once, one lost or stopped", verdict.overlaps_with_a_loser, "any"),
        ("fencing tokens given twice", len(verdict.fencing_tokens_twice), "0"),
        ("locks stuck beyond their lease", len(verdict.stuck_locks), "0"),
        ("tasks lost", len(verdict.lost_tasks), "0"),
        ("  and by the broker, before a worker had them", verdict.lost_by_the_broker, "any"),
    ]


def save(verdict: Verdict, facts: dict[str, Any], path: Path) -> None:
    """Write the verdict as JSON."""
    counts = {name.strip(): count for name, count, _ in _rows(verdict)}
    path.write_text(json.dumps({**facts, "counts": counts, **asdict(verdict)}, indent=2))
