"""Elsewhere: the tasks of `tests.worker` once more, in an application that only these tests set up."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from ..worker import tasks_app as original


def load() -> Any:
    """Return a new copy of the module with the tasks: an application keeps its first connections."""
    spec = spec_from_file_location(f"{original.__name__}_elsewhere", original.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tasks_app = load()
