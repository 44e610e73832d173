"""Pydantic: the guide's tasks run; one model is one lock, however it was written, and in a rolling deploy."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from celery import Task

from ...support.deadlines import eventually
from ...support.places import DOCS
from ...support.servers import Server
from ...support.versions import not_with_5_4
from .guide import Reader, followed

PAGE = "pydantic.md"

pytestmark = not_with_5_4("it has no pydantic=True")

#: Each state, and each result or error, of the calls in `results`, once all have ended.
THEIR_ENDS = """
import json, time
while not all(result.ready() for result in results): time.sleep(0.05)
print(json.dumps([[result.state, str(result.result)] for result in results]))
"""

#: Bills one order, written in four ways, and one of another customer.
EQUAL = f"""
from shop import bill
from same import same
sends_models = {hasattr(Task, "_dump_pydantic_arguments")}
orders = [order if sends_models or isinstance(order, dict) else order.model_dump() for order in same]
results = [*map(bill.delay, orders), bill.delay({{"id": 2, "customer": {{"id": 9}}}})]
"""

PACKED = """
from shop import pack
from same import same
orders = [order if isinstance(order, dict) else order.model_dump() for order in same]
results = list(map(pack.delay, orders)) + [pack.delay({"id": 5, "customer": {"id": 7}})]
ids = [result.id for result in results]
"""

WRONG = """
from shop import bill, pack
results = [pack.delay({"id": "none", "customer": {"id": 1}}), bill.delay({"id": 1})]
"""


@pytest.mark.timeout(300)
def test_equal_orders_are_one_call_and_one_customer_is_billed_once_at_a_time(
    own_server: Server, tmp_path: Path
) -> None:
    with followed(PAGE, own_server, tmp_path) as reader:
        eventually(lambda: len(re.findall("succeeded in", reader.log("worker"))) == 2, 60)

        *same, other = reader.python(EQUAL + THEIR_ENDS)
        assert sorted(state for state, _ in same) == ["REVOKED"] * 3 + ["SUCCESS"]
        assert (other[0], ast.literal_eval(other[1])) == ("SUCCESS", {"order": 2, "total": 9.5})

        *same, other = reader.python(PACKED + "import json; print(json.dumps(ids))")
        assert len(set(same)) == 1
        assert other not in same

        (invalid, error), (unnamed, reason) = reader.python(WRONG + THEIR_ENDS)
        assert (invalid, unnamed) == ("FAILURE", "FAILURE")
        assert "ValidationError" in error
        assert "1 validation error for Order" in reader.log("worker")
        assert "lock_key field {order.customer.id}" in reason


def test_old_and_new_versions_of_a_model_share_a_lock(own_server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    reader = Reader(DOCS / "howto" / PAGE, folder, own_server)
    reader.follow(next(step for step in reader.steps if step.code.startswith("# shop.py")))
    ask = "from shop import pack; print('\"' + pack.lock_name({'id': 1, 'customer': {'id': 7}}) + '\"')"
    old = reader.python(ask)

    shop = folder / "shop.py"
    shop.write_text(
        shop.read_text().replace('kind: str = "web"', 'kind: str = "web"\n    gift: bool = False')
    )

    assert "gift" in shop.read_text()
    assert reader.python(ask) == old


UNDECLARED = """
import json
from shop import Order, app
from celery_redislock import locked_task

def said(scope):
    @locked_task(app=app, name=scope, lock_scope=scope)
    def ship(order: Order): ...
    try:
        ship.delay(Order(id=1, customer={"id": 7}))
    except Exception as error:
        return type(error).__name__

print(json.dumps([said("run"), said("task")]))
"""


def test_a_model_is_refused_by_a_task_that_does_not_ask_for_models(
    own_server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    reader = Reader(DOCS / "howto" / PAGE, folder, own_server)
    reader.follow(next(step for step in reader.steps if step.code.startswith("# shop.py")))

    assert reader.python(UNDECLARED) == ["EncodeError", "LockKeyError"]
