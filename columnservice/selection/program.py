"""An expression whose parts have types and axes: what ``check`` makes and ``evaluate`` runs.

A value has one axis per level of lists: ``()`` is one value per event, ``("Muon",)`` one per muon,
``("Muon", "PFCands")`` one for each muon and each PF candidate of its event. An axis is a text, and
two values with the same axes hold the same objects in the same order. Objects that a condition
chose are an axis of their own, named after the condition: ``PFCands[PFCands_pt > 1]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from columnservice.selection.operations import Operand
from columnservice.selection.tree import Node, text

Axes: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Typed:
    """A part of an expression.

    Attributes:
        node: as it is written, with everything said that was understood.
        axes: as above.
        operand: the type.
    """

    node: Node
    axes: Axes
    operand: Operand

    @property
    def text(self) -> str:
        """As it is written."""
        return text(self.node)

    @property
    def dtype(self) -> str:
        """The type of a value."""
        return self.operand.dtype


@dataclass(frozen=True, eq=False)
class Number(Typed):
    """A written number."""


@dataclass(frozen=True, eq=False)
class Load(Typed):
    """A Column's values."""

    column: str


@dataclass(frozen=True, eq=False)
class Position(Typed):
    """The number of each object in its list, from 0."""


@dataclass(frozen=True, eq=False)
class Spread(Typed):
    """A value repeated for, or restricted to, the objects of more or other axes."""

    value: Typed


@dataclass(frozen=True, eq=False)
class Apply(Typed):
    """An operation, object by object; ``casts``: what its operands become (None: as they are)."""

    table: str
    name: str
    arguments: tuple[Typed, ...]
    casts: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class Reduce(Typed):
    """One value of each innermost list; ``over``: the axes that the arguments are brought to."""

    name: str
    arguments: tuple[Typed, ...]
    over: Axes
    empty: bool | int | float


@dataclass(frozen=True, eq=False)
class Pick(Typed):
    """The object of one number in each innermost list."""

    value: Typed
    number: int
    empty: bool | int | float


@dataclass(frozen=True)
class Kept:
    """An axis of chosen objects: which objects there were, and the condition."""

    base: str
    condition: Typed


@dataclass(frozen=True)
class Program:
    """A checked expression.

    Attributes:
        root: its value.
        loads: the Columns that must be read, each once.
        offsets_of: axis → (an input whose lists it is, which level of them).
        kept: axis of chosen objects → what it is.
    """

    root: Typed
    loads: tuple[Load, ...]
    offsets_of: Mapping[str, tuple[str, int]]
    kept: Mapping[str, Kept] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The expression with everything said that was understood: a canonical text."""
        return self.root.text

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the Columns that must be read."""
        return tuple(load.column for load in self.loads)

    def alone(self, axis: str) -> bool:
        """Whether the objects of an axis belong to the event, whatever stands around them."""
        while axis in self.kept:
            kept = self.kept[axis]
            if kept.condition.axes != (kept.base,):
                return False
            axis = kept.base
        return self.offsets_of[axis][1] == 0

    def unkept(self, axis: str) -> str:
        """The axis before any condition."""
        while axis in self.kept:
            axis = self.kept[axis].base
        return axis
