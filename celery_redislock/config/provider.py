"""Provider: makes the locks of one app, with one client and one prefix in each process."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery

from ..engine import RedisLock, RedisLocks, Setup, Terms, holder_record, words_of
from . import memory, under_test
from .call import Call
from .client import client_from_url
from .location import store_settings
from .options import LockOptions
from .revision import Revision
from .unknown_settings import check_unknown_settings
from .urls import redacted

logger = logging.getLogger(__name__)


class LockProvider:
    """The locks of one app.

    Args:
        app: Its settings are read now; see `provider_of` for when they change.

    Raises:
        ConfigurationError: A setting is wrong; the message names it.
    """

    def __init__(self, app: Celery) -> None:
        check_unknown_settings(app.conf)
        self.settings = settings = store_settings(app.conf)
        self.client = client_from_url(
            settings.url,
            setting=settings.setting,
            options=settings.client_options,
            companions=settings.companions,
        )
        self.prefix = settings.prefix
        self.is_in_memory = settings.url.startswith(f"{memory.SCHEME}://")
        self.shown = f"{redacted(settings.url)} (setting {settings.setting})"

    def lock_name(self, name: str) -> str:
        """Return the Redis key of the lock with this name."""
        return self.prefix + name

    def setup_of(
        self,
        options: LockOptions,
        min_hold_ms: int,
        is_shared: bool,
        limit: int | None,
        interval_s: float = math.inf,
    ) -> Setup:
        """Return what the locks with these options have in common.

        Args:
            options: On what terms they are taken.
            min_hold_ms: In place of that of the options.
            is_shared: Others may hold them at the same time.
            limit: At most so many; None: any number.
            interval_s: How often they are renewed at least, seconds.
        """
        terms = Terms.in_ms(
            options.ttl_ms, options.wait_ms, min_hold_ms, options.max_hold_ms, options.min_replicas
        )
        words = words_of(is_shared, limit, min_hold_ms)
        return Setup(self.client, terms, interval_s=interval_s, words=words)

    def setups_of(self, call: Call, interval_s: float = math.inf) -> list[Setup]:
        """Return how each lock of a call is taken, in the order of the declaration.

        Args:
            call: The call.
            interval_s: As in `setup_of`.

        Raises:
            ConfigurationError: A function of the user's gives no limit.
        """
        plan = call.plan
        declared = zip(plan.min_holds_ms, plan.sharings, call.limits, strict=True)
        return [
            self.setup_of(plan.options, min_hold_ms, sharing.is_shared, limit, interval_s)
            for min_hold_ms, sharing, limit in declared
        ]

    def lock_of(self, call: Call, metadata: Mapping[str, str]) -> RedisLock:
        """Return the lock of a call that has one, which nobody holds yet.

        Args:
            call: The call.
            metadata: What the holder shows of itself.

        Raises:
            TypeError, LockKeyError: The call gives no name.
            ConfigurationError: The call gives no limit.
        """
        lock_name, (setup,) = call.lock_name, self.setups_of(call)
        return RedisLock.by(setup, lock_name, holder_record.write(metadata))

    def locks_of(self, call: Call, metadata: Mapping[str, str]) -> RedisLocks:
        """Return the locks of a call that has several, which nobody holds yet.

        Args:
            call: The call.
            metadata: What the holder shows of itself.

        Raises:
            TypeError, LockKeyError: The call gives no names.
            ConfigurationError: The call gives no limit.
        """
        written, names = holder_record.write(metadata), call.lock_names
        named = zip(self.setups_of(call), names, strict=True)
        locks = [RedisLock.by(setup, name, written) for setup, name in named]
        return RedisLocks(locks, call.plan.options.wait_ms / 1000)


#: With the revision of the settings by which it was made, or looked at last.
_providers: WeakKeyDictionary[Any, tuple[Revision, LockProvider]] = WeakKeyDictionary()


def provider_of(app: Celery) -> LockProvider:
    """Return the provider of an app: the same one in the whole process, until its settings change.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    known = _providers.get(app)
    if known is None:
        known = _providers.setdefault(app, (Revision(app), LockProvider(app)))
    elif not known[0].is_current(app):
        known = _providers[app] = (Revision(app), _as_changed(app, known[1]))
    return known[1]


def _as_changed(app: Celery, before: LockProvider) -> LockProvider:
    """Return the provider by the settings as they are now; the one before if they lead to the same Redis."""
    check_unknown_settings(app.conf)
    if store_settings(app.conf) == before.settings:
        return before
    provider = LockProvider(app)
    if under_test.now.memory is not None or before.is_in_memory:
        return provider  # a test begins or ends
    logger.warning(
        "locks: the settings of app %r have changed: its locks are at %s, prefix %r, from now on",
        app.main,
        provider.shown,
        provider.prefix,
    )
    return provider
