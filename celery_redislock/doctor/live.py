"""Live: what runs now, as the rules look at it: the servers of the locks, and the workers."""

from __future__ import annotations

from functools import cached_property

import redis

from ..config.provider import LockProvider, provider_of
from ..engine import Client, meaning_of, reaches, server_fitness
from .configuration import Configuration
from .rule import CannotLook

__all__ = ["Live"]


class Live:
    """What runs now.

    Args:
        configured: What the app declares.

    Raises:
        CannotLook: Redis does not answer.
        ConfigurationError: A setting is wrong.
    """

    def __init__(self, configured: Configuration) -> None:
        self.configured = configured
        self.provider: LockProvider = provider_of(configured.app)
        try:
            reaches(self.client)
        except redis.RedisError as error:
            raise CannotLook(
                f"Redis at {self.provider.shown} cannot be reached ({meaning_of(error)})"
            ) from error

    @property
    def client(self) -> Client:
        """The client of the locks."""
        return self.provider.client

    @cached_property
    def unfit(self) -> tuple[server_fitness.Finding, ...]:
        """What makes the servers unfit to keep locks."""
        return tuple(server_fitness.check(self.client))
