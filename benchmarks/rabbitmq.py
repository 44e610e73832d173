"""RabbitMQ: the one that ``AMQP_URL`` names; it is not ours, and may not be there."""

from __future__ import annotations

import os

import kombu
from kombu.exceptions import OperationalError

_ANSWERS_WITHIN_S = 5


def url() -> str:
    """Return where it should be."""
    return os.environ.get("AMQP_URL") or "amqp://guest:guest@127.0.0.1:5672//"


def answers() -> bool:
    """Whether it is there and lets us in."""
    try:
        with kombu.Connection(url(), connect_timeout=_ANSWERS_WITHIN_S) as connection:
            connection.ensure_connection(max_retries=1, timeout=_ANSWERS_WITHIN_S)
    except (OperationalError, OSError):
        return False
    return True
