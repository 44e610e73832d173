"""Rights: which of the commands that locks need their Redis user may not run.

Each command is tried on a key of our own that holds a text: one that Redis lets pass does nothing, or fails
on the type of the key. So no further right is needed; ``ACL DRYRUN`` would need one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import redis

from .protocol.keys import keys_of
from .protocol.wire import Command
from .transport.clients import Client, store_of
from .transport.redis_errors import code_of, translated
from .transport.store import ATTEMPT_S, CALL_S

__all__ = [
    "FOR_BEAT",
    "FOR_EACH_LOCK",
    "FOR_PENDING_RUNS",
    "FOR_REPLICAS",
    "FOR_STATISTICS",
    "Missing",
    "missing",
]

#: How long the key that is tried stays, if it cannot be deleted, milliseconds.
_KEPT_MS = 10_000

#: In place of the key that is tried.
_KEY = b"\0key"

#: A command as an ACL names it -> what is sent. Those that write fail on the type of the key.
_TRIALS: Mapping[str, Command] = {
    "evalsha": ("EVALSHA", "0" * 40, 1, _KEY),
    "eval": ("EVAL", "return 1", 1, _KEY),
    "script|load": ("SCRIPT", "LOAD", "return 1"),
    "ping": ("PING",),
    "time": ("TIME",),
    "client|setname": ("CLIENT", "SETNAME", "celery_redislock"),
    "get": ("GET", _KEY),
    "exists": ("EXISTS", _KEY),
    "pttl": ("PTTL", _KEY),
    "pexpire": ("PEXPIRE", _KEY, _KEPT_MS),
    "blpop": ("BLPOP", _KEY, 0.01),
    "rpush": ("RPUSH", _KEY, "a"),
    "zadd": ("ZADD", _KEY, 1, "a"),
    "zpopmin": ("ZPOPMIN", _KEY),
    "zrange": ("ZRANGE", _KEY, 0, 0),
    "zrank": ("ZRANK", _KEY, "a"),
    "zrem": ("ZREM", _KEY, "a"),
    "zcard": ("ZCARD", _KEY),
    "zscore": ("ZSCORE", _KEY, "a"),
    "hget": ("HGET", _KEY, "a"),
    "hmget": ("HMGET", _KEY, "a"),
    "hset": ("HSET", _KEY, "a", "b"),
    "hsetnx": ("HSETNX", _KEY, "a", "b"),
    "hdel": ("HDEL", _KEY, "a"),
    "hgetall": ("HGETALL", _KEY),
    "hkeys": ("HKEYS", _KEY),
    "hexists": ("HEXISTS", _KEY, "a"),
    "hincrby": ("HINCRBY", _KEY, "a", 1),
    "pfadd": ("PFADD", _KEY, "a"),
    "ltrim": ("LTRIM", _KEY, 0, 0),
    "wait": ("WAIT", 0, 1),
}

FOR_PENDING_RUNS = frozenset({"hgetall", "hkeys", "hexists", "zscore"})
FOR_BEAT = frozenset({"hgetall", "hsetnx"})
FOR_REPLICAS = frozenset({"wait"})
FOR_STATISTICS = frozenset({"hincrby", "pfadd", "ltrim"})
FOR_EACH_LOCK = (
    (_TRIALS.keys() | {"set", "del"}) - FOR_PENDING_RUNS - FOR_BEAT - FOR_REPLICAS - FOR_STATISTICS
)


@dataclass(frozen=True)
class Missing:
    """What the user may not do.

    Attributes:
        commands: As an ACL names them.
        places: Patterns of keys, as an ACL names them, of which it may not touch one.
    """

    commands: tuple[str, ...]
    places: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.commands or self.places)


def missing(client: Client, prefix: str, commands: Collection[str]) -> Missing:
    """Try commands, and return those that the user may not run.

    Where the key cannot be written, commands that write are not tried.

    Args:
        client: A synchronous redis-py client.
        prefix: What the names of the locks begin with.
        commands: Some of those named in this module.

    Raises:
        StoreUnavailable: Redis could not be reached.
    """
    name = f"{prefix}doctor:{uuid4().hex}"
    lock, beside = keys_of(name).lock, keys_of(name).holder
    places = {lock: f"{prefix}*", beside: f"redislock.*{prefix}*"}
    connection = store_of(client).connection(ATTEMPT_S)
    try:
        with translated(name, "rights"):
            begun, *on_keys = connection.exchange(
                [("SET", lock, "doctor", "PX", _KEPT_MS), *(("GET", key) for key in places)],
                CALL_S,
            )
            tried = [] if isinstance(begun, Exception) else [each for each in _TRIALS if each in commands]
            replies = (
                connection.exchange([_of(_TRIALS[each], lock) for each in tried], CALL_S) if tried else []
            )
            (deleted,) = connection.exchange([("DEL", lock)], CALL_S)
    finally:
        connection.close()
    said = {"set": begun, **dict(zip(tried, replies, strict=True)), "del": deleted}
    return Missing(
        tuple(sorted(command for command, reply in said.items() if command in commands and _refuses(reply))),
        tuple(place for place, reply in zip(places.values(), on_keys, strict=True) if _is_of_a_key(reply)),
    )


def _of(trial: Command, key: bytes) -> Command:
    return tuple(key if word == _KEY else word for word in trial)


def _refuses(reply: Any) -> bool:
    """Whether the user, or a proxy before the server, does not let a command pass."""
    if not isinstance(reply, redis.ResponseError) or _is_of_a_key(reply):
        return False
    return code_of(reply) == "NOPERM" or "unknown command" in str(reply).lower()


def _is_of_a_key(reply: Any) -> bool:
    # "... no permissions to access a key", and before Redis 7 "... to access one of the keys ...".
    return isinstance(reply, redis.ResponseError) and code_of(reply) == "NOPERM" and " access " in str(reply)
