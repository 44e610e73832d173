"""Declared: what a task's function takes, as it stood when the task was declared.

A default that is not given is no part of a call's name: so a name is one in every process, whatever a
body has done to a mutable default, and in each version of a function that only adds arguments with
defaults. What a default is worth is noted once, before any body has run.
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
    """What an argument is that a call does not give.

    Attributes:
        value: As it was; of plain data a copy.
        form: Its canonical form; None: it has none, as a sentinel.
    """

    value: Any
    form: str | None

    @classmethod
    def of(cls, value: Any, model: Model | None) -> Default:
        """Note a default, whatever it is; of an argument that is a model, as such."""
        try:
            return cls(deepcopy(value), canonical(value if model is None else model.written(value)))
        except Exception:  # noqa: BLE001 - also what an object raises that only stands for another
            return cls(value, None)

    def is_itself(self, value: Any) -> bool:
        """Whether a call gives the default itself, of one that has no form."""
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
        """Note what a function takes."""
        models = models or {}
        given = [p for p in signature.parameters.values() if p.default is not p.empty]
        return cls(signature, {p.name: Default.of(p.default, models.get(p.name)) for p in given}, models)

    @classmethod
    def of_function(cls, function: Callable[..., Any], *, is_method: bool) -> Declared:
        """Return what was noted of this function the first time; of a method, without ``self``."""
        noted = _noted.setdefault(function, {})
        if is_method not in noted:
            signature = inspect.signature(function)
            if is_method:
                signature = signature.replace(parameters=list(signature.parameters.values())[1:])
            noted[is_method] = cls.of(signature, models_of(function))
        return noted[is_method]


_noted: WeakKeyDictionary[Callable[..., Any], dict[bool, Declared]] = WeakKeyDictionary()
