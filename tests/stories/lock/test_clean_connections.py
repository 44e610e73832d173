"""Clean connections: whatever interrupts a question, nobody reads its answer in place of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import redis

from celery_redislock.engine.protocol.script import Script
from celery_redislock.engine.transport.server import Server
from celery_redislock.engine.transport.store import Store

from .every_point import interrupted_everywhere

# Interrupted while it closes, a socket is left to the collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

ECHO = ("ECHO", "right")


class KeepsWhateverHappened(Server):
    """A store that takes each of its connections for clean, as this one did once."""

    def begin_afresh(self) -> None:
        """Keep a connection of which nothing is known."""
        super().begin_afresh()
        self._idle = _Trusting()

    def _after_failure(self, idle: Any, connection: Any, *_: Any, **__: Any) -> None:
        idle.append(connection)


class _Trusting(deque[Any]):
    def append(self, connection: Any) -> None:
        """Take it for ready."""
        connection.is_ready = connection._inner is not None
        super().append(connection)


def a_command(store: Store) -> None:
    """Ask and be answered."""
    store.call(("ECHO", "wrong"))


def a_command_and_its_acknowledgement(store: Store) -> None:
    """Ask for replicas, of which there is none: two replies."""
    store.call(("ECHO", "wrong"), 0.004, 1)


def a_script_that_is_not_known(store: Store) -> None:
    """Be refused, and send it in full."""
    store.call(("SCRIPT", "FLUSH"))
    store.run(Script("return ARGV[1]", "0" * 40), (b"key",), ("wrong",))


def a_pipeline(store: Any) -> None:
    """Ask much at once."""
    store.exchange([("ECHO", "wrong"), ("PING",), ("ECHO", "wrong")], float("inf"), 1.0)


CALLS = (a_command, a_command_and_its_acknowledgement, a_script_that_is_not_known, a_pipeline)


def everybody_gets_his_own_answer(store: Store, call: Callable[[Any], None], *, each: int) -> None:
    """Interrupt a call at each point, and ask something else after each."""
    store.call(ECHO)
    struck = 0
    for interrupted in interrupted_everywhere(lambda: call(store), each=each):
        struck += interrupted
        for _ in range(3):
            said = store.call(ECHO)
            assert said == b"right", f"another's answer was read: {said!r}"
    assert struck > 10, "it was hardly interrupted"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_an_interrupted_call_leaves_no_answer_to_others(client: redis.Redis, call: Any) -> None:
    pool = client.connection_pool
    store = Server(pool.connection_class, pool.connection_kwargs)

    everybody_gets_his_own_answer(store, call, each=1)


@pytest.mark.parametrize("call", [a_command, a_pipeline], ids=lambda call: call.__name__)
def test_a_store_that_keeps_dirty_connections_is_caught(client: redis.Redis, call: Any) -> None:
    pool = client.connection_pool
    store = KeepsWhateverHappened(pool.connection_class, pool.connection_kwargs)

    with pytest.raises((AssertionError, redis.RedisError), match=r"another's|unknown|Protocol"):
        everybody_gets_his_own_answer(store, call, each=1)
