"""The other system's program, in which the slow part of the work is a meeting."""

from __future__ import annotations

import sys

from example_project import other_program

from .meeting import Meeting


def _meet(seconds: float) -> None:
    Meeting.from_environment().come_in()


other_program.slow_part = _meet

if __name__ == "__main__":
    sys.exit(other_program.main(*sys.argv[1:]))
