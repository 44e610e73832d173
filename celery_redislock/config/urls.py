"""URL -> what it says: which servers, how they belong together, and what makes a connection to them (pure).

Each mistake is told by the name of its setting, and no password is shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..errors import ConfigurationError

__all__ = ["QUERY", "SCHEMES", "SECONDS", "Place", "cert_reqs", "parse", "redacted", "wrong"]

_SENTINEL = frozenset({"sentinel", "redis+sentinel", "rediss+sentinel"})
_CLUSTER = frozenset({"redis+cluster", "rediss+cluster"})
_TLS = frozenset({"rediss", "valkeys", "rediss+sentinel", "rediss+cluster"})
_UNIX = frozenset({"unix", "socket", "redis+socket"})
#: All that this package understands.
SCHEMES = frozenset({"redis", "valkey"}) | _TLS | _UNIX | _SENTINEL | _CLUSTER
_SUPPORTED = (
    "redis://, rediss://, unix://, valkey://, valkeys://, redis+socket://, sentinel://, rediss+sentinel://, "
    "redis+cluster:// and rediss+cluster://"
)

_ENCODE = "a password that contains / ? # @ : , or ; must be percent-encoded"

#: Where Celery has it.
_AS_CELERY = ", or master_name in the transport options that belong to it"

#: Port of a server and of a Sentinel that name none.
_PORT, _SENTINEL_PORT = 6379, 26379


@dataclass(frozen=True)
class Place:
    """Where the locks are.

    Attributes:
        topology: One server, a master that Sentinels name, or a cluster.
        hosts: Host and port of the server, the Sentinels, or some nodes; none for a socket.
        service: What the Sentinels call the master.
        arguments: Of ``redis.Redis``, without host and port.
    """

    topology: Literal["server", "sentinel", "cluster"]
    hosts: tuple[tuple[str, int], ...]
    service: str
    arguments: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class _Kind:
    """What a query parameter may be; ``parse`` returns None for anything else."""

    expected: str
    parse: Callable[[str], Any]


def _seconds(text: str) -> float | None:
    with suppress(ValueError):
        seconds = float(text)
        return seconds if 0 < seconds < math.inf else None
    return None


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def cert_reqs(text: str) -> str | None:
    """Return the word for a check of certificates; None when it is none.

    Celery writes CERT_REQUIRED or required, redis-py understands the latter.
    """
    word = text.removeprefix("CERT_").lower()
    return word if word in ("required", "optional", "none") else None


SECONDS = _Kind("a number of seconds above 0", _seconds)
_COUNT = _Kind("a whole number", _count)
_TEXT = _Kind("not empty", lambda text: text or None)
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_FLAG = _Kind("true or false", lambda text: _FLAGS.get(text.lower()))
_DB = _Kind("the number of a database", lambda text: _count(text.strip("/")))

#: Query parameters of a URL. Only TLS takes those in ssl_, and only Sentinels have a service.
QUERY: Mapping[str, _Kind] = {
    "db": _DB,
    "virtual_host": _DB,
    "service": _TEXT,
    "username": _TEXT,
    "password": _TEXT,
    "credential_provider": _TEXT,
    "client_name": _TEXT,
    "protocol": _Kind("2 or 3", {"2": 2, "3": 3}.get),
    "socket_timeout": SECONDS,
    "socket_connect_timeout": SECONDS,
    "socket_keepalive": _FLAG,
    "health_check_interval": _COUNT,
    "max_connections": _COUNT,
    "decode_responses": _FLAG,
    "ssl_cert_reqs": _Kind("required, optional or none", cert_reqs),
    "ssl_check_hostname": _FLAG,
    "ssl_ca_certs": _TEXT,
    "ssl_ca_path": _TEXT,
    "ssl_certfile": _TEXT,
    "ssl_keyfile": _TEXT,
    "ssl_password": _TEXT,
}


def parse(url: object, setting: str, service: str = "", host: str = "", port: int | None = None) -> Place:
    """Read a URL.

    Args:
        url: As it was written. Celery's own ``sentinel://a:26379/0;sentinel://b:26379/0`` is one URL, too.
        setting: Where it was written, for messages.
        service: What the Sentinels call the master if the URL does not say it.
        host, port: The server, if the URL does not say it.

    Raises:
        ConfigurationError: It is wrong. Neither the message nor a chained error shows a password.
    """
    scheme = _scheme(url, setting)
    topology: Literal["server", "sentinel", "cluster"] = (
        "sentinel" if scheme in _SENTINEL else "cluster" if scheme in _CLUSTER else "server"
    )
    parts = _split(_joined(str(url), setting) if topology == "sentinel" else str(url), setting, topology)
    query = _query(parts, setting, tls=scheme in _TLS)
    service = query.pop("service", service)
    if topology == "sentinel" and not service:
        raise wrong(setting, "has no service name: write sentinel://host:26379/0?service=name" + _AS_CELERY)
    arguments = {"ssl": scheme in _TLS, **_user(parts, query, setting), **query}
    databases = {arguments.pop(name) for name in ("db", "virtual_host") if name in query}
    if scheme in _UNIX:
        hosts: tuple[tuple[str, int], ...] = ()
        arguments["unix_socket_path"] = _socket_path(parts, setting)
    else:
        hosts = _hosts(parts, setting, topology, host, port)
        databases |= _path_database(parts, setting)
    if topology == "cluster":
        if databases:
            raise wrong(setting, "names a database, but a cluster has only one: leave it out")
        return Place(topology, hosts, "", arguments)
    if len(databases) > 1:
        raise wrong(setting, "names two different databases")
    return Place(topology, hosts, service, {**arguments, "db": databases.pop() if databases else 0})


def redacted(url: str) -> str:
    """The URL for a log: without passwords, also when it is malformed; hides too much if in doubt."""
    scheme, found, rest = url.partition("://")
    if not found:
        return "***"
    place, question, query = rest.partition("?")
    if "@" in query:  # where does the password end?
        return f"{scheme}://***"
    user_info, at, host = place.rpartition("@")
    user, colon, _ = user_info.partition(":")
    shown = f"{user if colon else ''}{colon}***@" if at else ""
    query = re.sub(r"(?i)([^=&]*(?:passw|pwd|secret|token)[^=&]*)=[^&]*", r"\1=***", query)
    return f"{scheme}://{shown}{host}{question}{query}"


def wrong(setting: str, problem: str, given: str = "", known: Iterable[str] = ()) -> ConfigurationError:
    """Return the error that tells what is wrong with a setting, and what a name in it may have meant."""
    meant = get_close_matches(given, list(known), 1)
    valid = f"; known are {', '.join(sorted(known))}" if given and not meant else ""
    return ConfigurationError(f"{setting} {problem}{f'; did you mean {meant[0]!r}?' if meant else valid}")


def _scheme(url: object, setting: str) -> str:
    found = re.match(r"([a-z][a-z0-9+.-]*)://", url, re.IGNORECASE) if isinstance(url, str) else None
    if not found:
        raise wrong(setting, f"is not a URL such as redis://localhost:6379/0; supported: {_SUPPORTED}")
    scheme = found[1].lower()
    if scheme not in SCHEMES:
        raise wrong(setting, f"begins with {scheme}://, which is not supported; supported: {_SUPPORTED}")
    return scheme


def _joined(url: str, setting: str) -> str:
    """Make one URL of Celery's list of them; the user, the database and the query are those of any."""
    scheme = url.partition("://")[0].lower()
    found = [piece.partition("://") for piece in url.rstrip(";").split(";")]
    if any(head.lower() != scheme or not rest for head, _, rest in found):
        raise wrong(setting, f"must name Sentinels as {scheme}://host:port, between semicolons; {_ENCODE}")
    pieces = [re.split(r"(?=[/?#])", rest, maxsplit=1) for *_, rest in found]
    users = {netloc.rpartition("@")[0] for netloc, *_ in pieces} - {""}
    tails = {tail for _, *of_piece in pieces for tail in of_piece} - {"/"}
    if len(users) > 1 or len(tails) > 1:
        raise wrong(setting, "gives different users, databases or queries to the Sentinels of one master")
    hosts = ",".join(netloc.rpartition("@")[2] for netloc, *_ in pieces)
    return f"{scheme}://{''.join(f'{user}@' for user in users)}{hosts}{''.join(tails)}"


def _split(url: str, setting: str, topology: str) -> SplitResult:
    # Errors of urlsplit quote parts of the URL: they must not even be the context of ours.
    parts = None
    with suppress(ValueError):
        found = urlsplit(url)
        parts = None if topology == "server" and found.port == 0 else found
    if parts is None:
        raise wrong(setting, f"has no valid host and port: a port is a number from 1 to 65535, and {_ENCODE}")
    if parts.fragment or "@" in parts.path + parts.query:
        raise wrong(setting, f"has an @ or # after the host: {_ENCODE}")
    return parts


def _user(parts: SplitResult, query: Mapping[str, Any], setting: str) -> dict[str, str]:
    user = {"username": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    user = {name: value for name, value in user.items() if value}
    if "credential_provider" in query:  # then Celery drops them, too
        return {}
    if user.keys() & query.keys():
        raise wrong(setting, "gives the user or the password twice: before the host and in its query")
    return user


def _hosts(
    parts: SplitResult, setting: str, topology: str, host: str, port: int | None
) -> tuple[tuple[str, int], ...]:
    if topology == "server":
        host = unquote(parts.hostname or "") or host
        if not host or re.search(r"[\s,;]", host):
            raise wrong(setting, "must name one host, for example redis://localhost:6379/0")
        return ((host, parts.port or port or _PORT),)
    user, _, listed = parts.netloc.rpartition("@")
    usual = _SENTINEL_PORT if topology == "sentinel" else _PORT
    hosts = [_host_of_list(text, usual) for text in listed.split(",")]
    if "@" in user or None in hosts:
        raise wrong(setting, f"must name hosts as host:port,host:port with ports from 1 to 65535; {_ENCODE}")
    return tuple(host for host in hosts if host)


def _host_of_list(text: str, port: int) -> tuple[str, int] | None:
    with suppress(ValueError):
        found = urlsplit(f"//{text}")
        host = unquote(found.hostname or "")
        if host and found.port != 0 and not re.search(r"[\s;]", host):
            return host, found.port or port
    return None


def _socket_path(parts: SplitResult, setting: str) -> str:
    path = unquote(parts.path)
    if parts.hostname or not path.strip("/"):
        raise wrong(setting, "must name a socket, with three slashes: unix:///run/redis/redis.sock?db=0")
    return path


def _path_database(parts: SplitResult, setting: str) -> set[int]:
    path = unquote(parts.path).strip("/")
    if not path:
        return set()
    database = _count(path)
    if database is None:
        raise wrong(setting, "must end in the number of a database, as in redis://localhost:6379/0")
    return {database}


def _query(parts: SplitResult, setting: str, *, tls: bool) -> dict[str, Any]:
    known = QUERY.keys() - (set() if parts.scheme in _SENTINEL else {"service"})
    pairs = None
    with suppress(ValueError):
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    if pairs is None or len(dict(pairs)) < len(pairs):
        raise wrong(setting, "has a query that is not of the form ?name=value&name=value, each name once")
    values = {}
    for name, text in pairs:
        if name not in known:
            raise wrong(setting, f"has an unknown query parameter {name!r}", name, known)
        if name.startswith("ssl_") and not tls:
            raise wrong(setting, f"has the query parameter {name!r}, which needs rediss:// or valkeys://")
        values[name] = QUERY[name].parse(text)
        if values[name] is None:
            raise wrong(setting, f"has a wrong {name!r} in its query: it must be {QUERY[name].expected}")
    return values
