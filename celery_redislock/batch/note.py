"""Note: what each message of a batch says of it, in a header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import uuid4

from celery import Celery

from ..config.provider import provider_of
from ..engine.group_lease import Member
from ..messages.headers import BATCH_HEADER


@dataclass(frozen=True)
class BatchNote:
    """What a message of a batch says of it: JSON.

    Attributes:
        lock: The Redis key.
        token: What the batch holds it with.
        id: The batch: the id of its last result.
        call: The call that published it: two batches may be given one id.
        ttl_ms: Length of the lease while a member runs.
        idle_ms: Length of the lease while members only wait.
        policy: What a member does when another holder has the lock.
        min_replicas: As for a `RedisLock`.
        message: This message; a retry is another.
        run: This delivery of it; empty until it is delivered.
        parent: The process that received it; 0 until then.
    """

    lock: str
    token: str
    id: str
    call: str
    ttl_ms: int
    idle_ms: int
    policy: str
    min_replicas: int = 0
    message: str = ""
    run: str = ""
    parent: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it travels."""
        return asdict(self)

    def of_new_message(self) -> BatchNote:
        """Return the note of a message that is about to be published."""
        return replace(self, message=uuid4().hex, run="", parent=0)

    def of_delivery(self, parent: int = 0) -> BatchNote:
        """Return the note of this delivery of the message.

        Args:
            parent: The process that received it; 0: a child that got it without one of ours.
        """
        return replace(self, run=uuid4().hex, parent=parent)

    def member(self, app: Celery, name: str, **options: Any) -> Member:
        """Return a member of this batch.

        Args:
            app: The app.
            name: Letters and digits that no other member of the batch has.
            **options: As `Member` takes them.
        """
        options = {"min_replicas": self.min_replicas, **options}
        return Member(provider_of(app).client, self.lock, self.token, name, **options)

    def delivered(self, app: Celery, **options: Any) -> Member:
        """Return the member that this delivery is.

        Args:
            app: The app.
            **options: As `Member` takes them.
        """
        return self.member(app, self.run, waited_as=self.message, **options)


def note_in(headers: Mapping[str, Any] | None) -> BatchNote | None:
    """Return what the headers of a message say of its batch; None when it belongs to none."""
    found = (headers or {}).get(BATCH_HEADER)
    return BatchNote(**found) if found else None
