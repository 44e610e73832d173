"""Guide: a how-to page that a test follows in an empty folder, and then goes on from."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...support.deadlines import eventually
from ...support.places import DOCS
from ...support.servers import Server
from ..walkthrough import SHOWN_WITHIN, Walkthrough

__all__ = ["Reader", "followed"]


class Reader(Walkthrough):
    """Somebody who has done all that a page says, and tries more."""

    def python(self, code: str, within: float = 60.0) -> Any:
        """Run statements in the reader's folder; return what they print, as JSON."""
        name = self.folder / "more.py"
        name.write_text(code)
        return json.loads(self.run(f"python {name.name}", within).splitlines()[-1])

    def start(self, terminal: str, command: str, shown: str) -> None:
        """Type a command in a terminal of its own, and wait until it shows this."""
        self._open(terminal, command)
        eventually(lambda: shown in self.log(terminal), SHOWN_WITHIN, f"{terminal} should show {shown!r}")

    def stop(self, terminal: str) -> None:
        """Type Ctrl-C in a terminal."""
        self._end(terminal, signal.SIGINT)

    def kill(self, terminal: str) -> None:
        """Kill what runs in a terminal, with its children."""
        self._end(terminal, signal.SIGKILL)


@contextmanager
def followed(
    page: str, server: Server, tmp_path: Path, *, places: Mapping[str, str] | None = None
) -> Iterator[Reader]:
    """Follow a how-to page by its name; its terminals run on for the length of the block.

    Args:
        page: Its file.
        server: The Redis that it has at ``localhost:6379``.
        tmp_path: Where the reader's folder is made.
        places: As of `Walkthrough`.
    """
    folder = tmp_path / "shop"
    folder.mkdir()
    with Reader(DOCS / "howto" / page, folder, server, places=places).followed() as reader:
        assert isinstance(reader, Reader)
        yield reader
