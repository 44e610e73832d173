"""What the tests stand on: if a fault never happens, the test of that fault proves nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from celery import Celery
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..support import processes
from ..support.deadlines import eventually
from ..support.proxy import Proxy
from ..support.servers import Server, binary_of
from ..support.workers import running_worker

APP = f"{__name__}:app"

#: For a client that sends nothing twice.
ONCE = Retry(NoBackoff(), 0)

app = Celery("infrastructure", set_as_current=False)
app.conf.update(
    broker_url=os.environ.get("INFRASTRUCTURE_BROKER", "memory://"),
    result_backend=os.environ.get("INFRASTRUCTURE_BROKER"),
    broker_connection_retry_on_startup=True,
    task_default_queue="infrastructure",
)


@app.task
def add(a: int, b: int) -> int:
    """Do what only a worker process does here."""
    return a + b


def test_eventually_returns_the_truthy_answer() -> None:
    answers = iter([0, None, "yes"])

    assert eventually(lambda: next(answers)) == "yes"


def test_eventually_tells_what_was_expected_and_what_was_seen() -> None:
    with pytest.raises(AssertionError, match=r"the key should go; .* the last answer was 0"):
        eventually(lambda: 0, within=0.05, message="the key should go")


def test_a_server_restarts_on_its_port_with_or_without_its_data(any_server: Server) -> None:
    with Server(any_server.kind) as own, own.client() as client:
        client.set("key", "kept")
        port = own.port

        own.restart(keep_data=True)
        assert client.get("key") == b"kept"
        own.restart(keep_data=False)
        assert client.get("key") is None
        client.set("key", "lost")
        own.kill()
        own.start()
        assert client.get("key") is None
        assert own.port == port != any_server.port


def test_a_paused_server_answers_nobody_until_it_is_resumed(own_server: Server) -> None:
    with own_server.client(socket_timeout=0.2, retry=ONCE) as client:
        own_server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()

        own_server.resume()
        assert client.ping()


def test_a_server_asks_for_its_password_on_its_port_and_its_socket(server: Server) -> None:
    with Server(server.kind, password="p:w/@d", unix_socket=True) as own:
        for url in (own.url, own.socket_url):
            with redis.Redis.from_url(url) as client:
                assert client.ping()
        stranger = redis.Redis(port=own.port, retry=ONCE)
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_a_stopped_server_leaves_neither_process_nor_file(own_server: Server) -> None:
    own_server.pause()
    directory = own_server._directory

    own_server.stop()

    assert not processes.living(group=own_server.pid)
    assert not directory.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_a_server_does_not_outlive_a_killed_test_run(server: Server, tmp_path: Path) -> None:
    program = (
        f"import time; from tests.support.servers import Server; own = Server({server.kind!r});"
        "own.start(); print(own.pid, flush=True); time.sleep(60)"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=env)
    with run:
        assert run.stdout is not None
        orphan = int(run.stdout.readline())
        run.kill()

    eventually(lambda: not processes.living(group=orphan), message="the server should be gone")


def test_a_port_that_a_stranger_took_is_not_mistaken_for_our_server(own_server: Server) -> None:
    rival = Server(own_server.kind)
    rival.port = own_server.port
    try:
        with pytest.raises(Exception, match="in use"):
            rival.start()
    finally:
        rival.stop()


def test_every_client_variant_starts_on_an_empty_server(
    client: redis.Redis, client_factory: Callable[..., redis.Redis]
) -> None:
    assert client.dbsize() == 0
    client.set("key", "text")

    assert client.get("key") == b"text"
    assert client_factory(decode_responses=True, protocol=3).get("key") == "text"


def test_the_fake_server_runs_lua_and_is_new_for_each_test(fake_client: redis.Redis) -> None:
    assert fake_client.eval("return redis.call('INCR', KEYS[1])", 1, "key") == 1


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_runs_tasks_and_is_gone_afterwards(pool: str, own_server: Server) -> None:
    env = {"INFRASTRUCTURE_BROKER": own_server.url}
    with (
        Celery(broker=own_server.url, backend=own_server.url, set_as_current=False) as sender,
        running_worker(APP, env=env, pool=pool) as worker,
    ):
        result = sender.send_task(add.name, (1, 2), queue="infrastructure")
        assert result.get(timeout=10) == 3
        assert len(worker.children()) == (2 if pool == "prefork" else 0)
        result.forget()

    assert not processes.living(group=worker.pid)


def test_a_killed_worker_takes_its_pool_with_it(own_server: Server) -> None:
    with running_worker(APP, env={"INFRASTRUCTURE_BROKER": own_server.url}) as worker:
        assert worker.children()

        worker.kill()

        assert worker.wait() == -signal.SIGKILL
        eventually(lambda: not processes.living(group=worker.pid))


def test_a_worker_that_cannot_start_shows_its_log(capfd: pytest.CaptureFixture[str]) -> None:
    hopeless = running_worker("no_such_module_of_ours:app", env={})
    with pytest.raises(AssertionError, match="ended without writing"), hopeless:
        pass

    assert "no_such_module_of_ours" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_a_server_program_is_an_executable_file(kind: str) -> None:
    binary = binary_of(kind)

    assert binary is None or os.access(binary, os.X_OK)


def patient(proxy: Proxy) -> redis.Redis:
    """Return a client that gives up soon and sends nothing twice."""
    return redis.Redis(port=proxy.port, socket_timeout=0.3, retry=ONCE)


def test_a_swallowed_reply_means_a_command_that_happened_and_a_client_in_the_dark(
    client: redis.Redis, server: Server
) -> None:
    with Proxy(server.port) as proxy, patient(proxy) as victim:
        proxy.swallow_replies(1, matching=b"INCR")
        assert victim.set("other", 1)
        with pytest.raises(redis.TimeoutError):
            victim.incr("counter")

        assert client.get("counter") == b"1"
        assert victim.incr("counter") == 2
        assert proxy.fired == 1


def test_a_dropped_connection_means_a_command_that_happened(client: redis.Redis, server: Server) -> None:
    with Proxy(server.port) as proxy, patient(proxy) as victim:
        proxy.drop_connection_after_request(2, matching=b"INCR")
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                victim.incr("counter")

        assert victim.incr("counter") == 3
        assert client.get("counter") == b"3"
        assert proxy.fired == 2


def test_a_client_that_retries_by_itself_sends_a_dropped_command_twice(
    client: redis.Redis, server: Server
) -> None:
    # redis-py before 6 does so only if it is told.
    twice = {"retry": Retry(NoBackoff(), 1), "retry_on_error": [redis.ConnectionError]}
    with Proxy(server.port) as proxy, redis.Redis(port=proxy.port, **twice) as insistent:
        proxy.drop_connection_after_request(1, matching=b"INCR")

        assert insistent.incr("counter") == 2


def test_a_pattern_is_found_although_it_comes_in_two_pieces(server: Server) -> None:
    with (
        Proxy(server.port) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as raw,
    ):
        proxy.drop_connection_after_request(1, matching=b"PING")
        raw.sendall(b"*1\r\n$4\r\nPI")
        eventually(lambda: proxy.requests)
        raw.sendall(b"NG\r\n")

        assert raw.recv(100) == b""
        assert proxy.fired == 1


def test_a_blackhole_loses_what_is_sent_into_it_for_good(client: redis.Redis, server: Server) -> None:
    with Proxy(server.port) as proxy, patient(proxy) as victim:
        assert victim.ping()
        proxy.blackhole()
        with pytest.raises(redis.TimeoutError):
            victim.incr("counter")
        proxy.heal()

        assert victim.incr("counter") == 1


def test_a_cut_refuses_connections_until_it_is_healed(server: Server) -> None:
    with Proxy(server.port) as proxy, patient(proxy) as victim:
        assert victim.ping()
        proxy.cut()
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                victim.ping()
        proxy.heal()

        assert victim.ping()


@pytest.mark.parametrize("direction", ["replies", "requests"])
def test_a_delay_is_longer_than_an_impatient_client(server: Server, direction: str) -> None:
    with Proxy(server.port) as proxy, patient(proxy) as victim:
        proxy.delay(**{direction: 0.05})
        assert victim.ping()
        proxy.delay(**{direction: 60})
        with pytest.raises(redis.TimeoutError):
            victim.ping()


def test_a_proxy_before_a_dead_server_closes_its_connections(own_server: Server) -> None:
    with Proxy(own_server.port) as proxy, patient(proxy) as victim:
        own_server.kill()

        with pytest.raises(redis.ConnectionError):
            victim.ping()


def test_a_proxy_leaves_neither_thread_nor_port(server: Server) -> None:
    before = set(threading.enumerate())
    with Proxy(server.port) as proxy, patient(proxy) as client:
        assert client.ping()

    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))


def test_the_broker_and_the_database_answer(amqp_url: str, postgres_url: str) -> None:
    assert amqp_url.startswith("amqp")
    assert postgres_url.startswith("postgresql")
