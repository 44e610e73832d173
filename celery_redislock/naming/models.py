"""Models: what Celery makes of the arguments of a task with ``pydantic=True``.

The caller gives a model, or data that can become one; the message has plain data; the body gets a model.
All three must give one name. So an argument that is annotated with a model counts as the model that the body
gets, without the fields that are left to their defaults.

Nothing of pydantic is imported here: Celery has done that where a task asks for it.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .canonical import NotCanonical, type_name

__all__ = ["Model", "models_of"]


@dataclass(frozen=True)
class Model:
    """How one argument becomes a model.

    Attributes:
        annotation: Of the argument: a model, or what has models inside.
        base: pydantic's own class of models.
        validation: What Celery validates with: ``strict`` and ``context``.
    """

    annotation: Any
    base: type[Any]
    validation: Mapping[str, Any]

    def of(self, value: Any) -> Any:
        """Return the model that the body gets for this value; a value that cannot be one stays as it is.

        Raises:
            NotCanonical: A validator of the model failed, other than by finding fault with the value.
        """
        if not isinstance(value, self.base):
            return self._validated(value, value)
        # As Celery publishes it: every field is given, and a model that would change is left alone.
        rebuilt = self._validated(self._dumped(value), value)
        return rebuilt if rebuilt == value else value

    def written(self, value: Any) -> Any:
        """Return a value as plain data, the same for each way to write it.

        A value that written and read again is not equal (a secret, a field that validation changes each time)
        counts as it was given.

        Raises:
            NotCanonical: As in `of`.
        """
        model = self.of(value)
        # Not strict: a strict model refuses the text of a date, which is how the date was written.
        if model is None or self._validated(self._dumped(model), None, strict=False) != model:
            return value
        return self._dumped(model, exclude_unset=True, exclude_defaults=True)

    def _validated(self, value: Any, otherwise: Any, **options: Any) -> Any:
        try:
            return self._adapter.validate_python(value, **{**self.validation, **options})
        except self._faults:
            return otherwise
        except Exception as error:
            raise NotCanonical(f"validating it raised {type_name(error)}") from error

    def _dumped(self, model: Any, **options: Any) -> Any:
        try:
            return self._adapter.dump_python(model, mode="json", round_trip=True, warnings=False, **options)
        except Exception as error:
            raise NotCanonical(f"serializing it raised {type_name(error)}") from error

    @cached_property
    def _adapter(self) -> Any:
        # When the first call is named: a model may refer to one that is defined later.
        return sys.modules["pydantic"].TypeAdapter(self.annotation)

    @cached_property
    def _faults(self) -> Any:
        return sys.modules["pydantic"].ValidationError


def models_of(function: Callable[..., Any]) -> dict[str, Model]:
    """Return the parameters of a task's function that are annotated with models; none without pydantic."""
    found = _enclosed(function)
    base, app, task_name = found.get("BaseModel"), found.get("app"), found.get("task_name")
    if not isinstance(base, type) or not callable(getattr(function, "__wrapped__", None)):
        return {}
    context = {**(found.get("context") or {}), "celery_app": app, "celery_task_name": task_name}
    options = {"strict": bool(found.get("strict")), "context": context}
    return {
        name: Model(annotation, base, options)
        for name, annotation in _annotations(function)
        if _mentions(annotation, base)
    }


def _enclosed(function: Any) -> dict[str, Any]:
    """Return what the closures of Celery's wrapper of the function, and of its helpers, hold.

    ``app.task`` keeps the options of pydantic nowhere else.
    """
    found = _cells(function)
    for helper in [value for value in found.values() if inspect.isfunction(value)]:
        if helper.__module__ == "celery.app.base":
            found = {**_cells(helper), **found}
    return found


def _cells(function: Any) -> dict[str, Any]:
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    names = code.co_freevars if code is not None and code.co_filename.endswith("celery/app/base.py") else ()
    return {name: cell.cell_contents for name, cell in zip(names, cells, strict=False)}


def _annotations(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    parameters = inspect.signature(function).parameters.values()
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, AttributeError, TypeError):
        hints = {}
    for parameter in parameters:
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield parameter.name, hints.get(parameter.name, parameter.annotation)


def _mentions(annotation: Any, base: type[Any]) -> bool:
    """Whether an annotation is a model, or has one inside, as ``list[Order]`` and ``Order | None``."""
    if inspect.isclass(annotation) and not typing.get_args(annotation):
        return issubclass(annotation, base)
    return any(_mentions(part, base) for part in typing.get_args(annotation))
