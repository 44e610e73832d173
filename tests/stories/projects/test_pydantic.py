"""Plain Celery with pydantic: one model is one lock, however it was written, and none is refused."""

from __future__ import annotations

from collections.abc import Callable

from ...support.deadlines import eventually
from ...support.versions import not_with_5_4
from .project import Project

#: One order: as a model, a dict, a dict with what the model would add, and with text for numbers.
SAME = (
    '={"id": 1, "customer": {"id": 7}}',
    '{"id": 1, "customer": {"id": 7}}',
    '{"id": 1, "customer": {"id": 7}, "kind": "web"}',
    '{"customer": {"id": "7"}, "id": "1"}',
)
OTHER = '{"id": 2, "customer": {"id": 8}}'

pytestmark = not_with_5_4("it has no pydantic=True")


def states(shop: Project, *ids: str) -> list[str]:
    """Return how calls have ended so far."""
    return [state for state, _ in shop.run("ends.py", *ids)]


def test_orders_of_one_customer_are_billed_one_at_a_time(project: Callable[[str], Project]) -> None:
    shop = project("plain_project")
    with shop.worker("shop"):
        (first,) = shop.run("desk.py", "bill", SAME[0])
        eventually(lambda: states(shop, first) == ["STARTED"], 20)
        *same, other = shop.run("desk.py", "bill", *SAME[1:], OTHER)
        eventually(lambda: states(shop, *same) == ["REVOKED"] * 3, 20)
        shop.open_gate()
        eventually(lambda: states(shop, first, other) == ["SUCCESS"] * 2, 20)
        (_, billed), (_, of_another) = shop.run("ends.py", first, other)

    assert (billed, of_another) == ({"order": 1, "total": 9.5}, {"order": 2, "total": 9.5})


def test_equal_orders_are_one_call_when_they_are_published(project: Callable[[str], Project]) -> None:
    shop = project("plain_project")
    with shop.worker("shop"):
        *same, other = shop.run("desk.py", "pack", *SAME, OTHER)
        shop.open_gate()
        eventually(lambda: states(shop, same[0], other) == ["SUCCESS"] * 2, 20)

    assert len(set(same)) == 1
    assert other not in same
