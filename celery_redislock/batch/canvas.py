"""Canvas: copies a canvas of signatures, writes a header into each part, lists tasks and results (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, cast

from celery import Celery, Signature, current_app
from celery.canvas import chunks
from celery.result import GroupResult
from celery.utils.functional import maybe_list

#: Parts that are no task of their own: they only hold others.
_CONTAINERS = ("chain", "group", "chord")
#: Celery's tasks that call another for each element.
_MAPS = ("celery.map", "celery.starmap")
#: Options that are signatures, or lists of them.
_NESTED = ("link", "link_error", "chain", "chord")


def app_of(signature: Any) -> Celery:
    """Return the application of the first part that knows one, else the current one.

    Before Celery 5.7 a chain or chord may know none though its tasks do; it then gives a proxy.
    """
    for part in _parts(signature, set()):
        if getattr(part, "_app", None) is not None:
            return cast(Celery, part._app)
    return cast(Celery, cast(Any, current_app)._get_current_object())


def plain(signature: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a canvas as dicts and lists; it shares only the arguments of tasks."""
    if signature["task"] == "celery.chunks":
        # Celery would make its tasks only when it publishes them: here they are needed before.
        signature = cast(Any, chunks).from_dict(signature).group()
    kwargs = dict(signature["kwargs"])
    if signature.get("subtask_type") in _CONTAINERS:
        for place in ("tasks", "header"):
            if place in kwargs:
                kwargs[place] = [plain(task) for task in _tasks_of(kwargs[place])]
        if kwargs.get("body") is not None:
            kwargs["body"] = plain(kwargs["body"])
    elif "it" in kwargs and signature["task"] in _MAPS:
        kwargs["it"] = list(kwargs["it"])
    return {**signature, "kwargs": kwargs, "options": _plain_options(signature["options"])}


def _plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    # Celery before 5.7 copies a signature without its options: those of a callback would be shared.
    nested = {word: options[word] for word in _NESTED if options.get(word)}
    copy = deepcopy({word: option for word, option in options.items() if word not in nested})
    for word, option in nested.items():
        copy[word] = plain(option) if isinstance(option, Mapping) else [*map(plain, option)]
    return copy


def revived(canvas: Mapping[str, Any], app: Celery) -> Any:
    """Return the signature of what `plain` returned; every part of it knows its app."""
    signature: Any = Signature.from_dict(dict(canvas), app=app)
    for part in _parts(signature, set()):
        # Celery does not set it in the parts of a chord that is a part itself.
        if isinstance(part, Signature):
            vars(part)["_app"] = app
    return signature


def write_header(signature: Mapping[str, Any], name: str, value: Any) -> None:
    """Write a header into every task that may be published because of this signature."""
    for part in _parts(signature, set()):
        options = part["options"]
        # The headers of a container, if it has any, replace those of its tasks.
        if part.get("subtask_type") not in _CONTAINERS or options.get("headers"):
            options["headers"] = {**(options.get("headers") or {}), name: value}


def tasks_of(signature: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """List the tasks in a canvas, callbacks too."""
    return (part for part in _parts(signature, set()) if part.get("subtask_type") not in _CONTAINERS)


def app_tasks_of(signature: Mapping[str, Any]) -> set[str]:
    """Return the names of the tasks in a canvas without Celery's own, which every app has."""
    tasks = [*tasks_of(signature)]
    tasks += [part["kwargs"]["task"] for part in tasks if part["task"] in _MAPS]
    return {str(part["task"]) for part in tasks if not part["task"].startswith("celery.")}


def results_of(result: Any) -> Iterator[Any]:
    """List every result of a frozen canvas that one of its tasks stores."""
    while result is not None:
        if isinstance(result, GroupResult):
            for child in result.results or ():
                yield from results_of(child)
        else:
            yield result
        result = result.parent


def _parts(signature: Any, known: set[int]) -> Iterator[Any]:
    """Walk a signature and everything in it, each part once: parts of a chord share its body."""
    if not isinstance(signature, Mapping) or "task" not in signature or id(signature) in known:
        return
    known.add(id(signature))
    yield signature
    options, kwargs = signature["options"], signature["kwargs"] or {}
    nested = [option for word in _NESTED for option in _each(options, word)]
    if signature.get("subtask_type") in _CONTAINERS:
        nested += [*_tasks_of(kwargs.get("tasks")), *_tasks_of(kwargs.get("header")), kwargs.get("body")]
    for part in nested:
        yield from _parts(part, known)


def _each(options: Mapping[str, Any], word: str) -> list[Any]:
    return list(maybe_list(options.get(word)) or [])


def _tasks_of(tasks: Any) -> Iterable[Any]:
    """Return the tasks of a container: a list, a generator, or a group in a chord's header."""
    if isinstance(tasks, Mapping):
        return _tasks_of(tasks["kwargs"]["tasks"])
    return [] if tasks is None else list(tasks)
