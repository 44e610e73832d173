"""Pages: the Markdown of the README and of the site, and the blocks of code on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from ..support.places import DOCS, README, ROOT

__all__ = ["Block", "blocks", "pages"]


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: Where it stands.
        line: Of its first line of code, from 1.
        info: The words behind the fence: ``python``, ``python runnable``, ``console``.
        code: What is in it.
    """

    page: Path
    line: int
    info: tuple[str, ...]
    code: str

    @property
    def language(self) -> str:
        """The first word behind the fence; empty where there is none."""
        return self.info[0] if self.info else ""

    def __str__(self) -> str:
        name = self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page.name
        return f"{name}:{self.line}"


def pages() -> list[Path]:
    """List the pages that users and developers read."""
    of_the_site = (path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
    return sorted([README, ROOT / "CONTRIBUTING.md", ROOT / "example_project" / "README.md", *of_the_site])


def blocks(page: Path) -> list[Block]:
    """List the fenced blocks of a page, from top to bottom."""
    return [
        Block(page, token.map[0] + 2, tuple(token.info.split()), token.content)
        for token in MarkdownIt().parse(page.read_text(encoding="utf-8"))
        if token.type == "fence" and token.map
    ]
