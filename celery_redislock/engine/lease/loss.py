"""Loss: why a lease is lost, as a word for machines and as a text for people (pure)."""

from __future__ import annotations

from typing import NamedTuple

from .lease import Lease

#: Texts. They stand in messages, so people search for them.
RAN_OUT = "its lease ran out"
TAKEN = "its lease ended in Redis, or its key was taken or deleted"
FREE_AT_RENEWAL = "it is free, or another holder has it"
FREE_AT_RELEASE = "when it was released, it was free or another holder had it"
FORCED = "it was taken by force"


class Loss(NamedTuple):
    """Why a lease is lost.

    Attributes:
        reason: A word of `events.LOSS_REASONS`.
        text: The same, for people.
    """

    reason: str
    text: str


def could_not_be_renewed(error: object) -> str:
    """Return the text of a renewal that has failed."""
    return f"it could not be renewed ({error})"


def ended(lease: Lease, failure: str) -> Loss:
    """Return why a lease is over that has ended by the local clock.

    Args:
        lease: That has ended.
        failure: Of its last renewal, as a text; empty if that did not fail, or there was none.
    """
    if lease.is_at_max_hold:
        return Loss("max_hold", RAN_OUT)
    if failure:
        return Loss("cut_off", failure)
    return Loss("expired", RAN_OUT)


def refused(text: str, *, is_forced: bool) -> Loss:
    """Return why a lock is lost of which Redis says that it is not the caller's.

    Args:
        text: When this was noticed.
        is_forced: It was taken by force, as Redis says.
    """
    return Loss("forced", FORCED) if is_forced else Loss("taken", text)
