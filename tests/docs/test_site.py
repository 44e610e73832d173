"""Site: it is built without a warning, and so without a dead link between its pages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..support.places import DOCS


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]

    done = subprocess.run(
        [*command, "-d", tmp_path / "doctrees", DOCS, tmp_path / "html"],
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "index.html").exists()
