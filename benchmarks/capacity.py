"""``python -m benchmarks.capacity``: reckons from measured costs what a server and a cluster carry."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from .page import rewrite
from .results import Results
from .scenarios.bursts import CONNECTIONS, CONTENDER, SIZES
from .scenarios.ceiling import LIVE, REPLAYED, SET
from .simulation import RENEWALS_IN_TTL, Costs, Outcome, Plan, busy, drain, simulate
from .statistics import spread

#: How busy a server's core may be: above it waits grow fast, and bursts find no room.
FULL = 0.7

SHARDS = (1, 3, 10, 30, 100)
_MILLION = 1_000_000

#: Where results tell what stays of a lock for an hour.
_STAYS = ("what_stays", "acknowledged late", "locked")


@dataclass(frozen=True)
class Point:
    """One thing that was measured, and what the model says of it without having seen it."""

    what: str
    measured: float
    modelled: float


def main() -> int:
    """Write the page's generated parts and its picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("results", type=Path, help="what python -m benchmarks --json wrote")
    parser.add_argument("--page", type=Path, help="the page to rewrite; else it is printed")
    arguments = parser.parse_args(sys.argv[1:])
    results = Results.load(arguments.results)
    parts = {
        "costs": costs_table(results),
        "carries": carries_table(costs_of(results)),
        "points": points_table(results),
        "simulated": simulated_table(costs_of(results)),
    }
    if arguments.page is None:
        print("\n\n".join(parts.values()))
        return 0
    rewrite(arguments.page, parts)
    draw(costs_of(results), arguments.page.with_suffix(".png"))
    return 0


def costs_of(results: Results) -> Costs:
    """Return the costs that were measured: bursts for the scripts, `SET` alone and in a row for a request."""

    def verb(name: str) -> float:
        return _median(results, "bursts", f"{SIZES[1]:,} x {name}", CONTENDER, "server_us")

    alone = _median(results, "ceiling", LIVE, SET, "server_us")
    in_a_row = _median(results, "ceiling", REPLAYED, SET, "server_us")
    return Costs(verb("acquire"), verb("renew"), verb("release"), alone - in_a_row)


