"""What a check knows and collects: Columns, the axes that they bring, and how axes meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from columnservice.errors import BadExpression
from columnservice.model import Column
from columnservice.selection import tree
from columnservice.selection.names import Collection, Names, is_plain
from columnservice.selection.operations import Operand
from columnservice.selection.parsing import fault
from columnservice.selection.program import Axes, Kept, Load, Program, Spread, Typed
from columnservice.selection.reductions import nothing
from columnservice.selection.tree import Node

ACROSS = "across(x, Jet) repeats x for each Jet of the event."


@dataclass(frozen=True)
class Objects:
    """A collection as a value: all its objects, or those that conditions chose."""

    collection: Collection
    node: Node
    axes: Axes


Value = Typed | Objects


class Scope:
    """The names and axes of one expression; what it uses is collected.

    Args:
        columns: all Columns of the Dataset, or what they mean.
        source: the text that was parsed, for messages.
    """

    def __init__(self, columns: Sequence[Column] | Names, source: str) -> None:
        self.names = columns if isinstance(columns, Names) else Names.of(columns)
        self._source = source
        self._loads: dict[str, Load] = {}
        self._offsets_of: dict[str, tuple[str, int]] = {}
        self._kept: dict[str, Kept] = {}

    def fault(self, node: Node, what: str, remedy: str) -> BadExpression:
        """The error for a place."""
        return fault(self._source, node.at, what, remedy)

    def program(self, root: Typed) -> Program:
        """What was checked, with all that it needs.

        Raises:
            BadExpression: it needs no Column.
        """
        if not self._loads:
            raise self.fault(root.node, "it names no column", "Compute it from columns.")
        loads = tuple(self._loads.values())
        return Program(root, loads, self._offsets_of, self._kept)

    # Columns and collections

    def load(self, node: tree.Name, column: Column) -> Load:
        """A Column's values.

        Raises:
            BadExpression: it cannot be delivered, or its items are no numbers.
        """
        if column.support != "ok":
            raise self.fault(
                node, f"it cannot be delivered: {column.reason}", "Use another column."
            )
        if not is_plain(column):
            raise self.fault(
                node, f"it holds records, {column.type}", "Only columns of numbers can be used."
            )
        axes: Axes = ()
        if column.depth:
            inner = (f"{column.name}#{level}" for level in range(1, column.depth))
            axes = (self.names.axis_of(column), *inner)
        for level, axis in enumerate(axes):
            self._offsets_of.setdefault(axis, (column.name, level))
        loaded = Load(node, axes, Operand(column.members[0].dtype), column.name)
        return self._loads.setdefault(column.name, loaded)

    def objects(self, node: tree.Name) -> Objects:
        """All objects of a collection."""
        collection = self.names.collections[node.name]
        return Objects(collection, node, () if collection.axis is None else (collection.axis,))

    def field(self, objects: Objects, field: str) -> Typed:
        """A field of a collection's objects.

        Raises:
            BadExpression: it has none of that name.
        """
        column = objects.collection.fields.get(field)
        if column is None:
            raise self.fault(
                objects.node,
                f"{objects.collection.name} has no {field}",
                "Give the values themselves: dR(eta, phi, other_eta, other_phi).",
            )
        loaded = self.load(tree.Name(column.name, objects.node.at), column)
        return self.spread(loaded, objects.axes)

    def demand_offsets(self, objects: Objects) -> None:
        """Make sure that some input tells how many objects there are."""
        if self.unkept(objects.axes[-1]) not in self._offsets_of:
            column = self.names.cheapest(objects.collection.name)
            self.load(tree.Name(column.name, objects.node.at), column)

    def nothing(self, node: Node, operand: Operand) -> bool | int | float:
        """What stands for an object that is not there.

        Raises:
            BadExpression: no value of that type can.
        """
        if operand.kind == "u":
            convert = "float64" if operand.dtype == "uint64" else "int64"
            raise self.fault(
                node,
                f"{operand.dtype} has no value for 'not there'",
                f"Write {convert}(x) inside, or default=….",
            )
        found: bool | int | float = nothing(operand.dtype)
        return found

    # Axes

    def keep(self, base: str, condition: Typed) -> str:
        """The axis of those objects for which a condition holds."""
        axis = f"{base}[{condition.text}]"
        self._kept[axis] = Kept(base, condition)
        return axis

    def unkept(self, axis: str) -> str:
        """An axis before any condition."""
        while axis in self._kept:
            axis = self._kept[axis].base
        return axis

    def spread(self, value: Typed, axes: Axes) -> Typed:
        """A value on other axes, which contain its own."""
        return value if value.axes == axes else Spread(value.node, axes, value.operand, value)

    def joined(self, node: Node, values: Sequence[Typed]) -> Axes:
        """The axes on which values meet: the longest, which must contain the others in order.

        Raises:
            BadExpression: they do not.
        """
        longest = max((v.axes for v in values), key=len)
        for value in values:
            if not contains(longest, value.axes):
                raise self._apart(node, value, next(v for v in values if v.axes == longest))
        return longest

    def _apart(self, node: Node, one: Typed, other: Typed) -> BadExpression:
        bases = [{self.unkept(axis) for axis in value.axes} for value in (one, other)]
        remedy = f"Say which pairs are meant: {ACROSS}"
        if bases[0] & bases[1]:
            remedy = "Put the same condition in brackets on both."
        what = f"{one.text} is for {said(one.axes)}, {other.text} for {said(other.axes)}"
        return self.fault(node, what, remedy)

    def paired(self, node: Node, left: Axes, right: Axes) -> Axes:
        """The axes of each of these objects with each of those; the left ones are outside.

        Raises:
            BadExpression: they are objects of one collection, or pairs themselves.
        """
        for one, other in ((left, right), (right, left)):
            if contains(other, one):
                return other
        if len(left) != 1 or len(right) != 1:
            raise self.fault(
                node,
                f"pairs of {said(left)} and {said(right)} are not formed",
                "Pair single collections.",
            )
        bases = (self.unkept(left[0]), self.unkept(right[0]))
        if bases[0] == bases[1]:
            raise self.within_one(node, bases[0])
        return (left[0], right[0])

    def within_one(self, node: Node, axis: str) -> BadExpression:
        """The error for pairs of one collection."""
        return self.fault(
            node, f"both are objects of {axis}", "Pairs within one collection are not formed."
        )


def contains(longer: Axes, shorter: Axes) -> bool:
    """Whether some axes stand among others, in the same order."""
    rest = iter(longer)
    return all(axis in rest for axis in shorter)


def said(axes: Axes) -> str:
    """Axes for people."""
    return " and ".join(f"each {axis}" for axis in axes) or "the event"
