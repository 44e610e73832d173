"""Location: which Redis keeps the locks, and what their keys begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..errors import ConfigurationError
from . import memory, under_test
from .celery_connection import NO_COMPANIONS, Companions, companions_of
from .settings import SETTINGS
from .unknown_settings import spelled
from .urls import SCHEMES

__all__ = ["StoreSettings", "key_prefix", "store_settings"]


@dataclass(frozen=True)
class StoreSettings:
    """Which Redis keeps the locks. Its repr shows neither URL nor options: they hold passwords.

    Attributes:
        url: As it was written; nothing but its scheme was looked at.
        setting: Where it was written: ``redislock_url``, ``result_backend``, ``broker_url``, as spelled.
        prefix: What every key begins with.
        client_options: Further arguments for the client.
        companions: What stands beside the URL, if it is one of Celery's settings.
    """

    url: str = field(repr=False)
    setting: str
    prefix: str
    client_options: Mapping[str, Any] = field(repr=False)
    companions: Companions = field(default=NO_COMPANIONS, repr=False)


def store_settings(conf: Mapping[str, Any]) -> StoreSettings:
    """Find out where the locks are kept.

    Raises:
        ConfigurationError: No setting leads to one Redis, or a setting has the wrong type. The
            message shows no value.
    """
    prefix = key_prefix(conf)
    options = SETTINGS["redislock_client_options"].of(conf)
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise ConfigurationError(
            f"{spelled(conf, 'redislock_client_options')} setting must be a dict of arguments for the "
            'Redis client, such as {"socket_timeout": 0.5}'
        )
    if under_test.now.prepare is not None:
        under_test.now.prepare(conf)
    in_memory = under_test.now.memory
    url, setting = _store_url(conf) if in_memory is None else (in_memory.url, "redislock_url")
    if in_memory is None and url.startswith(f"{memory.SCHEME}://"):
        memory.refuse_several_processes(conf, spelled(conf, setting))
    return StoreSettings(
        url,
        spelled(conf, setting),
        prefix,
        MappingProxyType(dict(options)),
        companions_of(conf, setting),
    )


def key_prefix(conf: Mapping[str, Any]) -> str:
    """Return what the Redis key of every lock begins with.

    Raises:
        ConfigurationError: It is no text.
    """
    prefix = SETTINGS["redislock_prefix"].of(conf)
    if not isinstance(prefix, str):
        raise ConfigurationError(
            f"{spelled(conf, 'redislock_prefix')} setting must be a str such as 'redislock:', "
            f"not {type(prefix).__name__}"
        )
    return prefix


def _store_url(conf: Mapping[str, Any]) -> tuple[str, str]:
    own = SETTINGS["redislock_url"].of(conf)
    if isinstance(own, str) and own.strip():
        return own, "redislock_url"
    ours = spelled(conf, "redislock_url")
    if own is not None:
        raise ConfigurationError(
            f"{ours} setting must be a URL such as redis://localhost:6379/0: it is empty or "
            "not a str; remove it to use result_backend or broker_url"
        )
    for setting in ("result_backend", "broker_url"):
        # The attribute of Celery's conf also honours CELERY_RESULT_BACKEND and CELERY_BROKER_URL.
        url = _redis_url(getattr(conf, setting, None) or conf.get(setting))
        if url:
            return url, setting
    raise ConfigurationError(
        f"no Redis server for the locks: {ours} is not set, and neither {spelled(conf, 'result_backend')} "
        f"nor {spelled(conf, 'broker_url')} is the URL of one Redis; "
        f"set {ours}, for example redis://localhost:6379/0"
    )


def _redis_url(value: object) -> str | None:
    """The URL in a setting of Celery, when it is of one Redis: several brokers are none, Sentinels are."""
    urls = value.split(";") if isinstance(value, str) else value
    if not isinstance(urls, list | tuple) or not all(isinstance(url, str) for url in urls):
        return None
    schemes = {url.partition("://")[0].lower() if "://" in url else "" for url in urls}
    known = schemes <= SCHEMES and (len(urls) == 1 or schemes == {"sentinel"})
    return ";".join(urls) if known and urls else None
