"""Redis errors: what Redis says when it cannot serve, what that means, and what to do.

Each of them is told as an event where it is turned into ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ...errors import StoreUnavailable
from ...events import StoreFailed, tell

#: Whatever redis-py raises when Redis refuses or cannot be reached.
REDIS_ERRORS = (redis.RedisError, OSError)

#: What Redis says when it cannot serve for now -> what that means and what to do.
_MEANINGS = {
    "READONLY": "the server is a read-only replica: a failover is under way, or the URL names a replica",
    "NOREPLICAS": "too few replicas are connected and up to date (min-replicas-to-write on the server)",
    "LOADING": "the server is loading its data after a start",
    "MASTERDOWN": "the server is a replica that has lost its master",
    "CLUSTERDOWN": "the cluster is down or serves only a part of its slots",
    "TRYAGAIN": "the keys are being moved to another node of the cluster",
    "NOPERM": "the ACL of the Redis user lacks a command or a key pattern that locks need",
    "OOM": "the server is at its maxmemory limit and refuses writes",
    "NOAUTH": "the user name or the password is wrong, or missing",
    "unauthenticated": "the user name or the password is wrong, or missing",
    "WRONGTYPE": "the key holds a value that is not a lock: choose another name",
    "BUSY": "the server is busy with a slow script",
    "UNBLOCKED": "the server has become a replica: a failover is under way",
    "CERTIFICATE_VERIFY_FAILED": (
        "the certificate of the server is not trusted, or is for another host: name the authority with "
        "ssl_ca_certs, or turn the check off with ssl_cert_reqs=none, in the URL, in "
        "redislock_client_options or as an argument of the client"
    ),
    "MOVED": "the server is one node of a cluster: use a redis+cluster:// URL, or a redis.RedisCluster",
}

#: What redis-py makes of some of them, without the code in the text.
_CODES = {
    "AuthenticationError": "NOAUTH",
    "BusyLoadingError": "LOADING",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}


@contextmanager
def translated(lock_name: str, verb: str) -> Iterator[None]:
    """Turn whatever redis-py raises into `StoreUnavailable` for this lock, with the cause chained.

    Args:
        lock_name: The Redis key.
        verb: What is asked.
    """
    try:
        yield
    except REDIS_ERRORS as error:
        raise unavailable(lock_name, verb, error) from error


def unavailable(lock_name: str, verb: str, error: Exception, what: str = "") -> StoreUnavailable:
    """Tell that Redis has failed, and return the error of ours for it, to be chained to it.

    Args:
        lock_name: The Redis key.
        verb: What was asked.
        error: Of `REDIS_ERRORS`.
        what: Comes before what it means.
    """
    tell_failed(verb, error)
    return StoreUnavailable(lock_name, what + meaning_of(error))


def tell_failed(verb: str, error: Exception) -> None:
    """Tell that Redis did not do what it was asked."""
    tell(StoreFailed(verb, type(error).__name__))


def is_refusal(error: BaseException | None) -> bool:
    """Whether Redis, or a proxy before it, does not take such a command, now or later."""
    return isinstance(error, redis.ResponseError) and code_of(error) in {"", "NOPERM", "WRONGTYPE"}


def meaning_of(error: Exception) -> str:
    """Return what an error of `REDIS_ERRORS` means, with what was said, for a message."""
    said = str(error) or type(error).__name__
    code = code_of(error)
    if code:
        return f"{_MEANINGS[code]} ({said})"
    if isinstance(error, RedisTimeoutError):
        return f"it does not answer ({said})"
    if isinstance(error, RedisConnectionError):
        return f"it cannot be reached ({said})"
    return said


def code_of(error: Exception) -> str:
    """Return the code word of what Redis said, such as READONLY; nothing where it is none that we know."""
    # Redis 6.2 puts a script's error behind "ERR Error running script ... -CODE".
    said = str(error).replace("-", " ").replace(":", " ").replace("]", " ").split()
    words = [_CODES.get(type(error).__name__, ""), *said]
    return next((word for word in words if word in _MEANINGS), "")
