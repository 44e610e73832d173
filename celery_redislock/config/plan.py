"""Plan: what holds for the calls of one task: its options, checked, and how its locks are named."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from celery import Celery, Task

from ..errors import ConfigurationError
from ..naming.calls import Naming
from ..naming.parameters import Declared
from . import under_test
from .location import key_prefix
from .lock_key import LockKey
from .options import LockOptions
from .resolution import declared_options, resolve
from .revision import Revision
from .sharing import Sharing
from .unknown_settings import refuse_options_without_prefix


@dataclass(frozen=True)
class Plan:
    """How the calls of one task are named, and which options their locks have.

    A lock's *name* never has the prefix; its `lock_name`, here and everywhere, is the Redis key.

    Attributes:
        naming: From arguments to a name; of several locks the first one's.
        options: Of the locks.
        prefix: What the Redis keys of all locks begin with.
        runs_locked: Whether a run takes the lock: with `lock_scope` "queue" only its message has one.
        sharings: How each lock is held, in the order of the declaration.
        made: What was made of the plan once for all runs in this process, by its class.
    """

    naming: Naming
    options: LockOptions
    prefix: str
    #: From arguments to the names of several locks, one for each `LockKey`; empty: there is one lock.
    namings: tuple[Naming, ...] = ()
    runs_locked: bool = field(init=False)
    sharings: tuple[Sharing, ...] = field(init=False)
    made: dict[type, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        options = self.options
        object.__setattr__(self, "runs_locked", options.mode != "off" and options.scope != "queue")
        declared = tuple(key.sharing or options.sharing for key in self.keys)
        object.__setattr__(self, "sharings", declared or (options.sharing,))

    def lock_name(self, args: Any, kwargs: Any) -> str:
        """Return the Redis key of the lock of a call.

        Raises:
            TypeError: The call does not fit the function.
            LockKeyError: An argument cannot be made part of a name.
            ConfigurationError: It has several.
        """
        if self.namings:
            raise ConfigurationError(
                f"task {self.naming.task_name!r} has several locks, because its lock_key is a list: "
                "use lock_names"
            )
        return self.prefix + self.naming.name(args or (), kwargs or {})

    def lock_names(self, args: Any, kwargs: Any) -> tuple[str, ...]:
        """Return the Redis keys of the locks of a call, in the order of the declaration.

        Raises:
            TypeError, LockKeyError: As in `lock_name`.
        """
        namings = self.namings or (self.naming,)
        return tuple(self.prefix + naming.name(args or (), kwargs or {}) for naming in namings)

    @property
    def keys(self) -> tuple[LockKey, ...]:
        """What gives several locks; empty: there is one lock."""
        return self.options.key if isinstance(self.options.key, tuple) else ()

    @property
    def min_holds_ms(self) -> tuple[int, ...]:
        """The `min_hold` of each lock, in the order of the declaration, milliseconds."""
        of_task = self.options.min_hold_ms
        of_keys = (of_task if key.min_hold_ms is None else key.min_hold_ms for key in self.keys)
        return tuple(of_keys) or (of_task,)


class Planned(Task):
    """A task whose calls have a plan: the base of `LockedTask`, by which the folders below know one."""

    abstract = True

    def plan_for(self, per_call: Mapping[str, Any] | None = None) -> Plan:
        """Return what holds for a call with these options of its own.

        Without any it is found out once, and again when the app's settings have changed.

        Raises:
            ConfigurationError: An option or a setting is wrong.
        """
        if per_call is not None:
            return plan_of(self, self.app, per_call)
        app = self.app
        known: tuple[Revision, Plan] | None = self.__dict__.get("_plan_of_task")
        if known is None or not known[0].is_current(app):
            known = self.__dict__["_plan_of_task"] = (Revision(app), plan_of(self, app))
        return known[1]


def plan_of(task: Any, app: Celery, per_call: Mapping[str, Any] | None = None) -> Plan:
    """Check the options of a task, or of one call of it.

    Args:
        task: The task, or its class.
        app: Its settings are the defaults.
        per_call: The `lock` of ``apply_async``.

    Raises:
        ConfigurationError: An option or a setting is wrong.
    """
    task_class = task if isinstance(task, type) else type(task)
    # Celery names the instance, not the class, of a task that is a class without a name.
    name = task.name or app.gen_task_name(str(task_class.__name__), task_class.__module__)
    declared = declared_options(task)
    if vars(task_class).get("_decorated"):
        refuse_options_without_prefix(task_class, name)
    options = resolve(app.conf, name, declared, per_call)
    if under_test.now.mode == "off" or (name.startswith("celery.") and not declared):
        # Celery's own tasks, when LockedTask is the app's task class: chord_unlock must not be skipped.
        options = replace(options, mode="off")
    declared_function, prefix = _declared(task_class), key_prefix(app.conf)
    if isinstance(options.key, tuple):
        namings = tuple(
            Naming.declare(name, declared_function, lock_args=None, lock_key=each.key) for each in options.key
        )
        return Plan(namings[0], options, prefix, namings)
    naming = Naming.declare(name, declared_function, lock_args=options.args, lock_key=options.key)
    return Plan(naming, options, prefix)


def _declared(task_class: type[Task[..., Any]]) -> Declared:
    """Return what the task's function takes, without ``self``."""
    function = inspect.getattr_static(task_class, "run")
    if isinstance(function, staticmethod):
        return Declared.of_function(function.__func__, is_method=False)
    return Declared.of_function(function, is_method=True)