def points(results: Results) -> list[Point]:
    """Return what was measured on one server and was not used for the costs."""
    costs = costs_of(results)
    small, large = SIZES
    found = [
        Point(
            "replayed cycles, server CPU, µs",
            _median(results, "ceiling", REPLAYED, CONTENDER, "server_us"),
            costs.acquire + costs.release,
        )
    ]
    for amount in (1000, 10_000):
        case = next(
            case
            for case, contender in results.rows("renewed")
            if contender == CONTENDER and case.startswith(f"{amount:,} locks")
        )
        ttl_s = float(case.split()[-2])
        idle_s = 15 * _median(results, "idle", "50 processes", "nobody", "server_ms_per_s") / 1000
        found.append(
            Point(
                f"{amount:,} renewed locks, server CPU, s in 15 s",
                _median(results, "renewed", case, CONTENDER, "server_s"),
                amount * 15 / ttl_s * RENEWALS_IN_TTL * costs.renew / 1e6 + idle_s,
            )
        )
    for verb in ("acquire", "renew", "release"):
        # A machine with other work stretches the clock: the small burst tells by how much.
        service_us = 1000 * _median(results, "bursts", f"{small:,} x {verb}", CONTENDER, "drained_ms") / small
        found.append(
            Point(
                f"burst of {large:,} x {verb}, drained, ms",
                _median(results, "bursts", f"{large:,} x {verb}", CONTENDER, "drained_ms"),
                drain(CONNECTIONS, large // CONNECTIONS, service_us)[1],
            )
        )
    return found


def costs_table(results: Results) -> str:
    """Return the measured costs, as they enter the formula."""
    costs = costs_of(results)
    weigh = ("memory", next(case for case, _ in results.rows("memory")), CONTENDER)
    rows = [
        ("`acquire`, µs of the server's core", f"{costs.acquire:.1f}"),
        ("`renew`, µs, in a pipeline", f"{costs.renew:.1f}"),
        ("`release`, µs", f"{costs.release:.1f}"),
        ("`request`: a request's way through the socket, µs", f"{costs.request:.1f}"),
        ("bytes a held lock", f"{_median(results, *weigh, 'held_bytes'):.0f}"),
        ("bytes a name, for a minute after its release", f"{_median(results, *weigh, 'released_bytes'):.0f}"),
        (
            "bytes a name, for an hour after its release, if its message may be delivered again",
            f"{_median(results, *_STAYS, 'heaviest_bytes'):.0f}",
        ),
    ]
    return "\n".join(["| measured | |", "| --- | --: |", *(f"| {name} | {value} |" for name, value in rows)])


def carries_table(costs: Costs) -> str:
    """Return what fits into each size of cluster, each kind of load alone."""
    lines = [
        f"| shards | tasks/s | held locks, ttl 30 s | waiters | tasks/s beside {_MILLION:,} held |",
        "| --: | --: | --: | --: | --: |",
    ]
    for shards in SHARDS:
        empty = Plan(shards, 0, 0)
        tasks = FULL / busy(replace(empty, tasks_per_s=1.0), costs)
        held = FULL * 1e6 * shards * empty.interval_s / costs.renew
        waiters = FULL / busy(replace(empty, waiters=1), costs)
        left = FULL - busy(replace(empty, held=_MILLION), costs)
        beside = f"{left / busy(replace(empty, tasks_per_s=1.0), costs):,.0f}" if left > 0 else "-"
        lines.append(f"| {shards} | {tasks:,.0f} | {held:,.0f} | {waiters:,.0f} | {beside} |")
    return "\n".join(lines)


def points_table(results: Results) -> str:
    """Return the model beside what was measured."""
    lines = ["| one server | measured | model | ratio |", "| --- | --: | --: | --: |"]
    for point in points(results):
        ratio = point.modelled / point.measured
        lines.append(f"| {point.what} | {point.measured:,.3g} | {point.modelled:,.3g} | {ratio:.2f} |")
    return "\n".join(lines)


def plans() -> list[Plan]:
    """Return what is simulated: ever more of everything, up to 100 shards and ten million held locks."""
    grown = [
        Plan(
            shards, 1500.0 * shards, 100_000 * shards, processes=max(200, 200 * shards), waiters=1000 * shards
        )
        for shards in (1, 10, 100)
    ]
    return [replace(plan, together=together) for plan in grown for together in (0.0, 0.1, 1.0)]


def simulated_table(costs: Costs) -> str:
    """Return what becomes of the plans."""
    lines = [
        "| shards | tasks/s | held locks | processes | waiters | due together "
        "| busy, mean and busiest | a task's request: median, p99, longest, ms | renewals drained in, ms |",
        "| --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for plan in plans():
        outcome = simulate(plan, costs)
        cells = [plan.shards, plan.tasks_per_s, plan.held, plan.processes, plan.waiters]
        lines.append(
            "| "
            + " | ".join(f"{cell:,.0f}" for cell in cells)
            + f" | {plan.together:.0%} | {_pair(outcome)} | {_waits(outcome)} | {outcome.drained_ms:,.0f} |"
        )
    return "\n".join(lines)


def draw(costs: Costs, path: Path) -> None:
    """Draw how waits grow with held locks, and what clusters carry."""
    figure, (waits, carried) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    held = [10_000, 30_000, 100_000, 200_000, 400_000, 600_000]
    for together in (0.0, 0.1, 1.0):
        late = [simulate(Plan(1, 1500.0, count, together=together), costs).wait_ms[1] for count in held]
        waits.plot(held, late, marker="o", label=f"{together:.0%} of the renewals due together")
    waits.set(xscale="log", yscale="log", xlabel="held locks on one shard, ttl 30 s")
    waits.set_ylabel("p99 of a task's request, ms")
    waits.set_title("one shard, 1,500 tasks/s")
    waits.legend(fontsize=8)
    for name, plan in (("tasks/s", Plan(1, 1.0, 0)), ("held locks", Plan(1, 0, 1))):
        each = busy(plan, replace(costs, request=0.0) if plan.held else costs)
        carried.plot(SHARDS, [FULL * shards / each for shards in SHARDS], marker="o", label=name)
    carried.set(xscale="log", yscale="log", xlabel="shards", title=f"each alone, cores {FULL:.0%} busy")
    carried.legend(fontsize=8)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def _median(results: Results, scenario: str, case: str, contender: str, measure: str) -> float:
    return spread(results.rounds(scenario, case, contender, measure)).median


def _pair(outcome: Outcome) -> str:
    return ", ".join(f"{share:.2f}" for share in outcome.busy)


def _waits(outcome: Outcome) -> str:
    return ", ".join(f"{wait:,.2f}" for wait in outcome.wait_ms)


if __name__ == "__main__":
    sys.exit(main())
