"""The same with unittest alone: ``python -m unittest tests.test_unittest``."""

import unittest
from contextlib import ExitStack

from shop import tasks
from shop.app import app

from celery_redislock.testing import LockStore, assert_skipped


class TestImport(unittest.TestCase):
    """With a store of its own."""

    def setUp(self):
        app.conf.task_always_eager = True
        with ExitStack() as stack:
            self.store = stack.enter_context(LockStore())
            self.addCleanup(stack.pop_all().close)

    def test_a_second_import_is_skipped(self):
        with self.store.busy(tasks.import_csv, "flights.csv", by="worker2"):
            result = tasks.import_csv.delay("flights.csv")

        assert_skipped(result, by="worker2")

    def test_nothing_is_left(self):
        tasks.import_csv.delay("flights.csv").get()

        assert not self.store.left()
