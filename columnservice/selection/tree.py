"""A query as a tree of immutable nodes: what was written, before anything is known of columns.

The nodes say what is asked for and not in which language: other query languages can be read into
the same tree. ``text`` writes a tree in the language of ``parse``, the same text for the same tree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Place: TypeAlias = tuple[int, int]
"""First and last-plus-one character of a node in the text that it was read from."""


def _nowhere() -> Place:
    return (0, 0)


@dataclass(frozen=True)
class Constant:
    """A number or a truth value."""

    value: bool | int | float
    at: Place = field(default_factory=_nowhere, compare=False)


@dataclass(frozen=True)
class Name:
    """A Column, a collection, or a constant such as ``pi``; which one, the catalogue decides."""

    name: str
    at: Place = field(default_factory=_nowhere, compare=False)


@dataclass(frozen=True)
class Unary:
    """``-x`` or ``~x``."""

    operator: str
    operand: Node
    at: Place = field(default_factory=_nowhere, compare=False)


@dataclass(frozen=True)
class Binary:
    """Two operands of arithmetic, a comparison, ``&``, ``|`` or ``^``."""

    operator: str
    left: Node
    right: Node
    at: Place = field(default_factory=_nowhere, compare=False)


@dataclass(frozen=True)
class Call:
    """A function of values; ``options`` are arguments by name (``default``, ``by``)."""

    function: str
    arguments: tuple[Node, ...]
    options: tuple[tuple[str, Node], ...] = ()
    at: Place = field(default_factory=_nowhere, compare=False)


@dataclass(frozen=True)
class Mask:
    """``value[condition]``: the objects for which a condition holds."""

    value: Node
    condition: Node
    at: Place = field(default_factory=_nowhere, compare=False)


@dataclass(frozen=True)
class Item:
    """``value[3]``: one object by its number, from the end if negative."""

    value: Node
    number: int
    at: Place = field(default_factory=_nowhere, compare=False)


Node: TypeAlias = Constant | Name | Unary | Binary | Call | Mask | Item

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
# How strongly operators bind, as in Python.
_STRENGTH = {
    **dict.fromkeys(COMPARISONS, 1),
    "|": 2,
    "^": 3,
    "&": 4,
    "+": 5,
    "-": 5,
    "*": 6,
    "/": 6,
    "//": 6,
    "%": 6,
    "**": 8,
}
_UNARY, _ATOM = 7, 9


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right below one."""
    match node:
        case Constant() | Name():
            return ()
        case Unary():
            return (node.operand,)
        case Binary():
            return (node.left, node.right)
        case Call():
            return (*node.arguments, *(value for _, value in node.options))
        case Mask():
            return (node.value, node.condition)
        case Item():
            return (node.value,)


def nodes(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for child in children(node):
        yield from nodes(child)


def names(node: Node) -> tuple[str, ...]:
    """The names in a tree, in order of first appearance."""
    return tuple(dict.fromkeys(n.name for n in nodes(node) if isinstance(n, Name)))


def moved(node: Node, at: Place) -> Node:
    """The same node, said to stand elsewhere."""
    return dataclasses.replace(node, at=at)


def _strength(node: Node) -> int:
    match node:
        case Binary():
            return _STRENGTH[node.operator]
        case Unary():
            return _UNARY
        case Constant(value=bool()):
            return _ATOM
        case Constant():
            return _UNARY if repr(node.value).startswith("-") else _ATOM
        case _:
            return _ATOM


def _within(node: Node, least: int) -> str:
    written = text(node)
    return written if _strength(node) >= least else f"({written})"


def text(node: Node) -> str:  # noqa: PLR0911 (one for each kind of node)
    """A tree as text: one line, parentheses only where they are needed."""
    match node:
        case Constant():
            return repr(node.value)
        case Name():
            return node.name
        case Unary():
            return node.operator + _within(node.operand, _UNARY)
        case Binary():
            strength = _STRENGTH[node.operator]
            left, right = strength, strength + 1
            if node.operator == "**":
                left, right = strength + 1, _UNARY
            elif strength == 1:
                left = 2  # a comparison of a comparison would read as a chain
            return f"{_within(node.left, left)} {node.operator} {_within(node.right, right)}"
        case Call():
            told = [text(a) for a in node.arguments]
            told += [f"{name}={text(value)}" for name, value in node.options]
            return f"{node.function}({', '.join(told)})"
        case Mask():
            return f"{_within(node.value, _ATOM)}[{text(node.condition)}]"
        case Item():
            return f"{_within(node.value, _ATOM)}[{node.number}]"
