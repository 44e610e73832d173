"""What somebody does by hand: ``console.py place CUSTOMER``, ``again ORDER``, ``tick``, ``show``."""

import json
import sys

import django
import shop  # noqa: F401

django.setup()

from django.db import transaction  # noqa: E402
from django_celery_beat.models import IntervalSchedule, PeriodicTask  # noqa: E402
from django_celery_results.models import TaskResult  # noqa: E402
from orders.models import Order, Sweep  # noqa: E402
from orders.tasks import ship, sweep  # noqa: E402


def place(customer):
    """Place an order, to be shipped when it is committed, and one that is rolled back."""
    with transaction.atomic():
        order = Order.objects.create(customer=customer)
        ship.delay_on_commit(order.pk)
    with transaction.atomic():
        ship.delay_on_commit(order.pk + 1)
        transaction.set_rollback(True)
    print(json.dumps(order.pk))


def again(order):
    print(json.dumps(ship.delay(int(order)).id))


def tick():
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="sweep", task=sweep.name, interval=every)


def show():
    results = TaskResult.objects.filter(task_name=ship.name).order_by("date_created")
    print(
        json.dumps(
            {
                "orders": list(Order.objects.values("pk", "shipped")),
                "results": [[each.task_id, each.status, each.result] for each in results],
                "sweeps": list(Sweep.objects.values_list("due", flat=True)),
            }
        )
    )


{"place": place, "again": again, "tick": tick, "show": show}[sys.argv[1]](*sys.argv[2:])
