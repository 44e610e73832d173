"""Messages: what the package says when something is wrong, read from its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Message", "messages_in", "messages_of"]

#: Calls whose text needs no page: debug and info logs, output of commands, the reference of options, marks.
_QUIET = frozenset({"debug", "info", "echo", "Option", "Setting", "Metric", "Field", "addinivalue_line"})
_LOUD = frozenset({"warning", "error", "exception"})

#: Exceptions whose text is a whole message; in others it is a part of one, such as a reason.
_WHOLE = frozenset({"ConfigurationError", "LockKeyError", "ClickException", "_NotAsked", "wrong", "unknown"})
_RAISED = re.compile(r"\w+(Error|Exception)$|(Skipped|PutOff|Done|Obsolete|NotCanonical|LockLost|Finding)$")

#: ``%s``, ``%.1f``: what is filled in, in the messages of a log.
_PLACE = re.compile(r"%(?:\.\d+)?[a-z]")
_WORD = re.compile(r"[A-Za-z][a-z']+[,;:.]?$")
#: Text of fewer words may be a key, a format or a word of a protocol, unless it is raised or logged.
_SENTENCE = 3
#: In place of what is filled in.
_FILLED = "\0"


@dataclass(frozen=True)
class Message:
    """One text of the package.

    Attributes:
        place: Where the code says it.
        pieces: The text between the places that are filled in.
        kind: "whole", "part" of another message, or "quiet": it may be on a page, and need not be.
    """

    place: str
    pieces: tuple[str, ...]
    kind: str

    def __str__(self) -> str:
        return f"{self.place} {'...'.join(self.pieces)}"

    @property
    def pattern(self) -> re.Pattern[str]:
        """What finds the message in a text, whatever is filled in; each piece is a group."""
        return re.compile(".*?".join(f"({re.escape(piece)})" if piece else "" for piece in self.pieces))

    @property
    def words(self) -> int:
        """How many words are always the same."""
        return sum(bool(_WORD.match(word)) for piece in self.pieces for word in piece.split())


def messages_of(package: Path) -> list[Message]:
    """Return every message of a package, each text once."""
    found: dict[tuple[str, ...], Message] = {}
    rank = ("quiet", "part", "whole").index
    for path in sorted(package.rglob("*.py")):
        for message in messages_in(path.read_text(encoding="utf-8"), path.relative_to(package).as_posix()):
            known = found.setdefault(message.pieces, message)
            found[message.pieces] = max(known, message, key=lambda each: rank(each.kind))
    return list(found.values())


def messages_in(source: str, name: str) -> list[Message]:
    """Return the messages of a module.

    Args:
        source: Of the module.
        name: What it is called in `Message.place`.
    """
    tree = ast.parse(source)
    # A function that returns an error makes a message of what it is given.
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    makers = {function.name for function in functions if _name(function.returns) in _WHOLE}
    reader = _Reader(name, makers)
    reader.visit(tree)
    return reader.found


class _Reader(ast.NodeVisitor):
    def __init__(self, name: str, makers: set[str]) -> None:
        self.found: list[Message] = []
        self._name, self._whole = name, _WHOLE | makers
        #: What the text is that is visited now, and whether it stands in a log or an error.
        self._kind, self._is_log, self._is_said = "part", False, False

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = _name(node.func)
        is_log = isinstance(node.func, ast.Attribute) and _name(node.func.value) == "logger"
        if called in _QUIET:
            kind = "quiet"
        elif is_log or called in self._whole:
            kind = "whole"
        else:
            kind = self._kind
        with self._inside(kind, is_log=is_log, is_said=self._is_said or is_log or _is_error(called)):
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        with self._inside("quiet" if node.arg == "help" else self._kind, is_log=False, is_said=self._is_said):
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        kind = "whole" if node.name == "__str__" else self._kind
        with self._inside(kind, is_log=False, is_said=self._is_said):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        self._take(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._take(node)
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                self.visit(value.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not self._take(node):
            self.generic_visit(node)

    def _take(self, node: ast.expr) -> bool:
        text = _marked(node, is_log=self._is_log)
        for line in (text or "").split("\n"):
            message = Message(f"{self._name}:{node.lineno}", _pieces(line), self._kind)
            if message.words >= (2 if self._is_said else _SENTENCE):
                self.found.append(message)
        return text is not None

    @contextmanager
    def _inside(self, kind: str, *, is_log: bool, is_said: bool) -> Iterator[None]:
        before = self._kind, self._is_log, self._is_said
        self._kind, self._is_log, self._is_said = kind, is_log, is_said
        yield
        self._kind, self._is_log, self._is_said = before


def _is_error(called: str) -> bool:
    return bool(_RAISED.match(called)) or called in _WHOLE


def _pieces(line: str) -> tuple[str, ...]:
    pieces = [re.sub(r"\s+", " ", piece) for piece in line.split(_FILLED)]
    pieces[0], pieces[-1] = pieces[0].lstrip(), pieces[-1].rstrip()
    return tuple(pieces)


def _marked(node: Any, *, is_log: bool) -> str | None:
    """Return the text of an expression with marks for what is filled in; None where it is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _PLACE.sub(_FILLED, node.value) if is_log else node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else _FILLED for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [_marked(side, is_log=is_log) for side in (node.left, node.right)]
        if any(side is not None for side in sides):
            return "".join(_FILLED if side is None else side for side in sides)
    return None


def _name(node: ast.AST | None) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
