"""Project: one of the small applications beside this file, as its developer has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ...support import processes
from ...support.deadlines import eventually
from ...support.servers import Server, free_port
from ...support.workers import Worker, running_worker

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class Project:
    """An application, its Redis, and the gate that its bodies wait for.

    Args:
        name: Of its directory.
        server: Its Redis.
        folder: Where its files are, and nobody else's.
    """

    def __init__(self, name: str, server: Server, folder: Path) -> None:
        self.folder = folder
        self._code = HERE / name
        self._gate = folder / "gate"
        self._env = {
            "SHOP_REDIS": server.url,
            "SHOP_GATE": str(self._gate),
            "SHOP_SHELF": str(folder),
            "SHOP_DATABASE": str(folder / "database"),
        }

    def open_gate(self) -> None:
        """Let the bodies end that have begun, and those that begin later."""
        self._gate.touch()

    def worker(self, app: str) -> AbstractContextManager[Worker]:
        """Run a worker of two processes."""
        return running_worker(app, env=self._env, cwd=self._code)

    def run(self, *arguments: str) -> Any:
        """Run one of its programs with Python; return what it prints, as JSON."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self._code,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        return json.loads(done.stdout or "null")

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Path]:
        """Run a program for the length of a block; give the file of what it writes."""
        path = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        with path.open("wb") as output:
            command = [sys.executable, *arguments]
            process = processes.start(command, output=output, env=self._environment(), cwd=self._code)
            try:
                yield path
            except BaseException:
                print(f"---- log of {arguments} ----\n{path.read_text()}", file=sys.stderr)
                raise
            finally:
                left_over = processes.end_group(process, grace=15)
        if left_over:
            raise AssertionError(f"{left_over} outlived {arguments}")

    @contextmanager
    def served(self, command: Sequence[str]) -> Iterator[Site]:
        """Serve it at a port that is put for ``PORT`` in the command."""
        port = free_port()
        with self.running(*(word.replace("PORT", str(port)) for word in command)):
            site = Site(f"http://127.0.0.1:{port}")
            eventually(site.answers, 20, "the site should answer")
            yield site

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self._env, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


class Site:
    """A web site, asked over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url

    def answers(self) -> bool:
        """Whether anything answers there."""
        try:
            self.get("/")
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def get(self, path: str) -> Any:
        """Return the JSON of a page."""
        return self._ask(urllib.request.Request(self._url + path))

    def post(self, path: str) -> Any:
        """Post nothing to a page, and return its JSON."""
        return self._ask(urllib.request.Request(self._url + path, data=b""))

    def _ask(self, request: urllib.request.Request) -> Any:
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read() or "null")
