"""Celery connection: what Celery has beside a URL for its own connection, as arguments of our client (pure).

If the locks are kept where `result_backend` or `broker_url` says, other settings tell how to reach that
server: certificates, a password, the name of the master. Timeouts are not taken over: ours are short, because
a task waits for them. Nor are settings of the broker alone, such as a key prefix.

https://docs.celeryq.dev/en/stable/userguide/configuration.html#redis-backend-settings
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .urls import QUERY, cert_reqs, wrong

#: Celery's word -> ours, where a connection to the broker finds them: settings, then transport options.
_BROKER = {"broker_user": "username", "broker_password": "password"}
_BROKER_TRANSPORT = ("socket_keepalive", "socket_keepalive_options", "health_check_interval")

#: The same for a result backend.
_BACKEND = {
    "redis_username": "username",
    "redis_password": "password",
    "redis_backend_credential_provider": "credential_provider",
    "redis_backend_health_check_interval": "health_check_interval",
}

#: Two ways to log in: of both, the one that is given closer to the locks counts.
_PASSWORD, _PROVIDER = frozenset({"username", "password"}), frozenset({"credential_provider"})


@dataclass(frozen=True)
class Companions:
    """What stands beside a URL of Celery's; nothing beside one of ours.

    Attributes:
        arguments: Of ``redis.Redis``; with "ssl" if the connection is to use TLS whatever the URL says.
        service: What the Sentinels call the master.
        sentinel_kwargs: How the Sentinels themselves are reached: all that Celery gives to them.
        host, port: The server, where the URL does not say it; no host where it must.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    service: str = ""
    sentinel_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)
    host: str = ""
    port: int | None = None

    def under(self, stronger: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments with those that win put over them."""
        dropped = (_PASSWORD if _PROVIDER & stronger.keys() else frozenset()) | (
            _PROVIDER if _PASSWORD & stronger.keys() else frozenset()
        )
        kept = {name: value for name, value in self.arguments.items() if name not in dropped}
        return {**kept, **stronger}


#: Beside a URL of our own.
NO_COMPANIONS = Companions()


def companions_of(conf: Mapping[str, Any], setting: str) -> Companions:
    """Return what stands beside the URL in a setting.

    Raises:
        ConfigurationError: A value is wrong; the message names its setting and shows no value.
    """
    beside = {"result_backend": _beside_backend, "broker_url": _beside_broker}.get(setting)
    return beside(conf) if beside else NO_COMPANIONS


def _beside_backend(conf: Mapping[str, Any]) -> Companions:
    arguments = {**_named(conf, _BACKEND), **_tls(conf, "redis_backend_use_ssl")}
    if _PROVIDER & arguments.keys():  # then Celery drops the password
        arguments = {name: value for name, value in arguments.items() if name not in _PASSWORD}
    transport = _mapping(conf, "result_backend_transport_options")
    host = str(conf.get("redis_host") or "localhost")
    return Companions(arguments, *_of_sentinels(transport), host, _port(conf, "redis_port"))


def _beside_broker(conf: Mapping[str, Any]) -> Companions:
    transport = _mapping(conf, "broker_transport_options")
    of_transport = {name: transport[name] for name in _BROKER_TRANSPORT if transport.get(name) is not None}
    arguments = {**_named(conf, _BROKER), **of_transport, **_tls(conf, "broker_use_ssl")}
    return Companions(arguments, *_of_sentinels(transport), "127.0.0.1", _port(conf, "broker_port"))


def _of_sentinels(transport: Mapping[str, Any]) -> tuple[str, Mapping[str, Any] | None]:
    return str(transport.get("master_name") or ""), transport.get("sentinel_kwargs")


def _port(conf: Mapping[str, Any], setting: str) -> int | None:
    port = conf.get(setting)
    if port and not re.fullmatch("[0-9]{1,5}", str(port)):
        raise wrong(setting, "must be a port: a number from 1 to 65535")
    return int(port) if port else None


def _named(conf: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    return {ours: conf.get(celerys) for celerys, ours in words.items() if conf.get(celerys)}


def _mapping(conf: Mapping[str, Any], setting: str) -> Mapping[str, Any]:
    found = conf.get(setting)
    return found if isinstance(found, Mapping) else {}


def _tls(conf: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """Return the arguments for TLS; True says no more than a rediss:// URL, also to Celery."""
    found = dict(_mapping(conf, setting))
    if not found:
        return {}
    word = found.get("ssl_cert_reqs")
    if isinstance(word, str):
        found["ssl_cert_reqs"] = cert_reqs(word)
        if found["ssl_cert_reqs"] is None:  # to redis-py None is "none": no check at all
            raise wrong(setting, f"has a wrong 'ssl_cert_reqs': it must be {QUERY['ssl_cert_reqs'].expected}")
    for name in found:
        if not str(name).startswith("ssl_"):
            raise wrong(
                setting, f"has {name!r}, which redis-py does not accept: its TLS options begin with ssl_"
            )
    return {**found, "ssl": True}
