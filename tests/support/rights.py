"""Rights: what docs/howto/acl.md lists for the user of the locks, for tests that give it to theirs."""

from __future__ import annotations

import re
import shlex

from .places import DOCS

__all__ = ["COMMANDS", "PLACES", "more"]

_PAGE = (DOCS / "howto" / "acl.md").read_text(encoding="utf-8")


def _words() -> list[str]:
    """Return the rules of the first command of the page."""
    command = re.search(r"ACL SETUSER locks on '>secret' (.*?)\nOK\n", _PAGE, re.DOTALL)
    assert command, "the page should have the command"
    return shlex.split(command[1].replace("\\\n>", " "))


#: What the user may touch.
PLACES = [word for word in _words() if word[0] != "+"]
#: What the user may do: each with its plus.
COMMANDS = [word for word in _words() if word[0] == "+"]


def more(purpose: str) -> list[str]:
    """Return what the page's tables add for a purpose.

    Args:
        purpose: Words of the first column, of one row.
    """
    rows = re.findall(r"^\| (.*) \| `(\+.*)` \|$", _PAGE, re.MULTILINE)
    found = [added for first, added in rows if purpose in first]
    assert len(found) == 1, f"one row should be for {purpose}"
    return found[0].replace("\\|", "|").split()
