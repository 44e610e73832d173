"""Beat origins: two beats that send beside each other are told from beats that follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from celery_redislock.messages.headers import BEAT_HEADER, RETRY_HEADER
from celery_redislock.observing import beat_origins, statistics
from celery_redislock.observing.background import background_here
from celery_redislock.observing.beat_origins import Beat, Origins, Pair, beat_of

A, B = Beat("gen1@a", False), Beat("gen2@b", False)
LOCKED_A, LOCKED_B = Beat("gen1@a", True), Beat("gen2@b", True)
PLAIN = Pair(("gen1@a", "gen2@b"), False)


def seen(*beats: Beat | float, interval_s: float = 10.0) -> list[Pair]:
    """Return what the messages of these beats show: one in each interval, or after a pause of seconds."""
    origins, at_s, found = Origins(), 0.0, []
    for each in beats:
        if isinstance(each, Beat):
            pair = origins.see("t", each, at_s, interval_s)
            found += [pair] if pair else []
            at_s += interval_s / 2
        else:
            at_s += each
    return found


@pytest.mark.parametrize("beats", [(A, B, A), (B, A, A, B), (A, A, B, B, B, 1.0, A)], ids=str)
def test_a_beat_that_sends_again_after_another_runs_beside_it(beats: Sequence[Beat | float]) -> None:
    assert seen(*beats) == [PLAIN]


def test_a_plain_beat_beside_one_that_locks_is_found() -> None:
    assert seen(A, LOCKED_B, A) == [Pair(("gen1@a", "gen2@b"), True)]


@pytest.mark.parametrize(
    "beats",
    [
        pytest.param((A, A, A, B, B, B), id="started anew"),
        pytest.param((A, LOCKED_B, LOCKED_B), id="locks from now on"),
        pytest.param((LOCKED_A, LOCKED_B, LOCKED_A, LOCKED_B), id="the lease goes there and back"),
        pytest.param((A, B, 300.0, A), id="back after a day, under the same name"),
        pytest.param((A, 7 * 86400.0, B, A), id="the same name a week later"),
    ],
)
def test_beats_that_follow_each_other_are_left_alone(beats: Sequence[Beat | float]) -> None:
    assert seen(*beats) == []


def test_each_task_is_looked_at_alone() -> None:
    origins = Origins()
    for task, beat in (("t", A), ("u", B), ("t", A)):
        assert origins.see(task, beat, 0.0, 10.0) is None


@pytest.mark.parametrize(
    ("headers", "beat"),
    [
        ({"celery_beat_task": True, "origin": "gen1@a"}, A),
        ({"periodic_task_name": "import", "origin": "gen1@a"}, A),
        ({BEAT_HEADER: {}, "celery_beat_task": True, "origin": "gen1@a"}, LOCKED_A),
        ({"origin": "gen1@a"}, None),
        ({"celery_beat_task": True}, None),
        ({"celery_beat_task": True, "origin": "gen1@a", "retries": 1}, None),
        ({"celery_beat_task": True, "origin": "gen1@a", RETRY_HEADER: {}}, None),
    ],
)
def test_a_message_says_which_beat_has_sent_it(headers: dict[str, Any], beat: Beat | None) -> None:
    assert beat_of(headers) == beat


def received(app: Celery, origin: str, **delivery_info: Any) -> None:
    """Have a worker receive a message of a beat."""
    headers = {"celery_beat_task": True, "origin": origin}
    message = SimpleNamespace(headers=headers)
    beat_origins.note_origin(SimpleNamespace(app=app, name="t", message=message, delivery_info=delivery_info))


def test_two_beats_are_counted_in_redis_with_their_names(app: Celery) -> None:
    for origin in ("gen1@a", "gen2@b", "gen1@a", "gen2@b", "gen1@a"):
        received(app, origin)
    assert background_here().flush(5)

    found = statistics.read(app).beats["t"]
    assert found.counts == {("plain", "gen1@a gen2@b"): 1}


def test_a_message_that_is_delivered_again_says_nothing(app: Celery) -> None:
    received(app, "gen1@a")
    received(app, "gen2@b")
    received(app, "gen1@a", redelivered=True)
    assert background_here().flush(5)

    assert not statistics.read(app).beats


def test_what_a_beat_sends_is_marked_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beat_origins, "_beats", set())
    other: dict[str, Any] = {}
    beat_origins.put_mark(headers=other)
    monkeypatch.setattr(beat_origins.signals.before_task_publish, "connect", lambda *_, **__: None)
    beat_origins.mark_messages()
    of_beat: dict[str, Any] = {}
    beat_origins.put_mark(headers=of_beat)

    assert (other, of_beat) == ({}, {"celery_beat_task": True})
