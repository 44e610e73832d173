"""Bounded: what is read of redis-py's private parts is there in the version that is installed."""

from __future__ import annotations

import pytest
import redis
from redis.connection import HiredisRespSerializer, PythonRespSerializer
from redis.sentinel import Sentinel

from celery_redislock.engine.transport.bounded import private
from celery_redislock.engine.transport.clients import store_of

from ....support.servers import Server


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


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_opens_our_connections_without_a_packer_of_its_own(
    server: Server, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    def fail(*_: object) -> None:
        pytest.fail("the packer of hiredis ends the process when a signal handler raises in it")

    monkeypatch.setattr(PythonRespSerializer, "pack", fail)
    monkeypatch.setattr(HiredisRespSerializer, "pack", fail)
    client = redis.Redis(port=server.port, db=3, protocol=protocol, client_name="ours")

    assert store_of(client).call(("CLIENT", "GETNAME")) == b"ours"
