"""Canvas: copied whole, marked everywhere, and every result of it is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from celery_redislock.batch.canvas import plain, results_of, revived, tasks_of, write_header

app = Celery("canvas", backend="cache+memory://", set_as_current=False)


@app.task(shared=False, name="part")
def part(*args: Any) -> None:
    """Do nothing."""


def sig(*args: Any) -> Any:
    return part.si(*args)


def shapes() -> dict[str, tuple[Any, int]]:
    """Name canvases, and how many tasks each has."""
    linked = sig()
    linked.link(sig())
    linked.link_error(sig())
    in_turn = sig()
    in_turn.link(linked)
    return {
        "single": (sig(), 1),
        "chain": (chain(sig(), sig()), 2),
        "group": (group(sig(), sig(), sig()), 3),
        "generated group": (group(sig(n) for n in range(3)), 3),
        "chord": (chord([sig(), sig()], sig()), 3),
        "nested": (chain(sig(), chord([chain(sig(), sig()), sig()], group(sig(), sig())), sig()), 7),
        "linked": (linked, 3),
        "linked in turn": (in_turn, 4),
        "chunks": (part.chunks(range(6), 2), 3),
        "map": (part.map(n for n in range(3)), 1),
    }


@pytest.mark.parametrize("shape", sorted(shapes()))
def test_every_task_of_a_canvas_is_marked_once_copied(shape: str) -> None:
    canvas, count = shapes()[shape]
    copy = revived(plain(canvas), app)
    write_header(copy, "mark", 7)
    marked = [*tasks_of(copy)]
    assert len(marked) == count
    assert all(task["options"]["headers"] == {"mark": 7} for task in marked)
    assert not any("headers" in task["options"] for task in tasks_of(plain(canvas)))


@pytest.mark.parametrize("shape", sorted(shapes()))
def test_a_copy_can_be_frozen_and_leaves_the_original_without_ids(shape: str) -> None:
    canvas, _ = shapes()[shape]
    before = json.dumps(plain(canvas), default=str, sort_keys=True)
    revived(plain(canvas), app).freeze()
    assert json.dumps(plain(canvas), default=str, sort_keys=True) == before


@pytest.mark.parametrize("shape", ["single", "chain", "group", "generated group", "chord", "nested"])
def test_a_frozen_canvas_that_travelled_has_the_same_results(shape: str) -> None:
    canvas = revived(plain(shapes()[shape][0]), app)
    ids = [result.id for result in results_of(canvas.freeze())]
    travelled = revived(plain(json.loads(json.dumps(plain(canvas)))), app)
    assert sorted(result.id for result in results_of(travelled.freeze())) == sorted(ids)
    assert len(set(ids)) == shapes()[shape][1]


def test_headers_of_a_task_and_of_a_container_are_kept_beside_the_mark() -> None:
    canvas = group(sig().set(headers={"own": 1}), headers={"common": 2})
    copy = revived(plain(canvas), app)
    write_header(copy, "mark", 7)
    assert copy.options["headers"] == {"common": 2, "mark": 7}
    assert [task["options"]["headers"] for task in tasks_of(copy)] == [{"own": 1, "mark": 7}]


def test_every_part_of_a_copy_knows_its_application() -> None:
    copy = revived(plain(shapes()["nested"][0]), app)
    assert all(task.app is app for task in tasks_of(copy))


def test_arguments_are_neither_copied_nor_looked_into() -> None:
    value = object()
    (task,) = tasks_of(plain(sig(value)))
    assert task["args"][0] is value
