"""Operations on checked operands: their types, the axes that they meet on, and numbers folded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from columnservice.selection import tree
from columnservice.selection.operations import (
    FUNCTIONS,
    OPERATORS,
    UNARY,
    Misfit,
    Operand,
    Operation,
    Types,
)
from columnservice.selection.program import Apply, Axes, Number, Typed
from columnservice.selection.scope import Scope
from columnservice.selection.tree import Node

_TABLES: Mapping[str, Mapping[str, Operation]] = {
    "operator": OPERATORS,
    "unary": UNARY,
    "function": FUNCTIONS,
}


def operation(table: str, name: str) -> Operation:
    """An ``operator``, ``unary`` operator or ``function``."""
    return _TABLES[table][name]


def number(node: Node, value: bool | int | float) -> Number:
    """A written number."""
    dtype = "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else "float64"
    return Number(node, (), Operand(dtype, value))


def applied(
    scope: Scope,
    table: str,
    name: str,
    node: Node,
    arguments: Sequence[Typed],
    axes: Axes | None = None,
) -> Typed:
    """An operation object by object.

    Args:
        scope: where it stands.
        table, name: the operation.
        node: as it is written.
        arguments: its operands.
        axes: where they meet; None: on the longest of theirs.

    Raises:
        BadExpression: number, types or axes of the operands do not fit.
    """
    told = operation(table, name)
    if len(arguments) != told.arity:
        raise scope.fault(node, f"{name} takes {told.arity} values, not {len(arguments)}", told.doc)
    try:
        types = told.rule([a.operand for a in arguments])
    except Misfit as misfit:
        raise scope.fault(node, misfit.what, misfit.remedy) from None
    written = _rebuilt(node, [a.node for a in arguments])
    if all(isinstance(a, Number) for a in arguments):
        return _folded(scope, written, told.function, arguments, types)
    on = scope.joined(node, arguments) if axes is None else axes
    return Apply(written, on, Operand(types.result), table, name, tuple(arguments), types.operands)


def _folded(
    scope: Scope,
    node: Node,
    function: Callable[..., object],
    arguments: Sequence[Typed],
    types: Types,
) -> Number:
    """An operation of written numbers, done now: a written number again."""
    # Python's integers do not wrap around, so what does not fit is found.
    numbers = [
        np.asarray(a.operand.number, dtype=object if cast == "int64" else cast)
        for a, cast in zip(arguments, types.operands, strict=True)
    ]
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(function(*numbers), dtype=types.result).item()
    except OverflowError:
        raise scope.fault(node, "this number needs more than 64 bits", "") from None
    return Number(node, (), Operand(types.result, value))


def _rebuilt(node: Node, parts: Sequence[Node]) -> Node:
    """The same operation of other parts."""
    match node:
        case tree.Unary():
            return tree.Unary(node.operator, parts[0], node.at)
        case tree.Binary():
            return tree.Binary(node.operator, parts[0], parts[1], node.at)
        case tree.Call():
            return tree.Call(node.function, tuple(parts), node.options, node.at)
    return node
