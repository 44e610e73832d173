"""celery_redislock: the engine's ``RedisLock``."""

from __future__ import annotations

import os
from typing import Any

import redis
from redis.connection import Connection

from celery_redislock import RedisLock
from celery_redislock.engine.protocol import exclusive
from celery_redislock.engine.protocol.keys import LockKeys, keys_of
from celery_redislock.engine.protocol.script import Question
from celery_redislock.engine.protocol.wire import Command, packed
from celery_redislock.engine.transport import connection


class RedislockContender:
    """Fencing token, metadata and wake-up are part of every cycle."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)

    def make(self, name: str, ttl_s: float) -> RedisLock:
        return RedisLock(self._client, name, expire=ttl_s, metadata={"owner": "benchmark"})

    def make_renewed(self, name: str, ttl_s: float) -> RedisLock:
        return RedisLock(self._client, name, expire=ttl_s, renew=True)

    def acquire(self, lock: RedisLock) -> bool:
        return lock.acquire()

    def wait(self, lock: RedisLock) -> None:
        while not lock.acquire(blocking=True, timeout=600):
            pass

    def release(self, lock: RedisLock) -> None:
        lock.release()

    def holds(self, lock: RedisLock) -> bool:
        return not lock.lost and lock.owned()


class Readers(RedislockContender):
    """Any number hold it at once."""

    def make(self, name: str, ttl_s: float) -> RedisLock:
        return RedisLock(self._client, name, expire=ttl_s, metadata={"owner": "benchmark"}, shared=True)


class Places(RedislockContender):
    """At most so many hold it at once."""

    def make(self, name: str, ttl_s: float) -> RedisLock:
        return RedisLock(self._client, name, expire=ttl_s, metadata={"owner": "benchmark"}, limit=2000)


class PackedByRedisPy(RedislockContender):
    """The same, but redis-py packs the commands: what our own packer saves."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        assert connection.packed is packed, "another name packs the commands now"
        pack = Connection().pack_command

        def packed_by_redis_py(command: Command) -> bytes:
            return b"".join(pack(*command))

        connection.packed = packed_by_redis_py


class BareScripts:
    """The scripts of acquire and release on a connection of redis-py: no object, no lease, no second attempt.

    What `RedisLock` could reach at most with these scripts and that client.
    """

    def __init__(self, port: int) -> None:
        client = redis.Redis(port=port)
        for script in (exclusive.ACQUIRE, exclusive.RELEASE):
            client.script_load(script.source)
        self._connection = client.connection_pool.get_connection()
        self._token = ""

    def make(self, name: str, ttl_s: float) -> LockKeys:
        return keys_of(name)

    def make_renewed(self, name: str, ttl_s: float) -> None:
        raise NotImplementedError

    def holds(self, lock: LockKeys) -> bool:
        raise NotImplementedError

    def acquire(self, lock: LockKeys) -> bool:
        self._token = os.urandom(16).hex()
        question = exclusive.acquire(lock, self._token, 30_000, 0, '{"owner":"benchmark"}', asked_at=0)
        return bool(self._answer(question)[0])

    def wait(self, lock: LockKeys) -> None:
        raise NotImplementedError

    def release(self, lock: LockKeys) -> None:
        self._answer(exclusive.release(lock, self._token, 0, done=""))

    def _answer(self, question: Question) -> Any:
        script, keys, arguments = question
        self._connection.send_packed_command((packed(script.command(keys, arguments)),))
        return self._connection.read_response()
