"""Note: what a message says of its batch, and how it changes on its way."""

from __future__ import annotations

from celery_redislock.batch.note import BatchNote, note_in
from celery_redislock.messages.headers import BATCH_HEADER

NOTE = BatchNote("redislock:k", "token", "id", "call", 30_000, 300_000, "skip")


def test_a_note_is_read_as_it_was_written() -> None:
    note = NOTE.of_new_message().of_delivery(parent=7)

    assert note_in({BATCH_HEADER: note.as_dict()}) == note


def test_a_message_without_one_belongs_to_no_batch() -> None:
    assert note_in({}) is None
    assert note_in(None) is None


def test_each_message_and_each_delivery_has_a_name_of_its_own() -> None:
    messages = [NOTE.of_new_message() for _ in range(2)]
    deliveries = [messages[0].of_delivery() for _ in range(2)]

    assert len({note.message for note in messages}) == 2
    assert len({note.run for note in deliveries}) == 2
    assert {note.message for note in deliveries} == {messages[0].message}


def test_what_is_published_by_a_run_is_no_delivery_yet() -> None:
    note = NOTE.of_new_message().of_delivery(parent=7).of_new_message()

    assert (note.run, note.parent) == ("", 0)
