import os
import time

from celery import Celery
from pydantic import BaseModel

from celery_redislock import locked_task

app = Celery("shop", broker=os.environ["SHOP_REDIS"], backend=os.environ["SHOP_REDIS"])
app.conf.update(broker_connection_retry_on_startup=True, task_track_started=True)


class Customer(BaseModel):
    id: int


class Order(BaseModel):
    id: int
    customer: Customer
    kind: str = "web"


class Invoice(BaseModel):
    order: int
    total: float


@locked_task(app=app, pydantic=True, lock_key="customer:{order.customer.id}")
def bill(order: Order) -> Invoice:
    while not os.path.exists(os.environ["SHOP_GATE"]):
        time.sleep(0.05)
    return Invoice(order=order.id, total=9.5)


@locked_task(app=app, pydantic=True, lock_scope="task")
def pack(order: Order, note: str | None = None) -> int:
    while not os.path.exists(os.environ["SHOP_GATE"]):
        time.sleep(0.05)
    return order.id
