"""TLS: certificates are checked, whatever stands behind the URL."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.config.client import client_from_url
from celery_redislock.config.provider import provider_of

from ...support.servers import Server, free_port
from ...support.topologies import SERVICE, SentinelServer, alone, take_all_slots
from ...support.workers import running_worker


@dataclass(frozen=True)
class Authority:
    """A certificate authority and what it has signed for this machine.

    Attributes:
        root: The certificate that clients trust.
        certificate: The server's, for 127.0.0.1.
        key: The server's.
    """

    root: Path
    certificate: Path
    key: Path

    @property
    def options(self) -> tuple[str, ...]:
        """How a server uses it; clients need no certificate of their own."""
        files = (
            "--tls-cert-file",
            self.certificate,
            "--tls-key-file",
            self.key,
            "--tls-ca-cert-file",
            self.root,
        )
        return (*map(str, files), "--tls-auth-clients", "no", "--tls-replication", "yes")


def openssl(folder: Path, *arguments: str) -> None:
    """Run openssl."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_authority(folder: Path, address: str = "127.0.0.1") -> Authority:
    """Make an authority that has signed a certificate for an address."""
    folder.mkdir()
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl(folder, "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA")
    openssl(folder, "req", *new_key[:-2], "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=redis")
    (folder / "names").write_text(f"subjectAltName=IP:{address}\n")
    sign = ("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    openssl(folder, *sign, "-days", "2", "-extfile", "names", "-out", "cert.pem")
    return Authority(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Give an authority."""
    return make_authority(tmp_path_factory.mktemp("tls") / "right")


@contextmanager
def one_server(authority: Authority) -> Iterator[str]:
    """Run a server, and give its URL."""
    port = free_port()
    with Server("redis", options=("--tls-port", str(port), *authority.options)):
        yield f"rediss://127.0.0.1:{port}/0?"


@contextmanager
def one_node(authority: Authority) -> Iterator[str]:
    """Run a cluster of one node, and give its URL."""
    port = free_port()
    with alone("--tls-port", str(port), "--tls-cluster", "yes", *authority.options) as node:
        take_all_slots(node)
        yield f"rediss+cluster://127.0.0.1:{port}?"


@contextmanager
def one_sentinel(authority: Authority, folder: Path) -> Iterator[str]:
    """Run a master and a Sentinel, and give its URL."""
    port, sentinel_port = free_port(), free_port()
    with Server("redis", options=("--tls-port", str(port), *authority.options)):
        options = ("--tls-port", str(sentinel_port), *authority.options)
        folder.mkdir(exist_ok=True)
        with SentinelServer("redis", folder, port, options=options):
            yield f"rediss+sentinel://127.0.0.1:{sentinel_port}/0?service={SERVICE}&"


@pytest.fixture(params=["server", "node", "sentinel"])
def url(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> Iterator[str]:
    """Give the URL of each topology, open for more of a query."""
    if request.param == "sentinel":
        running = one_sentinel(authority, tmp_path / "sentinel")
    else:
        running = one_server(authority) if request.param == "server" else one_node(authority)
    with running as url:
        yield url


def lock_at(url: str) -> RedisLock:
    """Return a lock as tasks have it."""
    return RedisLock(client_from_url(url, setting="redislock_url"), uuid4().hex)


def test_a_server_with_the_right_certificate_is_used(url: str, authority: Authority) -> None:
    lock = lock_at(f"{url}ssl_ca_certs={authority.root}&ssl_check_hostname=true")

    assert lock.acquire()
    assert lock.renew()
    assert lock.release()


def test_a_server_that_nobody_vouches_for_is_refused(url: str, tmp_path: Path) -> None:
    stranger = make_authority(tmp_path / "stranger")
    for query in (f"ssl_ca_certs={stranger.root}", ""):
        with pytest.raises(StoreUnavailable) as caught:
            lock_at((url + query).rstrip("?&")).acquire()
        assert "certificate" in chain(caught.value).lower()


def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    elsewhere = make_authority(tmp_path / "elsewhere", "10.1.2.3")
    with one_server(elsewhere) as url, pytest.raises(StoreUnavailable) as caught:
        lock_at(f"{url}ssl_ca_certs={elsewhere.root}&ssl_check_hostname=true").acquire()
    assert "mismatch" in chain(caught.value)


#: Setting of a URL -> that of what TLS needs, and of the transport's options.
CELERYS = {
    "broker_url": ("broker_use_ssl", "broker_transport_options"),
    "result_backend": ("redis_backend_use_ssl", "result_backend_transport_options"),
}


def celery_app(
    setting: str, url: str, tls: dict[str, Any], transport: dict[str, Any] | None = None
) -> Celery:
    """Return an app with one Redis, as Celery alone would be told of it."""
    of_tls, of_transport = CELERYS[setting]
    app = Celery("tls", broker="memory://", set_as_current=False)
    app.conf.update({setting: url, of_tls: tls, of_transport: transport or {}})
    return app


def is_reached(app: Celery) -> bool:
    """Take and give back a lock of the app's, after Celery itself has spoken to that server."""
    if app.conf.result_backend:
        assert app.backend.client.ping()
    else:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
    lock = RedisLock(provider_of(app).client, uuid4().hex)
    return lock.acquire() and lock.renew() and lock.release()


@pytest.mark.parametrize("setting", CELERYS)
@pytest.mark.parametrize("check", ["none", "its authority", "authority and client"])
def test_the_locks_are_reached_as_celery_reaches_its_redis(
    setting: str, check: str, authority: Authority
) -> None:
    files = {"ssl_ca_certs": str(authority.root), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    own = {"ssl_certfile": str(authority.certificate), "ssl_keyfile": str(authority.key)}
    tls = {"none": {"ssl_cert_reqs": ssl.CERT_NONE}, "its authority": files}.get(check, files | own)
    asked = ("--tls-auth-clients", "yes") if check == "authority and client" else ()
    port = free_port()
    with Server("redis", options=("--tls-port", str(port), *authority.options, *asked)):
        assert is_reached(celery_app(setting, f"rediss://127.0.0.1:{port}/0", tls))


@pytest.mark.parametrize("setting", CELERYS)
def test_behind_sentinels_they_are_reached_as_well(
    setting: str, authority: Authority, tmp_path: Path
) -> None:
    files = {"ssl_ca_certs": str(authority.root), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    with one_sentinel(authority, tmp_path / "sentinel") as url:
        place = url.partition("://")[2].partition("/")[0]
        transport = {
            "master_name": SERVICE,
            "sentinel_kwargs": {"ssl": True, "ssl_ca_certs": files["ssl_ca_certs"]},
        }
        assert is_reached(celery_app(setting, f"sentinel://{place}/0", files, transport))


def test_who_checks_nothing_for_celery_still_checks_at_a_url_of_our_own(authority: Authority) -> None:
    with one_server(authority) as url:
        app = celery_app("broker_url", url.rstrip("?"), {"ssl_cert_reqs": ssl.CERT_NONE})
        app.conf.redislock_url = url.rstrip("?")
        with pytest.raises(
            StoreUnavailable, match="name the authority with ssl_ca_certs, or turn the check off"
        ):
            RedisLock(provider_of(app).client, uuid4().hex).acquire()


APP = """
from celery import Celery
from celery_redislock import locked_task

app = Celery("tls", broker={url!r}, backend={url!r}, set_as_current=False)
app.conf.update(broker_use_ssl={tls!r}, redis_backend_use_ssl={tls!r})
app.conf.redislock_client_options = {options!r}

@locked_task(app=app, name="locked", bind=True, shared=False)
def locked(self):
    return self.lock.fencing_token
"""


def test_a_locked_task_runs_wherever_a_plain_one_does(authority: Authority, tmp_path: Path) -> None:
    tls = {"ssl_ca_certs": str(authority.root), "ssl_cert_reqs": "required"}
    with one_server(authority) as url:
        code = APP.format(url=url.rstrip("?"), tls=tls, options={})
        (tmp_path / "tls_app.py").write_text(code)
        app: dict[str, Any] = {"__name__": "tls_app"}
        exec(code, app)  # the same app, to publish and to ask
        with running_worker("tls_app", env={}, pool="solo", cwd=tmp_path) as worker:
            assert app["locked"].delay().get(timeout=20)
            assert "locks: Redis at rediss://" in worker.log()
        app["app"].close()


def test_a_worker_whose_locks_trust_nobody_says_what_to_do(authority: Authority, tmp_path: Path) -> None:
    tls = {"ssl_ca_certs": str(authority.root), "ssl_cert_reqs": "required"}
    with one_server(authority) as url:
        code = APP.format(url=url.rstrip("?"), tls=tls, options={"ssl_ca_certs": None})
        (tmp_path / "tls_app.py").write_text(code)
        with running_worker("tls_app", env={}, pool="solo", cwd=tmp_path) as worker:
            worker.wait_for_log("name the authority with ssl_ca_certs")


def chain(error: BaseException | None) -> str:
    """Return what an error and its causes say."""
    said = ""
    while error is not None:
        said += f" {error}"
        error = error.__cause__ or error.__context__
    return said
