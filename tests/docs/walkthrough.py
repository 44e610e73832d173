"""Walkthrough: follows a page from top to bottom as its reader would, in an empty folder, with a real server.

What is followed:

* A block of code whose first line is a comment with a file's name (``# shop/tasks.py``) is that file;
  with ``# shop/settings.py, at the end`` it is added to what is there.
* A block ``console`` holds commands (``$ celery -A shop locks list``), each with what it prints.
  ``...`` in what it prints stands for anything, at most the rest of a line.
* ``console eventually`` is typed again until it prints what the page shows: a result that a worker stores.
* ``console terminal=NAME`` is a terminal of its own: its command goes on until the page ends, or until a
  block ``console stop=NAME`` (Ctrl-C) or ``console kill=NAME`` (SIGKILL). What the page says that it prints
  must come within a deadline. What such an ending block shows is for the reader: it is not typed.
* ``console skip`` is for what a test has already: a server, an environment with the package.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ..support import processes
from ..support.deadlines import eventually
from ..support.places import python_path
from ..support.servers import Server
from .pages import Block, blocks

__all__ = ["Walkthrough", "expected_in"]

#: Where the pages have their Redis: there a test puts its own.
PLACE = "localhost:6379"

#: Seconds: a worker, a beat or a web server starts, and prints what the page says, on two busy cores.
SHOWN_WITHIN = 60.0

#: Seconds: what still runs on a page's last line may take hours, and is killed.
CLOSED_WITHIN_S = 3.0
#: A worker that is told to end, seconds. A process of billiard's pool may wait half a minute for its parent
#: to have read its last result (``_ensure_messages_consumed``).
ENDED_WITHIN_S = 60

_FILE = re.compile(r"^(?:#|//|<!--|;) ?([\w./-]+\.\w+)\b.*\n")


class Walkthrough:
    """One page that is followed, step by step.

    Args:
        page: The page.
        folder: Where its reader stands; empty.
        server: The Redis that the page has at ``localhost:6379``.
        env: Added to the environment of each command.
        places: Other addresses of the page -> where the test has them.
    """

    def __init__(
        self,
        page: Path,
        folder: Path,
        server: Server,
        *,
        env: Mapping[str, str] | None = None,
        places: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.steps = blocks(page)
        self._places = {PLACE: f"127.0.0.1:{server.port}", **(places or {})}
        programs = str(Path(sys.executable).parent)
        path = os.pathsep.join([programs, os.environ["PATH"]])
        python = os.pathsep.join([str(folder), python_path()])
        self._env = {**os.environ, "PATH": path, "PYTHONPATH": python, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._terminals: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}

    @contextmanager
    def followed(self) -> Iterator[Walkthrough]:
        """Do all that the page says; for the length of the block its terminals run on."""
        try:
            for step in self.steps:
                self.follow(step)
            yield self
        except BaseException:
            for name, (_, log) in self._terminals.items():
                print(f"---- terminal {name} ----\n{log.read_text(errors='replace')}", file=sys.stderr)
            raise
        finally:
            self._close()

    def follow(self, step: Block) -> None:
        """Do one step of the page: write a file, or type commands."""
        words = dict(word.partition("=")[::2] for word in step.info[1:])
        if step.language == "console":
            if "skip" not in words:
                self._type(step, words)
        elif named := _FILE.match(step.code):
            path = self.folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            is_added = step.code.splitlines()[0].endswith(", at the end")
            before = path.read_text() + "\n" if is_added else ""
            path.write_text(before + self._here(step.code))

    def log(self, terminal: str) -> str:
        """Return what stands in a terminal."""
        return self._terminals[terminal][1].read_text(errors="replace")

    def run(self, command: str, within: float = 60.0) -> str:
        """Type a command and return what it prints.

        Raises:
            AssertionError: It failed.
        """
        done = subprocess.run(
            ["bash", "-c", self._here(command)],
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        return done.stdout

    def _type(self, step: Block, words: Mapping[str, str]) -> None:
        for how, number in (("stop", signal.SIGINT), ("kill", signal.SIGKILL)):
            if how in words:
                self._end(words[how], number)
                return
        for command, printed in commands_of(step.code):
            if "terminal" in words and words["terminal"] not in self._terminals:
                self._open(words["terminal"], command)
            elif command:
                self._show(step, command, self._here(printed), "eventually" in words)
                continue
            self._expect(step, words["terminal"], printed)

    def _show(self, step: Block, command: str, wanted: str, is_repeated: bool) -> None:
        """Type a command that must print what the page shows, at once or some time."""
        if is_repeated:
            message = f"{step}: $ {command} should print\n{wanted}"
            eventually(lambda: self._shows(command, wanted), SHOWN_WITHIN, message)
        else:
            output = self.run(command)
            assert expected_in(wanted, output), f"{step}: $ {command}\n{output}"

    def _shows(self, command: str, wanted: str) -> bool:
        """Tell whether a command succeeds, and prints what the page shows."""
        with suppress(AssertionError):
            return expected_in(wanted, self.run(command))
        return False

    def _open(self, name: str, command: str) -> None:
        log = self.folder.parent / f"{self.folder.name}-{name}.log"
        with log.open("wb") as output:
            process = processes.start(
                ["/bin/bash", "-c", f"exec env {self._here(command)}"],
                output=output,
                env=self._env,
                cwd=self.folder,
            )
        self._terminals[name] = (process, log)

    def _expect(self, step: Block, name: str, printed: str) -> None:
        wanted = self._here(printed)
        eventually(
            lambda: expected_in(wanted, self.log(name)),
            SHOWN_WITHIN,
            f"{step}: terminal {name} should show\n{wanted}",
        )

    def _end(self, name: str, number: signal.Signals) -> None:
        process, _ = self._terminals[name]
        if number is signal.SIGKILL:
            processes.signal_group(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(ENDED_WITHIN_S)

    def _close(self) -> None:
        terminals = [process for process, _ in self._terminals.values()]
        for process in terminals:  # all at once: each may take its time
            process.terminate()
        for process in terminals:
            processes.end_group(process, grace=CLOSED_WITHIN_S)

    def _here(self, text: str) -> str:
        for place, here in self._places.items():
            text = text.replace(place, here)
        return text


def commands_of(code: str) -> list[tuple[str, str]]:
    """Return the commands of a console, each with what it prints; the first may be empty: only output."""
    found: list[tuple[str, str]] = []
    lines = iter(code.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines).removeprefix("> ").lstrip()
            found.append((command, ""))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
        else:
            found.append(("", f"{line}\n"))
    return found


def expected_in(expected: str, output: str) -> bool:
    """Tell whether an output has what a page shows: its lines in this order, others between them or not.

    ``...`` in a line stands for anything in it. Other lines of the output are ignored: a worker logs much
    that a page leaves out.
    """
    position = 0
    for line in filter(str.strip, expected.splitlines()):
        if line.strip() == "...":
            continue
        pattern = ".*".join(re.escape(part.strip()) for part in line.split("..."))
        found = re.compile(pattern).search(output, position)
        if not found:
            return False
        position = found.end()
    return True
