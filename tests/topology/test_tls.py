"""TLS: certificates are checked, whatever stands behind the URL."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from celery_redislock import RedisLock, StoreUnavailable
from celery_redislock.clients import client_from_url

from ..servers import Server, free_port
from ..topologies import SERVICE, SentinelServer, alone, take_all_slots


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


def chain(error: BaseException | None) -> str:
    """Return what an error and its causes say."""
    said = ""
    while error is not None:
        said += f" {error}"
        error = error.__cause__ or error.__context__
    return said
