"""Cases of the benchmark of tasks: what a worker is given, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.celery_line import RABBITMQ, Case, running_line
from benchmarks.scenarios.celery import CASES, measurable

from ..support.servers import Server, available_kinds, free_port


class Notes:
    """Stands for a bench, and keeps what is left out."""

    def __init__(self) -> None:
        self.left_out: list[str] = []

    def leave_out(self, case: str, why: str) -> None:
        """Keep the case."""
        self.left_out.append(f"{case}: {why}")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a server of this module's own: brokers write into it."""
    with Server(available_kinds()[0]) as server:
        yield server


def test_a_case_whose_broker_does_not_answer_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQP_URL", f"amqp://guest:guest@127.0.0.1:{free_port()}//")
    notes = Notes()

    found = list(measurable(notes))  # type: ignore[arg-type]

    assert found == [case for case in CASES if case.broker != RABBITMQ]
    assert notes.left_out == ["no-op, 2 processes, RabbitMQ: no RabbitMQ answers, see AMQP_URL"]


def test_with_a_rabbitmq_nothing_is_left_out(amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQP_URL", amqp_url)
    notes = Notes()

    assert list(measurable(notes)) == list(CASES)  # type: ignore[arg-type]
    assert notes.left_out == []


def test_no_two_cases_have_one_title() -> None:
    assert len({case.title for case in CASES}) == len(CASES)


def test_a_worker_has_the_processes_and_the_bodies_of_its_case(server: Server) -> None:
    with running_line("plain", server.url, Case(body_ms=50, processes=3)) as line:
        line.publish(30)

        assert line.drain() >= 0.5
        assert len(line.pool()) == 3


def test_messages_wait_in_rabbitmq_if_the_case_says_so(
    server: Server, amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMQP_URL", amqp_url)
    server.client().flushall()

    with running_line("locked", server.url, Case(broker=RABBITMQ)) as line:
        line.publish(10)
        line.drain()

        assert server.client().keys("_kombu*") == []
        assert server.client().keys("*redislock*") != []
