"""A locked task that writes into the database."""

from django.db.models import F

from celery_redislock import locked_task

from .celery import app
from .models import Order


@locked_task(app=app, lock_key="order:{order_id}")
def ship(order_id):
    """Ship an order."""
    Order.objects.filter(pk=order_id).update(shipped=F("shipped") + 1)
