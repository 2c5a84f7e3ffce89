"""Types and axes of every part of an expression, from the types of Columns alone.

What is said in short is written out on the way: a collection in ``dR(Muon, PFCands)`` is its
``eta`` and ``phi``, and a ``dR`` alone in brackets is the distance to the one other collection of
the expression. Reads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from columnservice.errors import nearest
from columnservice.model import Column
from columnservice.selection import tree
from columnservice.selection.applying import applied, number
from columnservice.selection.calls import DISTANCES, called, numbers
from columnservice.selection.names import CONSTANTS, Names
from columnservice.selection.operations import FUNCTIONS
from columnservice.selection.program import Pick, Program, Spread, Typed
from columnservice.selection.reductions import REDUCTIONS
from columnservice.selection.scope import Objects, Scope, Value, contains, said
from columnservice.selection.tree import Node


def check(
    node: Node, columns: Sequence[Column] | Names, source: str, about: str | None = None
) -> Program:
    """The program of a tree.

    Args:
        node: what ``parse`` gave.
        columns: all Columns of the Dataset, or what they mean.
        source: the text that was parsed, for messages.
        about: the collection that the result shall belong to, where that is known.

    Raises:
        BadExpression: a name is unknown, or types or axes do not fit.
    """
    scope = Scope(columns, source)
    known = scope.names.collections.get(about or "")
    walk = _Walk(scope, node, None if known is None else known.axis)
    return scope.program(walk.typed(node))


class _Walk:
    """One walk over one tree."""

    def __init__(self, scope: Scope, node: Node, about: str | None) -> None:
        self._scope = scope
        self._whole = node
        self._about = about  # the axis of the result, where that is known
        self._masked: list[Value] = []

    def typed(self, node: Node) -> Typed:
        """A node that must be a value, not a collection."""
        return numbers(self._scope, [self._value(node)])[0]

    def _value(self, node: Node) -> Value:  # noqa: PLR0911 (one for each kind of node)
        match node:
            case tree.Constant():
                return number(node, node.value)
            case tree.Name():
                return self._named(node)
            case tree.Unary():
                operand = self.typed(node.operand)
                return applied(self._scope, "unary", node.operator, node, [operand])
            case tree.Binary():
                sides = [self.typed(node.left), self.typed(node.right)]
                return applied(self._scope, "operator", node.operator, node, sides)
            case tree.Mask():
                return self._chosen(node)
            case tree.Item():
                return self._picked(node)
            case tree.Call():
                values = [self._value(argument) for argument in node.arguments]
                options = {name: self._value(value) for name, value in node.options}
                return called(self._scope, node, values, options)

    def _named(self, node: tree.Name) -> Value:
        name, names = node.name, self._scope.names
        column = names.columns.get(name)
        is_collection = name in names.collections
        if column is not None and not (is_collection and column.support != "ok"):
            return self._scope.load(node, column)
        if is_collection:
            return self._scope.objects(node)
        if name in CONSTANTS:
            return number(node, CONSTANTS[name])
        if name in DISTANCES and self._masked:
            return self._short_distance(node)
        if name in FUNCTIONS or name in REDUCTIONS:
            raise self._scope.fault(node, "a function needs arguments", f"Write {name}(…).")
        near = nearest(name, [*names.columns, *names.collections])
        raise self._scope.fault(
            node,
            "no column or collection of that name" + (f"; {near[:-1]}" if near else ""),
            "`columnservice columns DATASET --all` lists what there is.",
        )

    def _short_distance(self, node: tree.Name) -> Typed:
        """``dR`` alone in brackets: between the objects in front of them and one other kind."""
        axis = self._scope.unkept(self._masked[-1].axes[-1])
        others = [self._about] if self._about not in (None, axis) else self._around(axis)
        if len(others) != 1 or axis not in self._scope.names.collections:
            found = f": {' or '.join(str(o) for o in others)}" if others else ""
            raise self._scope.fault(
                node,
                f"between {axis} and what{found}",
                f"Write {node.name}(Muon, {axis}), with the collection that is meant.",
            )
        sides = [tree.Name(str(others[0]), node.at), tree.Name(axis, node.at)]
        told = tree.Call(node.name, tuple(sides), at=node.at)
        return called(self._scope, told, [self._scope.objects(side) for side in sides], {})

    def _around(self, axis: str) -> list[str]:
        """The other collections that are named outside of reductions with a short distance."""

        def seen(node: Node) -> list[str]:
            if isinstance(node, tree.Call) and node.function in REDUCTIONS and _has_short(node):
                return []
            below = [name for child in tree.children(node) for name in seen(child)]
            return [node.name, *below] if isinstance(node, tree.Name) else below

        found = (self._collection_of(name) for name in seen(self._whole))
        return list(dict.fromkeys(name for name in found if name is not None and name != axis))

    def _collection_of(self, name: str) -> str | None:
        """The collection whose objects a name is for."""
        names = self._scope.names
        column = names.columns.get(name)
        if column is None:
            return names.collections[name].axis if name in names.collections else None
        axis = names.axis_of(column) if column.depth else None
        return axis if axis in names.collections else None

    def _chosen(self, node: tree.Mask) -> Value:
        value, scope = self._value(node.value), self._scope
        if not value.axes:
            raise scope.fault(
                node, "it is one value per event, nothing to choose from", "Use where(…)."
            )
        self._masked.append(value)
        condition = self.typed(node.condition)
        self._masked.pop()
        if condition.dtype != "bool":
            raise scope.fault(node.condition, "not a condition", "Write x[x > 0], or x[0].")
        if condition.axes[-1:] != value.axes[-1:]:
            raise scope.fault(
                node.condition,
                f"it is for {said(condition.axes)}, and chooses among {said(value.axes)}",
                "any(…) and all(…) make one condition of many; where(…) works on whole events.",
            )
        short, long = sorted((value.axes, condition.axes), key=len)
        if not contains(long, short):
            raise scope.fault(
                node,
                f"it is for {said(value.axes)}, the condition for {said(condition.axes)}",
                "Put the same conditions in brackets on both.",
            )
        axes = (*long[:-1], scope.keep(long[-1], condition))
        told = tree.Mask(value.node, condition.node, node.at)
        if isinstance(value, Objects):
            return Objects(value.collection, told, axes)
        return Spread(told, axes, value.operand, value)

    def _picked(self, node: tree.Item) -> Typed:
        value = self.typed(node.value)
        if not value.axes:
            raise self._scope.fault(node, "it is one value per event", "Leave the brackets away.")
        empty = self._scope.nothing(node, value.operand)
        told = tree.Item(value.node, node.number, node.at)
        return Pick(told, value.axes[:-1], value.operand, value, node.number, empty)


def _has_short(node: Node) -> bool:
    return any(isinstance(n, tree.Name) and n.name in DISTANCES for n in tree.nodes(node))
