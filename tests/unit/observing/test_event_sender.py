"""Event sender: a broker that is away or hangs holds up neither a run nor the end of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from celery_redislock.observing import event_sender
from celery_redislock.observing.event_sender import EventSender

from ...support.deadlines import eventually


class Broker:
    """An app and its connection in one, as far as a sender needs them.

    Attributes:
        opens: Set: a connection opens at once.
        error: What opening a connection raises.
        opened: How often one was opened.
    """

    def __init__(self) -> None:
        self.opens = threading.Event()
        self.opens.set()
        self.error: Exception | None = None
        self.opened, self.closed = 0, 0
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.events = SimpleNamespace(Dispatcher=self.dispatcher)

    @contextmanager
    def connection_for_write(self) -> Iterator[Broker]:
        yield self
        self.closed += 1

    def connect(self) -> None:
        self.opened += 1
        self.opens.wait(20)
        if self.error is not None:
            raise self.error

    @contextmanager
    def channel(self) -> Iterator[str]:
        yield "a channel"

    @contextmanager
    def dispatcher(self, *_: Any, **__: Any) -> Iterator[Broker]:
        yield self

    def send(self, type_: str, **fields: Any) -> None:
        self.sent.append((type_, fields))

    def flush(self, *, errors: bool) -> None:
        """Keep nothing back: see the tests with a real dispatcher."""


@pytest.fixture
def broker() -> Iterator[Broker]:
    """Give a broker, which answers at the end at the latest."""
    broker = Broker()
    yield broker
    broker.opens.set()


def sender_to(broker: Any) -> EventSender:
    return EventSender(broker, "w@here", pause_s=0.01)


def sent_numbers(broker: Broker) -> list[int]:
    return [fields["number"] for _, fields in broker.sent]


def test_what_comes_in_a_row_is_sent_over_one_connection_with_the_time_at_which_it_came(
    broker: Broker,
) -> None:
    sender = sender_to(broker)
    for number in range(10):
        sender.put("lock-conflict", {"number": number})

    eventually(lambda: len(broker.sent) == 10)
    assert sent_numbers(broker) == list(range(10))
    assert all(fields["timestamp"] > 0 for _, fields in broker.sent)
    assert broker.opened == 1


def test_an_idle_sender_keeps_no_connection_and_opens_one_again(broker: Broker) -> None:
    sender = sender_to(broker)
    sender.put("lock-conflict", {"number": 1})
    eventually(lambda: broker.closed == 1)

    eventually(lambda: not sender._runs)
    sender.put("lock-conflict", {"number": 2})
    eventually(lambda: sent_numbers(broker) == [1, 2])


def test_a_broker_that_hangs_holds_up_nobody_and_gets_the_newest_later(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_sender, "MOST", 3)
    broker.opens.clear()
    sender = sender_to(broker)

    for number in range(5):  # in this thread: it would stand still here
        sender.put("lock-conflict", {"number": number})
    eventually(lambda: broker.opened == 1)
    assert broker.sent == []

    broker.opens.set()
    eventually(lambda: sent_numbers(broker) == [2, 3, 4])


def test_the_end_of_a_process_sends_what_is_left(broker: Broker) -> None:
    sender = EventSender(broker, None, pause_s=60)  # type: ignore[arg-type]
    sender.put("lock-conflict", {"number": 1})

    sender.close()

    assert sent_numbers(broker) == [1]


def test_the_end_of_a_process_sends_what_is_left_also_after_a_failure(broker: Broker) -> None:
    broker.error = ConnectionRefusedError("nobody listens")
    sender = sender_to(broker)
    sender.put("lock-conflict", {"number": 1})
    eventually(lambda: not sender._runs)
    broker.error = None
    sender._pause_s = 60
    sender.put("lock-conflict", {"number": 2})

    sender.close()

    assert sent_numbers(broker) == [1, 2]


def test_the_end_of_a_process_does_not_wait_for_a_broker_that_hangs(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_sender, "LAST_S", 0.05)
    broker.opens.clear()
    sender = sender_to(broker)
    sender.put("lock-conflict", {"number": 1})

    sender.close()  # the test would run into its time limit here

    assert broker.sent == []


def test_a_broker_that_is_away_is_said_once_and_what_is_left_is_sent_when_it_is_back(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.error = ConnectionRefusedError("nobody listens")
    sender = sender_to(broker)
    for number in range(2):
        sender.put("lock-conflict", {"number": number})
        eventually(lambda: not sender._runs)

    broker.error = None
    sender.put("lock-conflict", {"number": 2})

    eventually(lambda: sent_numbers(broker) == [0, 1, 2])
    assert [record.getMessage() for record in caplog.records] == [
        "events of locks cannot be sent to monitors just now: nobody listens"
    ]
