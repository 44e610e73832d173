import os
import time

from django.db.models import F

from celery_redislock import locked_task

from .models import Order, Sweep


@locked_task(bind=True, lock_key="order:{order_id}")
def ship(self, order_id):
    self.lock.ensure_held()
    Order.objects.filter(pk=order_id).update(shipped=F("shipped") + 1)
    while not os.path.exists(os.environ["SHOP_GATE"]):  # the parcel service takes its time
        time.sleep(0.05)
    return Order.objects.get(pk=order_id).customer


@locked_task(bind=True, lock_args=())
def sweep(self):
    Sweep.objects.create(due=self.request.redislock_beat["due"])
