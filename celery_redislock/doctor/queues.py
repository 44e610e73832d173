"""Queues: which of some messages may still wait: at the broker, or in a worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from celery import Celery

from .rule import CannotLook

__all__ = ["may_wait_at_the_broker", "waits_in_a_worker"]

#: A queue with more messages is not searched.
MOST = 10_000
#: Messages that are fetched in one step.
AT_ONCE = 500
#: How long workers have to answer, seconds.
ANSWER_S = 2


def waits_in_a_worker(app: Celery, ids: set[str]) -> set[str]:
    """Return those tasks that a worker runs, has reserved, or has scheduled for later.

    Raises:
        CannotLook: No worker answers.
    """
    inspect = app.control.inspect(timeout=ANSWER_S)
    try:
        answers = [inspect.active(), inspect.reserved(), inspect.scheduled()]
    except Exception as error:
        raise CannotLook(f"the workers cannot be asked: {error!r}") from error
    if not any(answers):
        raise CannotLook("no worker answers")
    told = (each for answer in answers for tasks in (answer or {}).values() for each in tasks)
    return {str(task_id) for each in told if (task_id := _id_of(each)) in ids}


def _id_of(told: Any) -> Any:
    # What is scheduled for later is told with its time.
    return (told.get("request") or told).get("id")


def may_wait_at_the_broker(app: Celery, ids: set[str], tasks: Iterable[str]) -> set[str]:
    """Return those messages that may be in a queue.

    A Redis broker is asked for each of them. Another one only tells how many messages wait: if there are any,
    each may be one of them.

    Args:
        app: Of the queues.
        ids: Of the messages.
        tasks: Names of tasks: the queues to which their messages go are looked at.

    Raises:
        CannotLook: The broker cannot be asked.
    """
    queues = _queues(app, tasks)
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=ANSWER_S)
            if connection.transport.driver_type == "redis":
                return _in_redis(connection.default_channel, ids, queues)
            return ids if any(_length(connection, queue) for queue in queues) else set()
    except Exception as error:
        raise CannotLook(f"the broker cannot be asked for its messages: {error!r}") from error


def _queues(app: Celery, tasks: Iterable[str]) -> set[str]:
    routed: list[Any] = [app.amqp.router.route({}, task) for task in tasks]
    return {*app.amqp.queues, *(str(route["queue"].name) for route in routed if "queue" in route)}


def _length(connection: Any, queue: str) -> int:
    # RabbitMQ closes the channel in which a queue was named that there is not.
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue=queue, passive=True).message_count)
        except connection.channel_errors:
            return 0


def _in_redis(channel: Any, ids: set[str], queues: Iterable[str]) -> set[str]:
    lists = [channel._q_for_pri(queue, step) for queue in queues for step in channel.priority_steps]
    if any(channel.client.llen(each) > MOST for each in lists):
        return ids
    found: set[str] = set()
    for message in (*_listed(channel, lists), *channel.client.hvals(channel.unacked_key)):
        found |= {each for each in ids - found if each.encode() in message}
    return found


def _listed(channel: Any, lists: Iterable[str]) -> Iterator[bytes]:
    for each in lists:
        for begin in range(0, MOST, AT_ONCE):
            messages = channel.client.lrange(each, begin, begin + AT_ONCE - 1)
            yield from messages
            if len(messages) < AT_ONCE:
                break
