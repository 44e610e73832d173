"""Event sender: sends Celery events in a thread of its own, over a connection of its own.

The worker's own dispatcher is in its parent, and the children of a pool have none. Celery's `Task.send_event`
takes a connection from the pool that the body publishes with, and waits there while the broker is away. Here
a run leaves its event in one step. The thread gathers for some tenths of a second, and keeps its connection
only while there is something to send: a process in which nothing is told has neither.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from celery import Celery

from ..engine.threads import Bell, begin

logger = logging.getLogger(__name__)

#: The groups of which several go in one message.
GATHERED = frozenset({"lock"})
#: How late events are sent, seconds.
PAUSE_S = 0.5
#: Without events the thread, and its connection, stay for so many pauses.
IDLE_PAUSES = 20
#: So many events are kept while the broker is away; those that come then push out the oldest.
MOST = 1000
#: How long the end of a process waits for what is left, seconds.
LAST_S = 2.0


class EventSender:
    """Sends the events of one process to the broker.

    Args:
        app: The app.
        hostname: The worker's, as monitors know it; None: this process is no worker.
        pause_s: How late events are sent, seconds.
    """

    def __init__(self, app: Celery, hostname: str | None, pause_s: float = PAUSE_S) -> None:
        self._app, self._hostname, self._pause_s = app, hostname, pause_s
        self._unsent: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MOST)
        self._bell, self._ended = Bell(), Bell()
        self._runs = self._is_closing = self._has_failed = False

    def put(self, type_: str, fields: Mapping[str, Any]) -> None:
        """Have an event sent soon; never blocks, never raises."""
        # The time at which it happened: it may be sent much later.
        self._unsent.append((type_, {**fields, "timestamp": time.time()}))
        if not self._runs:
            self._begin()

    def close(self) -> None:
        """Send what is left; wait for that for at most `LAST_S`."""
        self._is_closing = True
        ended = self._ended
        self._bell.ring()
        if self._runs:
            ended.wait(LAST_S)

    def _begin(self) -> None:
        self._runs = True
        # Anew: nobody may have waited for the last one.
        self._ended = ended = Bell()
        self._runs = begin(partial(self._run, ended), "redislock-events")

    def _run(self, ended: Bell) -> None:
        is_sent = False
        try:
            self._bell.wait(self._pause_s)
            self._send_while_there_is_something()
            is_sent, self._has_failed = True, False
        except Exception as error:  # noqa: BLE001 - whatever it is, monitors have to do without
            self._say_once(error)
        finally:
            self._runs = False
            ended.ring()
        # An event may have come just before that. While the broker is away, the next one begins a thread.
        if is_sent and self._unsent and not self._runs:
            self._begin()

    def _send_while_there_is_something(self) -> None:
        with self._dispatcher() as dispatcher:
            idle = 0
            while idle < IDLE_PAUSES:
                idle = 0 if self._unsent else idle + 1
                self._send_all(dispatcher)
                if self._is_closing:
                    return
                self._bell.wait(self._pause_s)

    def _send_all(self, dispatcher: Any) -> None:
        while (event := self._next()) is not None:
            type_, fields = event
            dispatcher.send(type_, **fields)
        # Those of locks are one message, as a worker sends its own of tasks.
        dispatcher.flush(errors=False)

    def _next(self) -> tuple[str, dict[str, Any]] | None:
        # Two threads may have been begun at once: the other one may just have taken it.
        with suppress(IndexError):
            return self._unsent.popleft()
        return None

    @contextmanager
    def _dispatcher(self) -> Iterator[Any]:
        with self._app.connection_for_write() as connection:
            # It tries once more, and no longer. All that follows has a connection then, and does not wait for
            # one, as kombu would do without end.
            connection.connect()
            with (
                connection.channel() as channel,
                self._app.events.Dispatcher(
                    connection,
                    self._hostname,
                    channel=channel,
                    buffer_while_offline=False,
                    buffer_group=GATHERED,
                    buffer_limit=MOST,
                ) as dispatcher,
            ):
                yield dispatcher

    def _say_once(self, error: Exception) -> None:
        """Log a failure, and not again until something could be sent."""
        if not self._has_failed:
            self._has_failed = True
            logger.warning("events of locks cannot be sent to monitors just now: %s", error)
