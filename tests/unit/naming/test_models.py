"""Models: one model has one name, in publisher and worker, however it was written."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Optional
from uuid import uuid4

import pydantic
import pytest
from celery import Celery
from kombu.utils import json as kombu_json

from celery_redislock import LockKeyError
from celery_redislock.messages.headers import NAME_HEADER

from ...support.applications import application, locked
from ...support.versions import not_with_5_4

pytestmark = not_with_5_4("it has no tasks of models")


class Customer(pydantic.BaseModel):
    id: int
    name: str = "nobody"


class Order(pydantic.BaseModel):
    id: int
    kind: str = "web"
    tags: list[str] = pydantic.Field(default_factory=list)
    customer: Customer | None = None
    lines: list[Customer] = []
    price: Decimal = Decimal(0)
    due: date | None = None


class Stamped(pydantic.BaseModel):
    id: int
    mark: str = pydantic.Field(default_factory=lambda: uuid4().hex)


class Secret(pydantic.BaseModel):
    word: pydantic.SecretStr


class Broken(pydantic.BaseModel):
    id: int

    @pydantic.field_validator("id")
    @classmethod
    def _fails(cls, value: int) -> int:
        raise LookupError("in the worker only")


def of_order(order: Order) -> None: ...


def of_customer(customer: Customer) -> None: ...


def of_optional(order: Optional[Order] = None, other: Order | None = None) -> None: ...  # noqa: UP045


def of_many(orders: list[Order], by_name: dict[str, Order] | None = None) -> None: ...


def of_default(order: Order = Order(id=1, kind="shop")) -> None: ...  # noqa: B008


def of_stamped(order: Stamped) -> None: ...


def of_secret(order: Secret) -> None: ...


def of_broken(order: Broken) -> None: ...


def bound(self: Any, number: int, /, *, order: Order) -> None: ...


def modelled(app: Celery, function: Any, **options: Any) -> Any:
    """Return a task of models."""
    return locked(app, function, name="t", pydantic=True, **options)


#: Ways to write one order.
ONE: list[Any] = [
    Order(id=1, customer=Customer(id=2)),
    Order(id=1, kind="web", customer=Customer(id=2, name="nobody"), tags=[], due=None),
    {"id": 1, "customer": {"id": 2}},
    {"id": "1", "customer": {"id": "2"}, "price": "0"},
    {"customer": Customer(id=2), "id": 1.0},
    {"id": 1, "customer": {"id": 2, "name": "nobody"}, "lines": [], "kind": "web"},
]

#: Other orders.
OTHERS: list[Any] = [
    {"id": 1},
    {"id": 2, "customer": {"id": 2}},
    {"id": 1, "customer": {"id": 2, "name": "me"}},
    {"id": 1, "customer": {"id": 2}, "tags": ["a"]},
    {"id": 1, "customer": {"id": 2}, "lines": [{"id": 2}]},
    {"id": 1, "customer": {"id": 2}, "price": "0.5"},
    {"id": 1, "customer": {"id": 2}, "due": "2026-01-02"},
]


def test_one_model_is_one_name_however_it_was_written(app: Celery) -> None:
    name = modelled(app, of_order).lock_name
    assert len({name(order) for order in ONE} | {name(order=order) for order in ONE}) == 1
    assert len({name(order) for order in [ONE[0], *OTHERS]}) == 1 + len(OTHERS)


def test_the_worker_finds_the_name_that_the_publisher_found(app: Celery) -> None:
    task = modelled(app, of_order, pydantic_context={"tenant": 7})
    for order in (
        Order(id=1, due=date(2026, 1, 2), price=Decimal("1.50")),
        Order(id=1, lines=[Customer(id=3)]),
    ):
        as_sent = order.model_dump(mode="json")
        assert task.lock_name(order) == task.lock_name(as_sent)


def test_a_strict_task_takes_no_text_for_a_number(app: Celery) -> None:
    name = modelled(app, of_customer, pydantic_strict=True).lock_name
    assert name(Customer(id=1)) == name({"id": 1, "name": "nobody"}) != name({"id": "1"})
    del app.tasks["t"]
    # As pickle carries it: JSON's text for a date would be refused.
    name = modelled(app, of_order, pydantic_strict=True).lock_name
    assert name(Order(id=1, due=date(2026, 1, 2))) == name(Order(id=1, kind="web", due=date(2026, 1, 2)))


def test_an_optional_model_and_the_default_of_one(app: Celery) -> None:
    name = modelled(app, of_optional).lock_name
    assert len({name(), name(None), name(order=None), name(None, None)}) == 1
    assert name({"id": "1"}) == name(Order(id=1)) != name(None, {"id": 1})
    del app.tasks["t"]
    name = modelled(app, of_default).lock_name
    assert name() == name(Order(id=1, kind="shop")) == name({"id": "1", "kind": "shop"}) != name({"id": 1})


def test_models_in_lists_and_dicts(app: Celery) -> None:
    name = modelled(app, of_many).lock_name
    assert name([{"id": "1"}, Order(id=2)]) == name([Order(id=1), {"id": 2, "kind": "web"}])
    assert name([{"id": 1}], {"a": {"id": "2"}}) == name([Order(id=1)], by_name={"a": Order(id=2)})
    assert name([{"id": 1}, {"id": 2}]) != name([{"id": 2}, {"id": 1}])


def test_a_bound_task_and_arguments_beside_a_model(app: Celery) -> None:
    name = modelled(app, bound, bind=True).lock_name
    assert name(1, order={"id": "1"}) == name(1, order=Order(id=1)) != name(2, order=Order(id=1))


@pytest.mark.parametrize(
    "lock_key",
    [
        "order:{order.id}:{order.customer.id}:{order.lines[0].id}",
        lambda order: f"order:{order.id}:{order.customer.id}:{order.lines[0].id}",
    ],
    ids=["template", "callable"],
)
def test_a_key_reads_the_model_that_the_body_gets(app: Celery, lock_key: Any) -> None:
    task = modelled(app, of_order, lock_key=lock_key)
    order = Order(id=1, customer=Customer(id=2), lines=[Customer(id=3)])

    for written in (order, order.model_dump(mode="json"), {**order.model_dump(), "id": "1"}):
        assert task.lock_name(written) == task.lock_name(order=written) == "redislock:order:1:2:3"


def test_a_field_that_is_made_anew_for_each_model_does_not_count_while_it_is_not_given(app: Celery) -> None:
    name = modelled(app, of_stamped).lock_name
    assert name({"id": 1}) == name({"id": "1"})
    given = Stamped(id=1)
    assert name(given) == name(given.model_dump()) != name({"id": 1})
    assert name(Stamped(id=1)) != name(given), "two messages that differ"


def test_what_a_model_hides_keeps_calls_apart(app: Celery) -> None:
    name = modelled(app, of_secret).lock_name
    assert name({"word": "one"}) != name({"word": "two"})


def test_a_value_that_is_no_such_model_counts_as_it_is(app: Celery) -> None:
    """The body fails for it, with pydantic's own words."""
    name = modelled(app, of_order).lock_name
    assert name({"id": "no number"}) == name({"id": "no number"}) != name({"id": "neither"})
    assert name(7) != name("7")


