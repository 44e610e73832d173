"""Holder record: what Redis keeps of a lock's holder, read, and the metadata in it, written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from json.encoder import encode_basestring_ascii

from ...errors import ConfigurationError
from ...holder import PAUSED_BY, Holder

#: Returns a text as it stands in the metadata.
quoted = encode_basestring_ascii

#: It stops where the metadata ends: the number behind it is for the scripts.
_DECODER = json.JSONDecoder()


def write(metadata: Mapping[str, str] | None) -> str:
    """Return a holder's metadata as the text that the record keeps.

    Raises:
        ConfigurationError: It is not a mapping of str to str.
    """
    if metadata is None:
        return "{}"
    try:
        # Texts only: an encoder of whole objects takes ten times as long, for each task.
        pairs = [f"{quoted(name)}:{quoted(value)}" for name, value in metadata.items()]
    except (AttributeError, TypeError):
        raise ConfigurationError("a lock's metadata must be a dict of str to str") from None
    return "{" + ",".join(pairs) + "}"


def written_around(before: Mapping[str, str], name: str, after: Mapping[str, str]) -> tuple[str, str]:
    """Return what stands before and behind the `quoted` value of a name, in metadata that `write` returns.

    Args:
        before: What comes first.
        name: Whose value is left out.
        after: What comes last.
    """
    return f"{write(before)[:-1]},{quoted(name)}:", f",{write(after)[1:]}"


def with_one_more(metadata: str, name: str, value: str) -> str:
    """Return metadata that is not empty, as `write` returns it, with one more pair at its end."""
    return f"{metadata[:-1]},{quoted(name)}:{quoted(value)}}}"


def read_metadata(text: str) -> Mapping[str, str]:
    """Return the metadata at the beginning of a text."""
    metadata: Mapping[str, str] = _DECODER.raw_decode(text)[0]
    return metadata


def read(description: bytes, lease_left_ms: int) -> Holder:
    """Return the holder that a script described.

    Args:
        description: ``"<fencing token> <since, ms> <metadata> <number>"``; empty for a foreign holder.
        lease_left_ms: Milliseconds; negative when the lease never ends.
    """
    lease_left = lease_left_ms / 1000 if lease_left_ms >= 0 else None
    if not description:
        return Holder(lease_left=lease_left)
    number, since_ms, text = description.decode().split(" ", 2)
    metadata = read_metadata(text)
    return Holder(
        metadata=metadata,
        since=datetime.fromtimestamp(int(since_ms) / 1000, timezone.utc),
        lease_left=lease_left,
        # Where the lock is paused it is the number of the last grant.
        fencing_token=None if PAUSED_BY in metadata else int(number),
    )
