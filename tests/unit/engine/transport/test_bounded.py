"""Bounded: what is read of redis-py's private parts is there in the version that is installed."""

from __future__ import annotations

import redis
from redis.sentinel import Sentinel

from celery_redislock.engine.transport.bounded import private


def test_a_connection_has_a_socket_and_a_parser(client: redis.Redis) -> None:
    connection = client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    assert private(connection, "_sock") is None
    connection.connect()
    try:
        assert private(connection, "_sock").fileno() > 0
        connection.send_command("PING")
        assert private(connection, "_parser").read_response() in (b"PONG", "PONG")
    finally:
        connection.disconnect()


def test_what_a_version_does_not_have_is_none() -> None:
    assert private(Sentinel([]), "_force_master_ip") is None
    assert private(object(), "_sock") is None
