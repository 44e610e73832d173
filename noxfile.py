"""Nox: the tests with each supported Celery, on each Python that this machine has.

nox                            # the oldest Celery on the oldest Python, the newest on the newest
nox -s tests                   # every Celery on every Python: two hours
nox -s "tests-3.12(celery='5.5')" -- tests/unit
nox -s "scenarios-3.10(celery='oldest')"
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


#: Tests that start many workers each: `make scenarios` without what does not depend on Celery.
SCENARIOS = [
    "tests/docs/guides",
    *(
        f"tests/stories/{name}"
        for name in ("batch", "beat", "ends", "monitors", "observing", "pending", "publishing")
    ),
]
NOT_TESTS = [*SCENARIOS, "tests/benchmarks", "tests/stories/topology"]


@nox.session(python=PYTHONS)
@nox.parametrize("celery", list(CELERIES))
def tests(session: nox.Session, celery: str) -> None:
    """Run what `make test` runs with one Celery; arguments behind ``--`` choose others."""
    _run(session, celery, ["tests", *(f"--ignore={folder}" for folder in NOT_TESTS)])


@nox.session(python=PYTHONS)
@nox.parametrize("celery", list(CELERIES))
def scenarios(session: nox.Session, celery: str) -> None:
    """Run the tests with many workers with one Celery; arguments behind ``--`` choose others."""
    _run(session, celery, SCENARIOS)


def _run(session: nox.Session, celery: str, usual: list[str]) -> None:
    session.install("--quiet", *CELERIES[celery], "--editable", ".[dev]")
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "loadfile", *(session.posargs or usual))
