"""Protocol: what the scenarios ask of every contender."""

from __future__ import annotations

from typing import Any, Protocol


class Contender(Protocol):
    """A way to lock, with a client of its own. What `make` returns is opaque to the scenarios."""

    def __init__(self, port: int) -> None:
        """Connect to the server at this port."""

    def make(self, name: str, ttl_s: float) -> Any:
        """Return a lock object; nothing is sent that its users do not send."""

    def make_renewed(self, name: str, ttl_s: float) -> Any:
        """Return a lock object that renews itself; a NotImplementedError when there is none."""

    def holds(self, lock: Any) -> bool:
        """Ask the server whether it is still ours; only for what `make_renewed` returned."""

    def acquire(self, lock: Any) -> bool:
        """Take it if it is free."""

    def wait(self, lock: Any) -> None:
        """Return when it is ours, however long that takes, with the default intervals."""

    def release(self, lock: Any) -> None:
        """Give it back."""
