"""The simulation behind the capacity page: a queue as theory has it, and one server as it was measured."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.capacity import points
from benchmarks.results import Results
from benchmarks.simulation import Costs, Plan, answers, busy, drain, simulate

from ..support.places import DOCS

RESULTS = DOCS / "explanation" / "benchmarks" / "results.json"

COSTS = Costs(acquire=30, renew=10, release=20, request=15)


def test_requests_are_answered_one_after_the_other() -> None:
    arrivals, services = np.array([0.0, 1.0, 1.5, 9.0]), np.array([2.0, 2.0, 2.0, 2.0])

    assert answers(arrivals, services).tolist() == [2.0, 4.0, 6.0, 11.0]


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_waits_are_those_of_the_theory_of_queues(load: float) -> None:
    random = np.random.default_rng(7)
    arrivals = np.cumsum(random.exponential(1 / load, 400_000))

    waits = answers(arrivals, np.ones_like(arrivals)) - arrivals - 1

    assert waits.mean() == pytest.approx(load / (2 * (1 - load)), rel=0.1), "Pollaczek and Khinchine"


def test_a_burst_takes_as_long_as_its_requests() -> None:
    assert drain(20, 50, 10.0) == pytest.approx((5.25, 10.0))


@pytest.mark.parametrize(
    "plan",
    [
        Plan(1, tasks_per_s=2000, held=0),
        Plan(1, tasks_per_s=500, held=100_000, processes=100),
        Plan(3, tasks_per_s=3000, held=60_000, waiters=6000),
    ],
    ids=["tasks", "held locks", "everything"],
)
def test_formula_and_simulation_agree_on_how_busy_a_shard_is(plan: Plan) -> None:
    assert simulate(plan, COSTS).busy[0] == pytest.approx(busy(plan, COSTS), rel=0.05)


def test_renewals_due_together_delay_tasks_and_those_spread_out_do_not() -> None:
    spread_out = simulate(Plan(1, 1000, 100_000, processes=1000), COSTS)
    together = simulate(Plan(1, 1000, 100_000, processes=1000, together=1.0), COSTS)

    assert spread_out.wait_ms[1] < 10
    assert together.wait_ms[2] > 900
    assert together.drained_ms == pytest.approx(100_000 * 10 / 1000 + 1000 * 15 / 1000, rel=0.1)


def test_a_hundred_shards_carry_ten_million_locks() -> None:
    outcome = simulate(Plan(100, 150_000, 10_000_000, processes=20_000), COSTS)

    assert outcome.busy[1] < 0.7
    assert outcome.busy[1] / outcome.busy[0] < 1.1, "slots spread names evenly"
    assert outcome.wait_ms[1] < 10


def test_the_model_agrees_with_one_server_as_it_was_measured() -> None:
    ratios = {point.what: point.modelled / point.measured for point in points(Results.load(RESULTS))}

    assert len(ratios) >= 6
    assert {what: ratio for what, ratio in ratios.items() if not 0.5 < ratio < 2} == {}
