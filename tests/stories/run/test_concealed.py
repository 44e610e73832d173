"""Passwords: none of ours is shown where Celery masks its own: report, `inspect conf`, and Flower with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from ...support.places import ROOT
from ...support.servers import Server
from ...support.workers import running_worker

#: In each place of ours that can carry one.
PASSWORDS = (
    "of-the-url",
    "of-the-query",
    "of-the-options",
    "of-the-sentinels",
    "of-the-key",
    "of-the-provider",
)

SETTINGS = """
import dataclasses
from celery import Celery
from redis import CredentialProvider

@dataclasses.dataclass
class Provider(CredentialProvider):
    password: str

    def get_credentials(self):
        return self.password,

OPTIONS = {{
    "password": "of-the-options",
    "ssl_password": "of-the-key",
    "sentinel_kwargs": {{"password": "of-the-sentinels", "credential_provider": Provider("of-the-provider")}},
    "credential_provider": Provider("of-the-provider"),
}}
URL = "redis+sentinel://user:of-the-url@127.0.0.1:1,127.0.0.1:2/0?service=m&password=of-the-query"

class Settings:
    CELERY_BROKER_URL = {broker!r}
    CELERY_RESULT_BACKEND = {broker!r}
    CELERY_REDISLOCK_URL = URL
    CELERY_REDISLOCK_CLIENT_OPTIONS = OPTIONS

app = Celery("concealed", broker={broker!r}, backend={broker!r})
if {namespace!r}:
    app.config_from_object(Settings, namespace={namespace!r})
else:
    app.conf.update(redislock_url=URL, redislock_client_options=OPTIONS)
"""

#: A worker whose settings for locks are right, of which the URL has a password.
RUNNING = """
from celery import Celery
app = Celery("running", broker={broker!r}, backend={broker!r})
app.conf.redislock_url = {locks!r}
"""


@pytest.mark.parametrize("namespace", ["", "CELERY"])
def test_the_report_shows_no_password(namespace: str, tmp_path: Path) -> None:
    (tmp_path / "concealed.py").write_text(SETTINGS.format(broker="memory://", namespace=namespace))

    said = celery(tmp_path, "-A", "concealed", "report")

    assert "sentinel_kwargs" in said  # it shows the settings
    assert [word for word in PASSWORDS if word in said] == []


def test_inspect_conf_shows_no_password(locked_server: Server, store: str, tmp_path: Path) -> None:
    (tmp_path / "running.py").write_text(RUNNING.format(broker=f"{store}/13", locks=locked_server.url))

    with running_worker("running", env={}, pool="solo", cwd=tmp_path) as worker:
        said = celery(tmp_path, "-A", "running", "inspect", "conf", "--json")
        log = worker.log()

    (conf,) = json.loads(said).values()
    assert "redislock_url" in conf
    assert "hunter2" not in said + log


@pytest.fixture
def locked_server() -> Iterator[Server]:
    """Give a server that wants a password."""
    with Server("redis", password="hunter2") as server:
        yield server


def test_who_asks_for_it_gets_it() -> None:
    app = Celery("any", set_as_current=False)
    app.conf.redislock_url = "redis://:hunter2@localhost/0"

    assert app.conf.redislock_url == app.conf.table(censored=False)["redislock_url"]
    assert "hunter2" in app.conf.redislock_url
    assert "hunter2" not in app.conf.humanize()


def celery(directory: Path, *arguments: str) -> str:
    """Run a command of Celery's, and return all that it writes."""
    ended = subprocess.run(
        [sys.executable, "-m", "celery", *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr
