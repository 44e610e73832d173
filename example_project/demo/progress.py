"""Progress on the terminal: ticks, skips, and the rows of every import that is running."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from ..events import Event


class PhaseProgress:
    """Bars for one phase; a ``with`` block keeps them alive.

    Args:
        title: What the phase is called.
        ticks: How many messages the beats will send.
        rows: How many rows an import has.
        console: Where to draw.
    """

    def __init__(self, title: str, ticks: int, rows: int, console: Console) -> None:
        self._rows = rows
        self._numbers: dict[str, int] = {}
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._ticks = self._progress.add_task(f"[bold]{title}[/]", total=ticks, note="")

    def __enter__(self) -> PhaseProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for bar in self._bars.values():
            self._progress.remove_task(bar)
        self._progress.stop()

    def show(self, seen: Sequence[Event]) -> None:
        """Draw the state after all these events."""
        kinds = [event.kind for event in seen]
        counted = ("started", "skipped", "finished")
        note = "ticks; " + ", ".join(f"{kinds.count(kind)} {kind}" for kind in counted)
        self._progress.update(self._ticks, completed=kinds.count("published"), note=note)
        running: dict[str, int] = {}
        for event in seen:
            if event.kind in {"started", "rows"}:
                running[event.run] = event.rows
            elif event.kind in {"finished", "failed"}:
                running.pop(event.run, None)
        self._draw(running)

    def _draw(self, running: dict[str, int]) -> None:
        for run in [run for run in self._bars if run not in running]:
            self._progress.remove_task(self._bars.pop(run))
        for run, rows in running.items():
            if run not in self._bars:
                number = self._numbers.setdefault(run, len(self._numbers) + 1)
                self._bars[run] = self._progress.add_task(f"  import {number}", total=self._rows, note="rows")
            self._progress.update(self._bars[run], completed=rows)


class BatchProgress:
    """One line for the phase of the batches; a ``with`` block keeps it alive.

    Args:
        title: What the phase is called.
        console: Where to draw.
    """

    def __init__(self, title: str, console: Console) -> None:
        self._title = f"[bold]{title}[/]"
        self._status = console.status(self._title)

    def __enter__(self) -> BatchProgress:
        self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._status.stop()

    def show(self, seen: Sequence[Event]) -> None:
        """Say what happened so far."""
        kinds = [event.kind for event in seen]
        months = sum(event.kind == "started" and event.name.startswith("month") for event in seen)
        counts = f"{kinds.count('ticked')} ticks, {months} months, {kinds.count('changed')} changes"
        self._status.update(f"{self._title}; {counts}")
