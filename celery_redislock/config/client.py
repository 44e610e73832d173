"""URL -> redis client. Nothing is sent until it is used, and its repr shows no password.

redis-py's own ``from_url`` is not used: it ignores a wrong db, fails late on a wrong query, does not
know Celery's spellings, and puts the URL in its messages.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import redis
from kombu.utils.imports import symbol_by_name
from redis.backoff import NoBackoff
from redis.credentials import UsernamePasswordCredentialProvider
from redis.retry import Retry
from redis.sentinel import Sentinel

from ..engine import Client, ClusterAddress
from ..errors import ConfigurationError
from . import memory
from .celery_connection import NO_COMPANIONS, Companions
from .urls import QUERY, SECONDS, Place, cert_reqs, parse, wrong

__all__ = ["client_from_url"]

#: Arguments of redis.Redis that come from the URL alone.
_URL_ONLY = frozenset({"host", "port", "db", "unix_socket_path", "ssl", "connection_pool"})

#: Options that only one topology has.
_OF_TOPOLOGY = {"sentinel_kwargs": "sentinel", "address_remap": "cluster"}


def client_from_url(
    url: str,
    *,
    setting: str,
    options: Mapping[str, Any] = MappingProxyType({}),
    companions: Companions = NO_COMPANIONS,
) -> Client:
    """Make a client; nothing is sent.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, ``valkey://``, ``valkeys://``, what Celery writes
            for sockets, ``redis+socket:///path?virtual_host=1``, and for more than one server
            ``sentinel://h1:p,h2:p/db?service=name`` and ``redis+cluster://h1:p,h2:p``. ``memory://`` is a
            Redis in this process, for tests.
        setting: Where the URL was written, for messages.
        options: ``redislock_client_options``: arguments of ``redis.Redis``. What the URL says wins. For
            Sentinels also ``sentinel_kwargs``, for a cluster ``address_remap``, as redis-py takes them.
        companions: What stands beside the URL in Celery's settings: counts where neither the URL nor an
            option says otherwise.

    Raises:
        ConfigurationError: The URL or an option is wrong. Neither the message nor a chained error
            nor the client's repr shows a password.
    """
    if str(url).startswith(f"{memory.SCHEME}://"):
        return memory.client_of(url)
    place = parse(url, setting, companions.service, companions.host, companions.port)
    said = {**_from_options(options, place), **place.arguments}
    arguments = {**_defaults(), **companions.under(said)}
    arguments["ssl"] = place.arguments["ssl"] or "ssl" in companions.arguments
    if not arguments["ssl"] and any(name.startswith("ssl_") for name in arguments):
        raise ConfigurationError(
            f"ssl_ options in redislock_client_options need a rediss:// URL in {setting}"
        )
    arguments = _hiding_passwords(arguments)
    if place.topology == "sentinel":
        to_sentinels = _of_sentinels(said, options.get("sentinel_kwargs", companions.sentinel_kwargs))
        return _behind_sentinels(place, arguments, to_sentinels, setting)
    if place.topology == "cluster":
        pool = _build(arguments, setting).connection_pool
        made_of = {k: v for k, v in pool.connection_kwargs.items() if k not in ("host", "port", "db")}
        return ClusterAddress(place.hosts, pool.connection_class, made_of, options.get("address_remap"))
    for host, port in place.hosts:
        arguments = {**arguments, "host": host, "port": port}
    return _build(arguments, setting)


def _of_sentinels(said: Mapping[str, Any], given: object) -> dict[str, Any]:
    """Return the arguments of the Sentinels' clients.

    Args:
        said: What URL and options say of the master: the Sentinels have its TLS, not its password. What
            Celery says of the master beside the URL does not hold for them.
        given: ``sentinel_kwargs``.
    """
    if not isinstance(given or {}, Mapping):
        raise _wrong_option("'sentinel_kwargs' must be a dict of arguments for the clients of the Sentinels")
    own = {name: value for name, value in said.items() if name == "ssl" or name.startswith("ssl_")}
    return _hiding_passwords({**_defaults(), **own, **(given or {})})  # type: ignore[dict-item]


def _behind_sentinels(
    place: Place, arguments: dict[str, Any], to_sentinels: dict[str, Any], setting: str
) -> redis.Redis:
    """Make a client of the master."""
    _build(to_sentinels, setting)

    def make() -> redis.Redis:
        manager: Any = Sentinel(list(place.hosts), sentinel_kwargs=to_sentinels, **arguments)  # type: ignore[no-untyped-call]
        client: redis.Redis = manager.master_for(place.service)
        return client

    return _checked(make, setting)


def _defaults() -> dict[str, Any]:
    """The same for every redis-py: from 8 on it would retry a command ten times, with pauses.

    One retry, and only of what was refused or cut, is for connections that went stale; after a
    time-out the caller has waited long enough.
    """
    return {
        "socket_connect_timeout": 5.0,
        "socket_timeout": 5.0,
        "socket_keepalive": True,
        "client_name": "celery_redislock",
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        "retry_on_error": [redis.ConnectionError],  # redis-py 5 retries commands only for these
    }


def _from_options(options: Mapping[str, Any], place: Place) -> dict[str, Any]:
    known = inspect.signature(redis.Redis).parameters.keys() - _URL_ONLY
    own = {name for name, topology in _OF_TOPOLOGY.items() if topology == place.topology}
    for name in options.keys() - own:
        if name in _URL_ONLY:
            raise _wrong_option(f"{name!r} is not allowed here: it comes from the URL")
        if name not in known:
            raise _wrong_option(f"redis-py {redis.__version__} has no option {name!r}", name, known)
    arguments = {name: value for name, value in options.items() if name not in own}
    for name in {"socket_timeout", "socket_connect_timeout"} & arguments.keys():
        seconds = arguments[name]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            raise _wrong_option(f"{name!r} must be {SECONDS.expected}")
    if isinstance(arguments.get("ssl_cert_reqs"), str):
        arguments["ssl_cert_reqs"] = cert_reqs(arguments["ssl_cert_reqs"])
        if arguments["ssl_cert_reqs"] is None:  # to redis-py None is "none": no check at all
            raise _wrong_option(f"'ssl_cert_reqs' must be {QUERY['ssl_cert_reqs'].expected}")
    return arguments


def _hiding_passwords(arguments: dict[str, Any]) -> dict[str, Any]:
    """Move passwords out of what redis-py 6 and 7 show in the repr of a client."""
    hidden = dict(arguments)
    if isinstance(hidden.get("credential_provider"), str):
        hidden["credential_provider"] = _imported(hidden["credential_provider"])
    username, password = hidden.pop("username", None), hidden.pop("password", None)
    if username or password:
        if hidden.get("credential_provider"):
            raise _wrong_option("give either 'credential_provider' or user and password, not both")
        hidden["credential_provider"] = UsernamePasswordCredentialProvider(username, password)
    ssl_password = hidden.get("ssl_password")
    if isinstance(ssl_password, str):
        hidden["ssl_password"] = lambda: ssl_password  # the ssl module takes a function, too
    return hidden


def _imported(path: str) -> Any:
    """Return a provider of credentials by the path of its class, as Celery takes it."""
    problem = ""
    try:
        return symbol_by_name(path)()
    except Exception as error:  # noqa: BLE001 - whatever it is, it may show what nobody is to see
        problem = type(error).__name__
    raise _wrong_option(
        f"'credential_provider' {path!r} cannot be created ({problem}): it must be the path of a class that "
        "takes no arguments, such as 'shop.redis:Credentials'"
    )


def _build(arguments: Mapping[str, Any], setting: str) -> redis.Redis:
    return _checked(lambda: redis.Redis(**arguments), setting)


def _checked(make: Callable[[], redis.Redis], setting: str) -> redis.Redis:
    problem = ""
    try:
        client = make()
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # does not connect, but checks what Redis() did not
    except (AttributeError, TypeError, ValueError, redis.RedisError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise _wrong_option(f"redis-py does not accept it together with {setting}: {problem}")
    return client


def _wrong_option(problem: str, given: str = "", known: Iterable[str] = ()) -> ConfigurationError:
    return wrong("redislock_client_options:", problem, given, known)
