"""Nox: the tests with each supported Celery, on each Python that this machine has.

nox                            # the oldest Celery on the oldest Python, the newest on the newest
nox -s tests                   # every Celery on every Python: an hour
nox -s "tests-3.12(celery='5.5')" -- tests/unit
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests-3.10(celery='oldest')", "tests-3.13(celery='newest')"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
#: Name of a choice: what pip is told beside the project.
CELERIES = {
    "oldest": ("-c", "tests/oldest.txt"),
    "5.5": ("celery==5.5.*",),
    "5.6": ("celery==5.6.*",),
    "newest": (),
}


@nox.session(python=PYTHONS)
@nox.parametrize("celery", list(CELERIES))
def tests(session: nox.Session, celery: str) -> None:
    """Run the tests with one Celery; arguments behind ``--`` choose others than the usual."""
    session.install("--quiet", *CELERIES[celery], "--editable", ".[test]")
    chosen = session.posargs or ["tests/unit", "tests/stories/lock", "tests/stories/run", "tests/model"]
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "loadfile", *chosen)
