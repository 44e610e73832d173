"""Parameters: what a task's function takes, as it stood when the task was declared.

An argument that is left to its default is no part of a call's name. So the name is the same in each version
of a function that only adds arguments with defaults, and in every process: the value of a default is kept
before any body runs, and a body that changes a mutable default changes no name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from .canonical import canonical
from .models import Model, models_of

__all__ = ["Declared", "Default"]


@dataclass(frozen=True)
class Default:
    """The value of an argument that a call does not give.

    Attributes:
        value: As it was when the task was declared; of plain data a copy.
        form: Its canonical form; None: it has none, such as a sentinel.
    """

    value: Any
    form: str | None

    @classmethod
    def of(cls, value: Any, model: Model | None) -> Default:
        """Keep a default; of an argument that is a model, the model."""
        try:
            return cls(deepcopy(value), canonical(value if model is None else model.written(value)))
        except Exception:  # noqa: BLE001 - an object that stands for another may raise anything
            return cls(value, None)

    def is_itself(self, value: Any) -> bool:
        """Whether a call gives this very object, where the default has no form."""
        return self.form is None and value is self.value


@dataclass(frozen=True)
class Declared:
    """The parameters of a function, and their defaults.

    Attributes:
        signature: Without ``self``.
        defaults: Of the parameters that have one, by name.
        models: Of the parameters that Celery makes models of, by name.
    """

    signature: inspect.Signature
    defaults: Mapping[str, Default]
    models: Mapping[str, Model]

    @classmethod
    def of(cls, signature: inspect.Signature, models: Mapping[str, Model] | None = None) -> Declared:
        """Keep what a function takes."""
        models = models or {}
        given = [p for p in signature.parameters.values() if p.default is not p.empty]
        return cls(signature, {p.name: Default.of(p.default, models.get(p.name)) for p in given}, models)

    @classmethod
    def of_function(cls, function: Callable[..., Any], *, is_method: bool) -> Declared:
        """Return what was kept of this function the first time; of a method, without ``self``."""
        kept = _kept.setdefault(function, {})
        if is_method not in kept:
            signature = inspect.signature(function)
            if is_method:
                signature = signature.replace(parameters=list(signature.parameters.values())[1:])
            kept[is_method] = cls.of(signature, models_of(function))
        return kept[is_method]


_kept: WeakKeyDictionary[Callable[..., Any], dict[bool, Declared]] = WeakKeyDictionary()
