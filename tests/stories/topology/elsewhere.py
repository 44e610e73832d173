"""Elsewhere: tasks of other packages' tests once more, in applications that only these tests set up."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

from ..batch import batch_app as batches
from ..run import tasks_app as tasks


def load(original: ModuleType) -> Any:
    """Return a new copy of a module with tasks: an application keeps its first connections."""
    assert original.__file__ is not None
    spec = spec_from_file_location(f"{original.__name__}_elsewhere", original.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tasks_app, batch_app = load(tasks), load(batches)
