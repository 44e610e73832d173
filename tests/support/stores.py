"""Stores: a server for the tests of one package, whose workers run from test to test.

The shared one is emptied between tests. Database 0 has the locks, 1 the messages, 2 the results, 3 a journal.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from celery import Celery

from .servers import Server, available_kinds

#: Where a worker finds what the tests have started: ``redis://host:port``, without a database.
STORE = "REDISLOCK_TEST_STORE"


@contextmanager
def own_store() -> Iterator[str]:
    """Run a server, and give its address without a database."""
    with Server(available_kinds()[0]) as server, pytest.MonkeyPatch.context() as patch:
        address = server.url.removesuffix("/0")
        patch.setenv(STORE, address)
        yield address
        _drop_results()


@contextmanager
def own_store_of(app: Celery, configure: Callable[[str], None]) -> Iterator[str]:
    """Do so for one application, which lives in this process and is closed at the end.

    Args:
        app: The application.
        configure: Tells it the address.
    """
    with own_store() as address:
        configure(address)
        yield address
        _drop_results()
        app.backend.result_consumer.stop()
        app.close()


def _drop_results() -> None:
    """Drop what nobody uses, while the server is there: Celery unsubscribes from each result that goes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
