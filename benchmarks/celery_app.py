"""Celery app: one task of the kind that the environment names, which does nothing or sleeps."""

from __future__ import annotations

import os
import time
from typing import Any

import redis
from celery import Celery, Task
from celery.signals import worker_process_init
from kombu import Exchange, Queue

# What the process is told: where messages wait, which server has the locks, which kind of task, how long its
# body sleeps, when its messages are acknowledged, where runs are counted.
_broker, _queue = os.environ["BENCHMARKS_BROKER"], os.environ["BENCHMARKS_QUEUE"]
_server, _kind = os.environ["BENCHMARKS_SERVER"], os.environ["BENCHMARKS_KIND"]
_body_s = int(os.environ["BENCHMARKS_BODY_MS"]) / 1000
_counted = os.open(os.environ["BENCHMARKS_COUNTED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

#: What is seen of the locks of a kind; of the other locked kinds the statistics are kept.
_OBSERVED: dict[str, dict[str, Any]] = {
    "locked-unseen": {"redislock_stats": False},
    "locked-prometheus": {"redislock_metrics": ["prometheus"]},
    "locked-seen": {"redislock_metrics": ["prometheus", "opentelemetry"]},
}

app = Celery("benchmarks", broker=_broker)
app.conf.update(
    task_default_queue=_queue,
    # RabbitMQ deletes both when the worker has gone.
    task_queues=[Queue(_queue, Exchange(_queue, auto_delete=True), _queue, auto_delete=True)],
    task_ignore_result=True,
    task_acks_late=os.environ["BENCHMARKS_ACKS"] == "late",
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    redislock_url=_server,
    ONCE={"backend": "celery_once.backends.Redis", "settings": {"url": _server, "default_timeout": 600}},
    singleton_backend_url=_server,
    **_OBSERVED.get(_kind, {}),
)


@worker_process_init.connect
def _export(**_: Any) -> None:
    """Have OpenTelemetry keep and export what is counted in this child, to nowhere."""
    if _kind != "locked-seen":
        return
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))


class Pings(Task):
    """What no task can be faster than that asks Redis before its body and after it."""

    abstract = True
    _client: redis.Redis | None = None

    def before_start(self, *_: Any) -> None:
        """Ask once; connected in the child."""
        self._client = self._client or redis.Redis.from_url(_server)
        self._client.ping()

    def after_return(self, *_: Any) -> None:
        """Ask once more."""
        if self._client is not None:
            self._client.ping()


class WithRedisLock(Task):
    """The lock alone, with nothing of the Celery layer around it."""

    abstract = True
    _client: redis.Redis | None = None

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Take a lock named by the argument."""
        from celery_redislock import RedisLock

        self._client = self._client or redis.Redis.from_url(_server)
        self._lock = RedisLock(self._client, f"redislock:nothing:{args[0]}", 30, renew=True)
        self._lock.acquire()

    def after_return(self, *_: Any) -> None:
        """Release it."""
        self._lock.release()


class TwoScripts(Task):
    """What no task can be faster than that has a lock: one script that it waits for, and one that it sends.

    The scripts are as short as a lock's can be. There is no object, no lease, and nothing that renews.
    """

    abstract = True
    _client: redis.Redis | None = None
    _take, _give_back = (
        "return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])",
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
    )

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Read the reply to the last release, and take a lock; connected in the child."""
        if self._client is None:
            self._client = redis.Redis.from_url(_server)
            self._shas = self._client.script_load(self._take), self._client.script_load(self._give_back)
            self._connection, self._is_owed = self._client.connection_pool.get_connection(), False
        self._name = f"redislock:nothing:{args[0]}"
        if self._is_owed:
            self._connection.read_response()
        self._token = os.urandom(16).hex()
        self._connection.send_command("EVALSHA", self._shas[0], 1, self._name, self._token, 30000)
        self._connection.read_response()

    def after_return(self, *_: Any) -> None:
        """Send what gives it back."""
        self._connection.send_command("EVALSHA", self._shas[1], 1, self._name, self._token)
        self._is_owed = True


def _base(kind: str) -> type[Any]:
    if kind == "pings":
        return Pings
    if kind == "two-scripts":
        return TwoScripts
    if kind == "engine":
        return WithRedisLock
    if kind in ("locked", "locked-off", *_OBSERVED):
        from celery_redislock import LockedTask

        return LockedTask
    if kind == "celery-once":
        from celery_once import QueueOnce

        once: type[Any] = QueueOnce
        return once
    if kind == "celery-singleton":
        from celery_singleton import Singleton

        singleton: type[Any] = Singleton
        return singleton
    return Task


_options = {"lock_mode": "off"} if _kind == "locked-off" else {}


@app.task(base=_base(_kind), name="nothing", **_options)
def nothing(number: int) -> None:
    """Sleep, if the case says so; then leave a byte where the benchmark counts, without asking the server."""
    if _body_s:
        time.sleep(_body_s)
    os.write(_counted, b".")


def publish(first: int, amount: int) -> dict[str, float]:
    """Send so many messages, and return the seconds of clock and processor; runs in an agent."""
    cpu, start = time.process_time(), time.perf_counter()
    for number in range(first, first + amount):
        nothing.delay(number)
    return {"seconds": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
