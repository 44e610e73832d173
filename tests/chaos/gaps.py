"""Gaps: closes two gaps of kombu and Celery, so that a task that gets lost got lost by its lock."""

from __future__ import annotations

import json
from typing import Any

from celery.backends.redis import RedisBackend
from kombu.transport.redis import MultiChannelPoller


def take_at_once() -> None:
    """Have workers read a message at once when Redis gives it to them.

    Redis removes a message from its queue when it sends it, and kombu notes it as unacknowledged when it
    reads it. A worker whose prefetch limit is reached does not read, for seconds; killed, it takes the
    message with it. Reading it all the same leaves a gap of about a millisecond.
    """
    right = MultiChannelPoller.on_readable

    def on_readable(self: Any, fileno: int) -> Any:
        channel, kind = self._fd_to_chan.get(fileno, (None, ""))
        if kind == "BRPOP" and channel._in_poll:
            return channel.handlers[kind]()
        return right(self, fileno)

    MultiChannelPoller.on_readable = on_readable
    # Since kombu 5.7: takes connections that are not to be read out of the poll.
    MultiChannelPoller._update_brpop_polling = lambda self: None


def keep_successes() -> None:
    """Have a result that says SUCCESS never overwritten.

    Celery looks for one before it stores anything else, but in two steps. A child that is stopped between
    publishing a retry and storing RETRY can do so just after the retry has succeeded.
    """

    def set_unless_successful(self: Any, key: str, value: str, *_: Any) -> None:
        def store(pipeline: Any) -> None:
            stored = pipeline.get(key)
            if stored is None or json.loads(stored).get("status") != "SUCCESS":
                pipeline.multi()
                pipeline.setex(key, self.expires, value)
                pipeline.publish(key, value)

        self.client.transaction(store, key)

    RedisBackend._set = set_unless_successful
