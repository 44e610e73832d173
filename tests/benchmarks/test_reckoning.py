"""How the benchmark reckons: quantiles, ratios, handoffs, tables, and the page that it rewrites."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.page import rewrite
from benchmarks.report import parts
from benchmarks.results import Results
from benchmarks.scenarios import NAMES
from benchmarks.scenarios.handoff import judged
from benchmarks.statistics import paired_ratios, quantile, spread
from benchmarks.table import Column, markdown

from ..support.places import DOCS

PAGE = DOCS / "explanation" / "benchmarks.md"


def test_a_quantile_lies_between_its_neighbours() -> None:
    assert quantile([4, 1, 3, 2], 0.5) == 2.5
    assert quantile([7], 0.99) == 7
    assert spread([1, 2, 3, 4, 5]).low == 2
    assert spread([1, 2, 3, 4, 5]).high == 4


def test_what_slows_down_a_round_does_not_change_its_ratio() -> None:
    quiet, busy = 1000.0, 100.0

    assert paired_ratios([quiet * 0.9, busy * 0.9], [quiet, busy]) == pytest.approx([0.9, 0.9])


def test_a_handoff_counts_from_both_ends_of_the_release() -> None:
    # who, acquired, release started, release returned
    wins = [(0, 0.0, 1.0, 1.1), (1, 1.2, 2.0, 2.1), (0, 2.2, 3.0, 3.1)]

    found = judged(wins, begin=0.5, end=3.0, round_trips=8, waiters=1)

    assert found["handoff_ms"] == pytest.approx([100, 100])
    assert found["from_start_ms"] == pytest.approx([200, 200])
    assert found["round_trips"] == 4
    assert found["fairness"] == 1
    assert found["overlaps"] == 0


def test_a_lock_that_lets_two_in_is_seen() -> None:
    wins = [(0, 0.0, 1.0, 1.1), (1, 0.9, 2.0, 2.1)]

    assert judged(wins, begin=0.5, end=3.0, round_trips=2, waiters=1)["overlaps"] == 1


def test_one_that_always_wins_is_unfair() -> None:
    wins = [(0, float(number), number + 0.5, number + 0.6) for number in range(10)]

    assert judged(wins, begin=0.5, end=20, round_trips=9, waiters=9)["fairness"] == 10


def test_a_table_has_a_line_for_each_contender_and_a_dash_for_what_was_not_measured() -> None:
    results = Results({})
    for speed in (10.0, 30.0):
        results.add("free_cycle", "new", "redislock", per_s=speed * 0.9)
        results.add("free_cycle", "new", "floor", per_s=speed)
    columns = (Column("to the floor", "per_s", against="floor"), Column("bytes", "bytes"))

    text = markdown(results, "free_cycle", columns)

    assert "| new | **celery_redislock** | 0.90 (0.90 to 0.90) | - |" in text


def test_what_may_not_happen_once_is_not_hidden_by_the_median() -> None:
    results = Results({})
    for lost in (0, 0, 3, 0, 0):
        results.add("renewed", "1,000 locks", "redislock", lost=lost)

    assert markdown(results, "renewed", (Column("lost", "lost", digits=0, worst=True),)).endswith(" | 3 |")


def test_results_survive_their_file(tmp_path: Path) -> None:
    results = Results({"cores": 2})
    results.add("handoff", "1 waiting", "redislock", handoff_ms=[float(n) for n in range(1000)], overlaps=0)

    results.save(tmp_path / "results.json")
    again = Results.load(tmp_path / "results.json")

    assert again.facts == {"cores": 2}
    assert again.rounds("handoff", "1 waiting", "redislock", "overlaps") == [0]
    kept = again.pooled("handoff", "1 waiting", "redislock", "handoff_ms")
    assert (kept[0], kept[-1]) == (0, 999), "thinning keeps both ends"
    assert quantile(kept, 0.99) == pytest.approx(989, abs=5)


def test_a_scenario_measured_again_replaces_the_old_one_alone(tmp_path: Path) -> None:
    old, new = Results({"load": 9}), Results({"load": 1})
    old.add("handoff", "1 waiting", "redislock", overlaps=3)
    old.add("names", "1 names", "redislock", keys=1)
    new.add("handoff", "1 waiting", "redislock", overlaps=0)
    old.save(tmp_path / "old.json")
    new.save(tmp_path / "new.json")

    both = Results.load(tmp_path / "old.json", tmp_path / "new.json")

    assert both.rounds("handoff", "1 waiting", "redislock", "overlaps") == [0]
    assert both.rounds("names", "1 names", "redislock", "keys") == [1]
    assert both.facts == {"load": 1}


def test_a_page_keeps_what_people_wrote(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- generated: facts -->\nold\n<!-- end -->\nAfter.\n")

    rewrite(page, {"facts": "new"})

    assert page.read_text() == "Before.\n<!-- generated: facts -->\nnew\n<!-- end -->\nAfter.\n"


def test_a_part_without_a_place_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- generated: facts -->\nold\n<!-- end -->\n")

    with pytest.raises(KeyError, match="no place for others"):
        rewrite(page, {"facts": "new", "others": "new"})

    assert "old" in page.read_text()


@pytest.mark.parametrize("scenario", NAMES)
def test_each_scenario_has_its_place_on_the_page(scenario: str) -> None:
    assert f"<!-- generated: {scenario} -->" in PAGE.read_text()


def test_the_page_shows_what_was_measured() -> None:
    results = Results.load(PAGE.with_suffix("") / "results.json")
    text = PAGE.read_text()

    assert [name for name, part in parts(results).items() if part.strip() not in text] == []
