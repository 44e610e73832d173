"""Broker: messages in memory, taken out and run as a worker's parent and its child do."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.app.trace import trace_task_ret
from celery.utils.imports import symbol_by_name

#: What differs between a message and the same message published once more: when it is due, and our notes.
_OURS = {
    "eta",
    "redislock_retry",
    "redislock_outage",
    "redislock_copy",
    "redislock_put_off",
    "redislock_pending",
}
#: What a transport in memory writes into each message, and Celery into each that it sends again.
_OF_THE_TRANSPORT = {
    *("delivery_tag", "delivery_info", "body_encoding", "origin", "expiration"),
    *("argsrepr", "kwargsrepr"),
}


class Broker:
    """A queue in memory: what is in it is taken out as a worker's parent does, and run as its child does."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._connection = app.connection_for_read()
        self._channel = self._connection.default_channel

    def message(self, queue: str) -> Any:
        """Take the next message out."""
        message = self.app.amqp.queues[queue](self._channel).get(no_ack=True, accept=["json", "pickle"])
        assert message is not None, f"there should be a message in {queue}"
        return message

    def count(self, queue: str) -> int:
        """Return how many messages are in a queue."""
        return int(self._channel._size(queue))

    def run(self, message: Any, **changed: Any) -> None:
        """Receive a message and run its task."""
        task = self.app.tasks[message.headers["task"]]
        message.headers.update(changed)
        # Celery gives each request of a worker its own.
        request = symbol_by_name(task.Request)(message, app=self.app, task=task)
        trace_task_ret(
            task.name,
            request.id,
            dict(request.request_dict),
            message.body,
            message.content_type,
            message.content_encoding,
            app=self.app,
        )

    def close(self) -> None:
        """Let go of what is left."""
        self._connection.close()


def as_sent(message: Any) -> dict[str, Any]:
    """Return all that a message is, but for what another publication of it may change."""
    return {
        "headers": {name: value for name, value in message.headers.items() if name not in _OURS},
        "properties": {
            name: value for name, value in message.properties.items() if name not in _OF_THE_TRANSPORT
        },
        "content": (message.content_type, message.content_encoding),
        "route": (message.delivery_info["exchange"], message.delivery_info["routing_key"]),
        "body": message.payload,
    }