@pytest.mark.parametrize("scope", ["run", "task", "queue"])
def test_the_publisher_sends_what_celery_sends(redis_url: str, scope: str) -> None:
    app = application(redis_url)
    task = modelled(app, of_order, lock_scope=scope)
    sent: list[Any] = []
    app.send_task = lambda *args, **options: sent.append((args, options)) or task.AsyncResult("x")

    for call in ({"id": "1"}, {"id": "no number"}, Order(id=2)):
        if isinstance(call, Order) and not hasattr(type(task), "_dump_pydantic_arguments"):
            continue  # before 5.7 Celery cannot send it
        task.apply_async((call,))

    assert all(options["headers"][NAME_HEADER].startswith("redislock:t:") for _, options in sent)
    app.close()


def test_a_model_whose_validator_fails_here_is_named_by_the_worker(app: Celery) -> None:
    task = modelled(app, of_broken)
    with pytest.raises(LockKeyError, match=r"argument 'order'.*LookupError") as refused:
        task.lock_name({"id": 735192})
    assert "735192" not in str(refused.value)


def test_annotations_alone_change_nothing(app: Celery) -> None:
    name = locked(app, of_order, name="t").lock_name
    assert name({"id": 1}) != name({"id": "1"})
    with pytest.raises(LockKeyError, match="Order"):
        name(Order(id=1))


# ---- what kombu was told to send


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def of_anything(value: Any) -> None: ...


def test_a_type_that_is_registered_with_kombu_counts_as_what_is_sent(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kombu_json, "_encoders", dict(kombu_json._encoders))
    monkeypatch.setattr(kombu_json, "_decoders", dict(kombu_json._decoders))
    name = locked(app, of_anything, name="t").lock_name
    with pytest.raises(LockKeyError, match="Money"):
        name(Money(1))

    kombu_json.register_type(
        Money, "money", lambda money: {"cents": money.cents}, lambda o: Money(o["cents"])
    )

    arrived = kombu_json.loads(kombu_json.dumps([Money(1)]))[0]
    assert isinstance(arrived, Money)
    assert name(Money(1)) == name(arrived) != name(Money(2))
    assert name([{"a": Money(1)}]) == name([{"a": arrived}])
    assert name(datetime(2026, 1, 2)) == name("2026-01-02T00:00:00")
