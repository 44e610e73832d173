"""Plots: four pictures of the results, each drawn when its scenarios were measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from .contenders import FLOOR, LOCKS
from .results import Results
from .scenarios import free_cycle, idle
from .statistics import spread
from .table import Column, in_order, title_of, values_of

_OURS, _PEER, _FLOOR = "#c0392b", "#7f8c8d", "#bdc3c7"
_COLOURS = {
    name: _OURS if name == "redislock" else colour
    for name, colour in zip(
        LOCKS, ["", "#2980b9", "#27ae60", "#8e44ad", "#f39c12", "#16a085", "#7f8c8d"], strict=True
    )
}
_DOTS_PER_INCH = 110


def draw(results: Results, folder: Path) -> list[str]:
    """Draw what can be drawn into a folder; return the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (scenario, picture) in _PICTURES.items():
        if scenario in results.scenarios():
            picture(results).savefig(folder / f"{name}.png", dpi=_DOTS_PER_INCH, bbox_inches="tight")
            plt.close("all")
            drawn.append(f"{name}.png")
    return drawn


def _throughput(results: Results) -> Any:
    """Cycles a second against the floor, with the middle half of the rounds."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    column = Column("", "undisturbed_per_s", against=FLOOR)
    for axis, case in zip(axes, ("new", "reused"), strict=True):
        names = [name for row, name in in_order(results, free_cycle.NAME) if row == case][::-1]
        for place, name in enumerate(names):
            middle = spread(values_of(results, free_cycle.NAME, case, name, column))
            colour = _OURS if name.startswith("redislock") else _PEER if name in LOCKS else _FLOOR
            axis.barh(place, middle.median, color=colour)
            axis.plot([middle.low, middle.high], [place, place], color="black", linewidth=1)
        axis.set_yticks(range(len(names)), [_plain(name) for name in names])
        axis.axvline(1, color="black", linewidth=0.8, linestyle=":")
        axis.set_xlabel("undisturbed cycles a second, to two PINGs through redis-py")
        axis.set_title({"new": "a lock object for each cycle", "reused": "one lock object"}[case])
    return figure


def _handoff(results: Results) -> Any:
    """The share of handoffs that are done within a time."""
    rows = [row for row in in_order(results, "handoff") if results.pooled("handoff", *row, "handoff_ms")]
    cases = list(dict.fromkeys(case for case, _ in rows))
    figure, axes = plt.subplots(1, len(cases), figsize=(4 * len(cases), 3.8), sharey=True, squeeze=False)
    for axis, case in zip(axes[0], cases, strict=True):
        for _, name in (row for row in rows if row[0] == case):
            values = results.pooled("handoff", case, name, "handoff_ms")
            shares = [(place + 1) / len(values) for place in range(len(values))]
            times = [max(value, 0.01) for value in values]
            width = 2.2 if name == "redislock" else 1.2
            axis.plot(times, shares, label=_plain(name), color=_COLOURS[name], linewidth=width)
        axis.set_xscale("log")
        axis.set_title(case)
        axis.set_xlabel("ms from the return of release")
    axes[0][0].set_ylabel("share of the handoffs")
    axes[0][-1].legend(fontsize=7, loc="lower right")
    return figure


def _waiting(results: Results) -> Any:
    """What the server is asked for while nothing happens."""
    rows = in_order(results, idle.NAME)
    cases = list(dict.fromkeys(case for case, _ in rows))
    figure, axes = plt.subplots(1, len(cases), figsize=(5.5 * len(cases), 3.4), sharey=True, squeeze=False)
    for axis, case in zip(axes[0], cases, strict=True):
        names = [name for row, name in rows if row == case and name != idle.NOBODY][::-1]
        for place, name in enumerate(names):
            middle = spread(results.rounds(idle.NAME, case, name, "round_trips_per_s"))
            axis.barh(place, max(middle.median, 0.1), color=_OURS if name == "redislock" else _PEER)
            axis.text(max(middle.median, 0.1) * 1.1, place, f"{middle.median:,.0f}", va="center", fontsize=8)
        axis.set_yticks(range(len(names)), [_plain(name) for name in names])
        axis.set_xscale("log")
        axis.margins(x=0.15)
        axis.set_xlabel("round trips a second")
        axis.set_title(f"waiting: {case}")
    return figure


def _growth(results: Results) -> Any:
    """What grows with waiters, names and held locks, and what does not."""
    figure, (waiters, names, held) = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for name in LOCKS:
        points = _points(results, "handoff", name, "round_trips")
        waiters.plot(*points, marker="o", label=_plain(name), color=_COLOURS[name])
    waiters.set(xlabel="waiters", ylabel="round trips a handoff", xscale="log", yscale="log")
    waiters.legend(fontsize=7)
    for measure, label in (("client_us", "client"), ("server_us", "server")):
        names.plot(*_points(results, "names", "redislock", measure), marker="o", label=label)
    names.set(xlabel="names", ylabel="CPU a cycle, µs", xscale="log")
    names.set_ylim(bottom=0)
    for measure, label in (("client_s", "client"), ("server_s", "server")):
        held.plot(*_points(results, "renewed", "redislock", measure), marker="o", label=label)
    held.set(xlabel="held and renewed locks", ylabel="CPU in 15 s, s", xscale="log", yscale="log")
    for axis in (names, held):
        axis.legend(fontsize=8)
    return figure


def _points(results: Results, scenario: str, name: str, measure: str) -> tuple[list[float], list[float]]:
    """Return the number that each case begins with, and the median."""
    found = [
        (float(case.split()[0].replace(",", "")), spread(values).median)
        for case, contender in in_order(results, scenario)
        if contender == name and (values := results.rounds(scenario, case, name, measure))
    ]
    return [x for x, _ in found], [y for _, y in found]


def _plain(name: str) -> str:
    return title_of(name).replace("*", "").replace("`", "")


_PICTURES: dict[str, tuple[str, Callable[[Results], Any]]] = {
    "throughput": (free_cycle.NAME, _throughput),
    "handoff": ("handoff", _handoff),
    "waiting": (idle.NAME, _waiting),
    "growth": ("handoff", _growth),
}
