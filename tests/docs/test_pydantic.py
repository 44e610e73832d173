"""Pydantic: the guide's tasks run; one model is one lock, however it was written, and in a rolling deploy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from celery import Task

from ..support.deadlines import eventually
from ..support.places import DOCS
from ..support.servers import Server
from ..support.versions import not_with_5_4
from .guide import Reader, followed

PAGE = "pydantic.md"

pytestmark = not_with_5_4("it has no pydantic=True")

#: Each state, and each result or error, of the calls in `results`, once all have ended.
THEIR_ENDS = """
import json, time
while not all(result.ready() for result in results): time.sleep(0.05)
print(json.dumps([[result.state, str(result.result)] for result in results]))
"""

#: Publishes equal orders to both tasks, the first to one that runs already.
EQUAL = f"""
from shop import Order, app, bill, pack
from same import same
import sys
sends_models = {hasattr(Task, "_dump_pydantic_arguments")}
same = [order if sends_models or isinstance(order, dict) else order.model_dump() for order in same]
other = {{"id": 2, "customer": {{"id": 9}}}}
first = bill.delay(same[0])
import time
while not app.control.inspect().active() or not any(app.control.inspect().active().values()): time.sleep(0.1)
results = [first, *map(bill.delay, same[1:]), bill.delay(other)]
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

        first, *same, other = reader.python(EQUAL + THEIR_ENDS)
        assert [state for state, _ in (first, other)] == ["SUCCESS"] * 2
        assert eval(first[1]) == {"order": 1, "total": 9.5}
        assert [state for state, _ in same] == ["REVOKED"] * 3

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
