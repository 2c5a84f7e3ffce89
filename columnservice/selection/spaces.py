"""The objects behind axes, as plain numbers: how many there are, and which belong to which.

For values that meet on other axes than their own, ``place`` tells for each object there which
object here it goes with. Knows offsets and conditions as arrays; no column and no type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from columnservice.model import Offsets
from columnservice.selection.program import Axes, Program

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """The objects of some axes, in order.

    Attributes:
        size: how many there are.
        offsets: of their lists, one per object of the axes before the last.
        inner: pairs: for each the object of the last axis alone; else None.
        rows: chosen objects: where they stood before the condition; else None.
    """

    size: int
    offsets: Offsets
    inner: Rows | None = None
    rows: Rows | None = None

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        arrays = (self.offsets, self.inner, self.rows)
        return sum(array.nbytes for array in arrays if array is not None)

    def outer(self) -> Rows:
        """For each object the one of the axes before the last that it belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def chosen(space: Space, condition: NDArray[np.bool_]) -> Space:
    """The objects for which a condition holds."""
    counted = np.zeros(len(condition) + 1, np.int64)
    np.cumsum(condition, out=counted[1:])
    rows = np.flatnonzero(condition)
    return Space(len(rows), counted[space.offsets], None, rows)


def paired(left: Space, right: Space, demand: Callable[[int], None]) -> Space:
    """Each object of one kind with each of another of the same event, the left one outside.

    ``demand`` is told how many they are before they are made.
    """
    event = left.outer()
    counts = np.diff(right.offsets)[event]
    offsets = np.zeros(len(event) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    demand(int(offsets[-1]))
    first = right.offsets[:-1][event] - offsets[:-1]
    inner = np.arange(offsets[-1]) + np.repeat(first, counts)
    return Space(int(offsets[-1]), offsets, inner)


class Spaces:
    """The spaces of one run of a program over some events, each made when it is first needed.

    Args:
        program: says what its axes are.
        events: number of events.
        offsets_of: the offsets of an axis that a Column has.
        condition: the flat values of an axis's condition, on given axes.
        demand: told how many pairs are to be formed, before they are.
    """

    def __init__(
        self,
        program: Program,
        events: int,
        offsets_of: Callable[[str], Offsets],
        condition: Callable[[str, Axes], NDArray[np.bool_]],
        demand: Callable[[int], None],
    ) -> None:
        self._program = program
        self._offsets_of = offsets_of
        self._condition = condition
        self._demand = demand
        self.held_bytes = 0
        self._spaces: dict[Axes, Space] = {
            (): Space(events, np.array([0, events], np.int64)),
        }
        self._places: dict[tuple[Axes, Axes], Rows] = {}

    def space(self, axes: Axes) -> Space:
        """The objects of some axes."""
        if axes not in self._spaces:
            space = self._spaces[axes] = self._made(axes)
            self.held_bytes += space.nbytes
        return self._spaces[axes]

    def _is_paired(self, axes: Axes) -> bool:
        return len(axes) > 1 and self._program.alone(axes[-1])

    def _made(self, axes: Axes) -> Space:
        last = axes[-1]
        if self._is_paired(axes):
            return paired(self.space(axes[:-1]), self.space((last,)), self._demand)
        if last in self._program.kept:
            before = (*axes[:-1], self._program.kept[last].base)
            return chosen(self.space(before), self._condition(last, before))
        offsets = self._offsets_of(last)
        return Space(int(offsets[-1]), offsets)

    def place(self, here: Axes, there: Axes) -> Rows:
        """For each object there, the row of the object here that it goes with."""
        if (here, there) not in self._places:
            rows = self._places[here, there] = self._placed(here, there)
            self.held_bytes += rows.nbytes
        return self._places[here, there]

    def _placed(self, here: Axes, there: Axes) -> Rows:
        space = self.space(there)
        if here == there:
            return np.arange(space.size)
        kept = self._program.kept.get(there[-1])
        if space.inner is not None:
            return self._placed_in_pairs(here, there, space)
        if kept is not None and space.rows is not None:
            before = (*there[:-1], kept.base)
            return self.place(here, before)[space.rows]
        outside = there[:-1]
        return self._through(here, outside, space.outer())

    def _through(self, here: Axes, middle: Axes, rows: Rows) -> Rows:
        return rows if here == middle else self.place(here, middle)[rows]

    def _placed_in_pairs(self, here: Axes, there: Axes, space: Space) -> Rows:
        assert space.inner is not None
        last = (there[-1],)
        if here == last:
            return space.inner
        kept = self._program.kept.get(there[-1])
        if len(here) == len(there) and kept is not None:
            # The same pairs before the condition on their inner objects.
            before = (*there[:-1], kept.base)
            whole, base = self.space(before), self.space((kept.base,))
            rows = self.place((kept.base,), last)[space.inner]
            outer = space.outer()
            event = self.place((), there[:-1])[outer]
            mine = whole.offsets[:-1][outer] + rows - base.offsets[:-1][event]
            return self._through(here, before, mine)
        if (
            kept is not None
            and here
            and self._program.unkept(here[-1]) == self._program.unkept(there[-1])
        ):
            return self.place(here, last)[space.inner]
        return self._through(here, there[:-1], space.outer())
