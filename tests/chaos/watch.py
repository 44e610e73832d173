"""Watch: looks at the locks themselves, several times a second, past all that is done to the network."""

from __future__ import annotations

from contextlib import suppress

import redis

from ..support.servers import Server
from .journal import Entry, clock

#: Seconds between two looks.
INTERVAL_S = 0.2


class Watch:
    """Which token held which lock, from when to when, as far as was seen."""

    def __init__(self, server: Server, names: dict[str, str]) -> None:
        self._client = server.client(socket_timeout=1, retry=None)
        self._names = names
        self._sightings: list[Entry] = []
        self._held: dict[str, Entry] = {}
        self._due = 0.0
        self.is_all_free = False

    def step(self) -> None:
        """Look, if it is time."""
        if clock() < self._due:
            return
        self._due = clock() + INTERVAL_S
        with suppress(redis.RedisError):
            self._look()

    def _look(self) -> None:
        pipeline = self._client.pipeline(transaction=True)
        for name in self._names.values():
            pipeline.get(name).pttl(name)
        replies = pipeline.execute()
        self.is_all_free = not any(replies[::2])
        for key, token, pttl in zip(self._names, replies[::2], replies[1::2], strict=True):
            if token is None:
                self._held.pop(key, None)
            else:
                self._note(key, token.decode(), pttl)

    def _note(self, key: str, token: str, pttl: int) -> None:
        now = clock()
        sighting = self._held.get(key)
        # A request that was held up, and is sent again, can take the lock anew with the token that it
        # had before: another sighting.
        if sighting is None or sighting["token"] != token:
            sighting = {"what": "seen", "key": key, "token": token, "at": now, "endless": False}
            self._held[key] = sighting
            self._sightings.append(sighting)
        sighting["last"] = now
        sighting["endless"] = sighting["endless"] or pttl == -1

    def sightings(self) -> list[Entry]:
        """Return an entry for each time that a token was seen, from look to look."""
        return self._sightings
