"""Stamps: a locked batch is stamped as its bare canvas is, before or after it is wrapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, Signature, chain, chord, group
from celery.canvas import StampingVisitor

from celery_redislock import locked_batch
from celery_redislock.batch.canvas import plain, revived, tasks_of

from ...support.broker import Broker


class Visitor(StampingVisitor):
    """Stamps each part with what it is."""

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"tenant": "acme", "stamped_headers": ["tenant"]}

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
        return {"in_group": len(group.tasks)}

    def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
        return {"in_chain": len(chain.tasks)}

    def on_chord_body(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"body": True}

    def on_callback(self, callback: Any, **headers: Any) -> dict[str, Any]:
        return {"callback": True}

    def on_errback(self, errback: Any, **headers: Any) -> dict[str, Any]:
        return {"errback": True}


def shapes(part: Callable[[], Any]) -> dict[str, Any]:
    """Return canvases of every shape."""
    linked = part()
    linked.link(part())
    linked.link_error(part())
    return {
        "single": linked,
        "chain": chain(part(), part(), part()),
        "group": group(part(), part()),
        "group of a generator": group(part() for _ in range(2)),
        "chord": chord([part(), part()], part()),
        "nested": chain(part(), group(chain(part(), part()), part()), chord([part(), linked], part())),
        "chord of chains": chord([chain(part(), part()), part()], chain(part(), part())),
    }


STAMPS: dict[str, Callable[[Any], Any]] = {
    "visitor": lambda canvas: canvas.stamp(Visitor()),
    "headers": lambda canvas: canvas.stamp(tenant="acme", priority_class=3),
    "both": lambda canvas: canvas.stamp(Visitor(), stamped="yes"),
    "twice, appended": lambda canvas: (
        canvas.stamp(tenant="acme"),
        canvas.stamp(append_stamps=True, tenant="corp"),
    ),
}


def part_of(app: Celery) -> Callable[[], Any]:
    """Return what makes a task of a canvas."""

    def body(*args: Any) -> None:
        """Do nothing."""

    task = app.task(body, name="part", shared=False, lazy=False)
    return lambda: task.si()


def stamps(canvas: Any) -> list[dict[str, Any]]:
    """List the stamps of every task of a canvas, callbacks too."""
    found = []
    for task in tasks_of(canvas):
        names = task["options"].get("stamped_headers") or []
        found.append({name: _sorted(task["options"].get(name)) for name in sorted(names)})
    return found


def _sorted(stamp: Any) -> Any:
    # Celery makes sets of those that it appends.
    return sorted(stamp) if isinstance(stamp, list) else stamp


@pytest.mark.parametrize("shape", shapes(lambda: Signature("part")))
@pytest.mark.parametrize("stamp", STAMPS)
def test_a_batch_is_stamped_as_its_bare_canvas_is(app: Celery, shape: str, stamp: str) -> None:
    part = part_of(app)
    bare, inside, before = (revived(plain(shapes(part)[shape]), app) for _ in range(3))
    STAMPS[stamp](bare)
    batch = locked_batch(inside, lock_key="b")
    STAMPS[stamp](batch)
    STAMPS[stamp](before)

    assert any(stamps(bare))
    assert stamps(batch.kwargs["canvas"]) == stamps(bare)
    assert stamps(locked_batch(before, lock_key="b").kwargs["canvas"]) == stamps(bare)


def test_stamping_a_batch_leaves_the_canvas_that_it_was_made_of_alone(app: Celery) -> None:
    part = part_of(app)
    canvas = chain(part(), part())

    batch = locked_batch(canvas, lock_key="b").stamp(tenant="acme")

    assert stamps(canvas) == [{}, {}]
    assert stamps(batch.kwargs["canvas"]) == [{"tenant": "acme"}] * 2


def test_the_stamps_are_in_each_message(app: Celery, client: Any) -> None:
    app.conf.task_default_queue = uuid4().hex
    part = part_of(app)
    broker = Broker(app)
    locked_batch(chain(part(), part()), lock_key="b").stamp(Visitor()).delay()
    for _ in range(2):
        message = broker.message(app.conf.task_default_queue)
        assert message.headers["stamps"]["tenant"] == "acme"
        broker.run(message)
    broker.close()
