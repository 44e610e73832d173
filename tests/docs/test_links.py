"""Links: outside the site each leads to a file and a heading in it; the build checks those of the site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from ..support.places import DOCS, README, ROOT

PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "example_project" / "README.md"]


def links(page: Path) -> Iterator[str]:
    """Find where the links and pictures of a page lead, but for other sites."""
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            target = str(child.attrs.get("href") or child.attrs.get("src") or "")
            if target and "://" not in target:
                yield target


def headings(page: Path) -> set[str]:
    """Return the headings of a page as links name them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


LINKS = sorted({(page, link) for page in PAGES for link in links(page)})


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.name}-{link}" for page, link in LINKS])
def test_each_link_leads_somewhere(page: Path, link: str) -> None:
    name, _, heading = link.partition("#")
    target = page.parent / name if name else page

    assert target.is_file()
    assert not heading or heading in headings(target)


def test_the_readme_leads_to_each_part_of_the_site() -> None:
    parts = {folder.parent.relative_to(ROOT) for folder in DOCS.glob("*/index.md")}

    assert parts <= {Path(link).parent for link in links(README)}
