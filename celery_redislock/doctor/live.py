"""Live: what runs now, as the rules look at it: the servers of the locks, the locks, and the workers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property

import redis

from ..config.provider import LockProvider, provider_of
from ..engine import Client, Inspection, inspect_all, meaning_of, reaches, server_fitness, store_of
from .configuration import Configuration
from .rule import CannotLook
from .workers import Clock, Worker, ask_workers

__all__ = ["Live"]

#: So many round trips are measured, for so long at most, seconds.
_ROUND_TRIPS, _MEASURED_S = 100, 2.0


class Live:
    """What runs now. Everything is looked at once, when a rule needs it first.

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
            raise CannotLook(f"Redis at {self.provider.shown}: {meaning_of(error)}") from error

    @property
    def client(self) -> Client:
        """The client of the locks."""
        return self.provider.client

    @cached_property
    def facts(self) -> tuple[Mapping[str, str], ...]:
        """What INFO says, of each master.

        Raises:
            CannotLook: It is refused.
        """
        try:
            return tuple(server_fitness.facts_of(self.client))
        except (redis.RedisError, OSError) as error:
            raise CannotLook(f"INFO is refused: {meaning_of(error)}") from error

    @cached_property
    def round_trips_s(self) -> tuple[float, ...]:
        """How long the server of the locks took for its answers just now, seconds, the shortest first.

        Raises:
            CannotLook: It has stopped to answer.
        """
        store, until = store_of(self.client), time.monotonic() + _MEASURED_S
        found: list[float] = []
        try:
            while len(found) < _ROUND_TRIPS and (began := time.monotonic()) < until:
                store.call(("PING",))
                found.append(time.monotonic() - began)
        except (redis.RedisError, OSError) as error:
            raise CannotLook(f"PING is not answered: {meaning_of(error)}") from error
        return tuple(sorted(found))

    @cached_property
    def contended(self) -> tuple[Inspection, ...]:
        """The locks for which somebody waits.

        Raises:
            StoreUnavailable: Redis could not be reached, or refuses SCAN.
        """
        return tuple(seen for seen in inspect_all(self.client, self.provider.prefix) if seen.waiters)

    @cached_property
    def clock(self) -> Clock:
        """The clock of the server of the locks.

        Raises:
            CannotLook: It has stopped to answer.
        """
        sent_at = time.time()
        try:
            seconds, microseconds = store_of(self.client).call(("TIME",))
        except (redis.RedisError, OSError) as error:
            raise CannotLook(f"TIME is refused: {meaning_of(error)}") from error
        round_trip_s = time.time() - sent_at
        return Clock(
            int(seconds) + int(microseconds) / 1e6 - sent_at - round_trip_s / 2, within_s=round_trip_s / 2
        )

    @cached_property
    def workers(self) -> tuple[Worker, ...]:
        """The workers of the app that answer.

        Raises:
            CannotLook: None does.
        """
        return ask_workers(self.configured.app)
