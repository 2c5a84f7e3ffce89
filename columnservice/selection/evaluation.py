"""Runs a checked expression over plain arrays, some events at a time.

Every operation stays within its event, so events can be taken in chunks of any size: they are cut
so that no more than ``MOST_OBJECTS`` objects and pairs of objects are in memory at once. Knows no
file and no catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import BadExpression, CountsMismatch
from columnservice.model import Offsets, Ragged
from columnservice.selection.applying import operation
from columnservice.selection.program import (
    Apply,
    Axes,
    Load,
    Number,
    Pick,
    Position,
    Program,
    Reduce,
    Spread,
    Typed,
)
from columnservice.selection.reductions import item_rows, picked, reduce_lists
from columnservice.selection.spaces import Spaces

MOST_OBJECTS = 100_000
MOST_OBJECTS_PER_EVENT = 5_000_000


def _idle() -> None:
    """Nothing to do between chunks."""


def evaluate(
    program: Program, inputs: Mapping[str, Ragged], between: Callable[[], None] = _idle
) -> Ragged:
    """The values of an expression, one list per axis of its root.

    Args:
        program: what ``check`` gave.
        inputs: values of all its inputs, for the same events.
        between: called after each chunk of events.

    Raises:
        CountsMismatch: inputs that describe the same objects hold different numbers of them.
        BadExpression: one event alone has too many pairs.
    """
    events = len(next(iter(inputs.values())))
    _demand_counts(program, inputs)
    parts = []
    for start, stop in chunks(program, inputs, events):
        cut = {name: cut_rows(values, start, stop) for name, values in inputs.items()}
        with np.errstate(all="ignore"):
            parts.append(_Run(program, cut, stop - start).result())
        between()
    return joined(parts)


def _demand_counts(program: Program, inputs: Mapping[str, Ragged]) -> None:
    """Columns of one axis must have the same lists."""
    for load in program.loads:
        for level, axis in enumerate(load.axes):
            other, theirs = program.offsets_of[axis]
            if other == load.column:
                continue
            if not np.array_equal(
                inputs[load.column].offsets[level], inputs[other].offsets[theirs]
            ):
                raise CountsMismatch(
                    f"{other} and {load.column} hold different numbers of {axis}."
                ) from None


def chunks(
    program: Program, inputs: Mapping[str, Ragged], events: int
) -> Iterator[tuple[int, int]]:
    """Ranges of events whose objects and pairs fit into memory together; at least one range.

    Raises:
        BadExpression: one event alone has too many.
    """
    cost = np.ones(events, np.int64)
    counts: dict[str, NDArray[np.int64]] = {}
    for axis, (column, level) in program.offsets_of.items():
        offsets = inputs[column].offsets
        reached = offsets[level]
        for outer in reversed(offsets[:level]):
            reached = reached[outer]
        counts[axis] = np.diff(reached)
        cost += counts[axis]
    for left, right in program.pairs:
        cost += counts[left] * counts[right]
    if events and cost.max() > MOST_OBJECTS_PER_EVENT:
        raise BadExpression(
            f"One event has {cost.max()} pairs, too many for {program.text}.",
            "Choose objects before pairs are formed: dR(Muon, PFCands[PFCands_pt > 1]).",
        )
    reached = np.cumsum(cost)
    start = 0
    while start < events or not events:
        before = reached[start - 1] if start else 0
        stop = int(np.searchsorted(reached, before + MOST_OBJECTS, side="right"))
        stop = min(max(stop, start + 1), events)
        yield start, stop
        if not events:
            return
        start = stop


def cut_rows(values: Ragged, start: int, stop: int) -> Ragged:
    """Some events of a column."""
    offsets: list[Offsets] = []
    for axis in values.offsets:
        mine = axis[start : stop + 1]
        start, stop = int(mine[0]), int(mine[-1])
        offsets.append(mine - mine[0])
    return Ragged(tuple(offsets), {n: array[start:stop] for n, array in values.content.items()})


def joined(parts: list[Ragged]) -> Ragged:
    """Columns of events that follow one another, as one."""
    if len(parts) == 1:
        return parts[0]
    offsets = []
    for axes in zip(*(part.offsets for part in parts), strict=True):
        moved = [axes[0][:1]]
        at = 0
        for axis in axes:
            moved.append(axis[1:] + at)
            at += int(axis[-1])
        offsets.append(np.concatenate(moved))
    return Ragged(tuple(offsets), {"": np.concatenate([part.values for part in parts])})


class _Run:
    """One run over one chunk; each value is computed once."""

    def __init__(self, program: Program, inputs: Mapping[str, Ragged], events: int) -> None:
        self._program = program
        self._inputs = inputs
        self._values: dict[tuple[str, Axes], NDArray[Any]] = {}
        self._spaces = Spaces(program, events, self._offsets, self._condition)

    def result(self) -> Ragged:
        root = self._program.root
        values = np.ascontiguousarray(self._on(root, root.axes))
        offsets = [self._spaces.space(root.axes[: n + 1]).offsets for n in range(len(root.axes))]
        return Ragged(tuple(offsets), {"": values})

    def _offsets(self, axis: str) -> Offsets:
        column, level = self._program.offsets_of[axis]
        return self._inputs[column].offsets[level]

    def _condition(self, axis: str, axes: Axes) -> NDArray[np.bool_]:
        return self._on(self._program.kept[axis].condition, axes)

    def _on(self, value: Typed, axes: Axes) -> NDArray[Any]:
        """A value's flat array on some axes."""
        found = self._value(value)
        if isinstance(value, Number) or value.axes == axes:
            return found
        return found[self._spaces.place(value.axes, axes)]

    def _value(self, value: Typed) -> NDArray[Any]:
        key = (value.text, value.axes)
        if key not in self._values:
            self._values[key] = self._computed(value)
        return self._values[key]

    def _computed(self, value: Typed) -> NDArray[Any]:  # noqa: PLR0911 (one for each kind)
        match value:
            case Number():
                return np.asarray(value.operand.number, value.dtype)
            case Load():
                return self._inputs[value.column].values
            case Position():
                space = self._spaces.space(value.axes)
                return np.arange(space.size) - np.repeat(space.offsets[:-1], np.diff(space.offsets))
            case Spread():
                return self._on(value.value, value.axes)
            case Apply():
                return self._applied(value)
            case Reduce():
                offsets = self._spaces.space(value.over).offsets
                operands = [self._on(argument, value.over) for argument in value.arguments]
                return reduce_lists(value.name, operands, offsets, value.dtype, value.empty)
            case Pick():
                rows = item_rows(value.number, self._spaces.space(value.value.axes).offsets)
                return picked(self._value(value.value), rows, value.dtype, value.empty)
        raise TypeError(f"no way to compute {type(value).__name__}")

    def _applied(self, value: Apply) -> NDArray[Any]:
        operands = [
            np.asarray(self._on(argument, value.axes), dtype=cast)
            for argument, cast in zip(value.arguments, value.casts, strict=True)
        ]
        function = operation(value.table, value.name).function
        return np.asarray(function(*operands), dtype=value.dtype)
