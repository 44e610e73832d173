"""Page: rewrites the generated parts of a Markdown page; what people wrote around them stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


def rewrite(page: Path, parts: Mapping[str, str]) -> None:
    """Put each part between its marks, ``<!-- generated: NAME -->`` and ``<!-- end -->``.

    Raises:
        KeyError: The page has no marks for a part; nothing is written.
    """
    text = page.read_text()
    for name, part in parts.items():
        marks = re.compile(rf"(<!-- generated: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        found = marks.search(text)
        if not found:
            raise KeyError(f"{page.name} has no place for {name}: <!-- generated: {name} --> <!-- end -->")
        before, after = text[: found.end(1)], text[found.start(2) :]
        text = f"{before}{part.strip()}\n{after}"
    page.write_text(text)
