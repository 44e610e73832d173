"""Call options: the lock options of one call, on their way into its message and out of it.

`apply_async` of a locked task puts them there. Celery's ``send_task``, or a signature or beat entry whose
task the process does not know, would take ``lock={...}`` for a property of the message; most brokers pass
that on, some drop it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ..errors import ConfigurationError
from ..messages.headers import CALL_HEADER
from .plan import Planned

logger = logging.getLogger(__name__)

#: How a publisher that does not know us leaves them in a message: a property.
_PROPERTY = "lock"

#: Types that the options of a call may have: they travel with the message.
_TRAVELS = (str, int, float, bool, list, tuple, type(None))

_warned_of: set[str] = set()


def travelling(task_name: str, lock: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's options as they go into the message."""
    plain = {option: _plain(value) for option, value in lock.items()}
    for option, value in plain.items():
        for each in (value, *_items(value)):
            if not isinstance(each, _TRAVELS):
                raise ConfigurationError(
                    f"lock={{{option!r}: ...}} of a call of task {task_name!r} is sent in the message: "
                    f"it must be a str, a number or a list, not {type(each).__name__}"
                )
    return plain


def refuse_options_of_a_task(task_name: str, options: Mapping[str, Any]) -> None:
    """Refuse lock options of a call that are written as those of a task: they would be ignored.

    Raises:
        ConfigurationError: There is one.
    """
    for name in options_of_a_task(options):
        raise ConfigurationError(
            f"{name} would be ignored in a call of task {task_name!r}: write "
            f'lock={{"{name.removeprefix("lock_")}": ...}}'
        )


def put_into_header(sender: Any = None, headers: Any = None, properties: Any = None, **_: Any) -> None:
    """At ``before_task_publish``: write the lock options of a task that is published by name into its header.

    Celery swallows what is raised here. So options that cannot travel are left out: the worker refuses them.
    """
    properties = {} if properties is None else properties
    lock = properties.pop(_PROPERTY, None)
    of_a_task = {name: properties.pop(name) for name in options_of_a_task(properties)}
    if of_a_task:
        lock = {**of_a_task, **(lock if isinstance(lock, Mapping) else {})}
    if lock is None or headers is None:
        return
    try:
        refuse_options_of_a_task(str(sender), of_a_task)
        headers[CALL_HEADER] = travelling(str(sender), lock)
    except (ConfigurationError, AttributeError) as error:
        headers[CALL_HEADER] = _refused(lock)
        logger.warning("the worker will refuse task %s[%s]: %s", sender, headers.get("id"), error)


def take_from_properties(message: dict[str, Any]) -> None:
    """In a worker: find the lock options that a publisher who does not know us has left in a message."""
    lock = (message.get("properties") or {}).get(_PROPERTY)
    if lock is not None:
        message.setdefault(CALL_HEADER, lock)


def warn_of_what_nobody_reads(request: Any = None, **_: Any) -> None:
    """At ``task_received``: say once that a call has lock options and its task takes no lock."""
    message = request.request_dict
    asks = CALL_HEADER in message or _PROPERTY in (message.get("properties") or {})
    if asks and not isinstance(request.task, Planned) and request.name not in _warned_of:
        _warned_of.add(request.name)
        logger.warning("Task %s was called with lock={...}, but is not a locked task", request.name)


def options_of_a_task(options: Mapping[str, Any]) -> list[str]:
    """Return the names of lock options that are written as a task has them."""
    return [name for name in options if str(name).startswith("lock_")]


def _items(value: Any) -> list[Any] | tuple[Any, ...]:
    return value if isinstance(value, list | tuple) else ()


def _travels(value: Any) -> bool:
    return all(isinstance(each, _TRAVELS) for each in (value, *_items(value)))


def _plain(value: Any) -> Any:
    """Return a duration as seconds, also in a pair of them."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _refused(lock: Any) -> Any:
    """Return what no option may be in place of what cannot travel."""
    if not isinstance(lock, Mapping):
        return type(lock).__name__
    plain = {str(option): _plain(value) for option, value in lock.items()}
    return {option: value if _travels(value) else {} for option, value in plain.items()}
