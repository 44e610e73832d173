"""Holders: what one says of itself travels through Redis, and what cannot is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_redislock import ConfigurationError, Holder
from celery_redislock.engine.protocol import holder_record


@given(st.dictionaries(st.text(), st.text()))
def test_metadata_comes_back_as_it_went(metadata: dict[str, str]) -> None:
    description = f"17 1767323045678 {holder_record.write(metadata)}".encode()

    assert holder_record.read(description, 2500) == Holder(
        metadata=metadata,
        since=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc),
        lease_left=2.5,
        fencing_token=17,
    )


def test_no_metadata_is_an_empty_dict() -> None:
    assert holder_record.read(f"1 0 {holder_record.write(None)}".encode(), 1).metadata == {}


def test_of_a_holder_without_a_record_only_the_lease_left_is_known() -> None:
    assert holder_record.read(b"", 2500) == Holder(lease_left=2.5)
    assert holder_record.read(b"", -1) == Holder()


@pytest.mark.parametrize(
    "metadata", [{1: "2"}, {"1": 2}, {"a": None}, {"a": b"b"}, [("a", "b")], "a", 3], ids=repr
)
def test_metadata_is_text_to_text(metadata: Mapping[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="metadata"):
        holder_record.write(metadata)
