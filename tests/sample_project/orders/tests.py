"""Tests of the Django app, by Django's own runner."""

from contextlib import ExitStack

from django.test import TestCase

from celery_redislock.testing import LockStore, assert_skipped

from .models import Order
from .tasks import ship


class TestShip(TestCase):
    """With a store of its own."""

    def setUp(self):
        with ExitStack() as stack:
            self.store = stack.enter_context(LockStore())
            self.addCleanup(stack.pop_all().close)
        self.order = Order.objects.create()

    def test_an_order_is_shipped(self):
        ship.delay(self.order.pk).get()

        self.order.refresh_from_db()
        assert self.order.shipped == 1

    def test_an_order_that_is_being_shipped_is_not_shipped_again(self):
        with self.store.busy(ship, self.order.pk, by="worker2"):
            assert_skipped(ship.delay(self.order.pk), by="worker2")

        self.order.refresh_from_db()
        assert self.order.shipped == 0
