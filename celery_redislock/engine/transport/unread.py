"""UnreadReply: the reply to a command that was sent and is not waited for.

It stays in its connection until that is used next, since what comes first there is this reply. So no time is
spent on waiting where nobody needs the answer at once.
"""

from __future__ import annotations

from typing import Any


class UnreadReply:
    """The reply to one command.

    Attributes:
        is_here: It was read.
        reply: What Redis said, once it was read; an error that Redis returned is a `redis.ResponseError`.
    """

    __slots__ = ("is_here", "reply")

    def __init__(self) -> None:
        self.is_here = False
        self.reply: Any = None

    def answer(self, reply: Any) -> None:
        """Note that the reply was read."""
        self.reply = reply
        self.is_here = True
