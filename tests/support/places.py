"""Places: where the repository lies, and what of it tests read or run in."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]

README = ROOT / "README.md"
DOCS = ROOT / "docs"


def python_path() -> str:
    """Return a ``PYTHONPATH`` with which programs outside the repository import it, and what we import."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
