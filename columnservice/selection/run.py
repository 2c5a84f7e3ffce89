"""One run of a checked expression over some events, within bounds.

Each value is computed once and dropped after its last use, so that memory follows how wide an
expression is and not how long. What would be more than allowed is found before it is made. Knows
plain arrays; no file and no catalogue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

BYTES_IN_USE = 80
"""Per object, what one operation needs at most: operands, converted ones, results in between."""

Key = tuple[str, Axes]


class TooLarge(Exception):
    """These events need more memory than they may have.

    Args:
        objects: how many objects or pairs they have where it was found.
    """

    def __init__(self, objects: int) -> None:
        super().__init__(objects)
        self.objects = objects


def _key(value: Typed) -> Key:
    return value.text, value.axes


def _is_given(value: Typed) -> bool:
    """Whether a value needs no computing."""
    return isinstance(value, Number | Load)


def _needs(value: Typed) -> tuple[Typed, ...]:
    """The values that one is computed from."""
    match value:
        case Spread() | Pick():
            return (value.value,)
        case Reduce(name="count"):
            return ()
        case Apply() | Reduce():
            return value.arguments
    return ()


def uses_of(program: Program) -> Counter[Key]:
    """How often each value of a program is used, each being computed once.

    Conditions that choose objects are used once more than they are: they are kept.
    """
    found: Counter[Key] = Counter()
    waiting = [program.root, *(kept.condition for kept in program.kept.values())]
    found.update(map(_key, waiting))
    found.update(_key(kept.condition) for kept in program.kept.values())
    seen: set[Key] = set()
    while waiting:
        value = waiting.pop()
        if _key(value) not in seen:
            seen.add(_key(value))
            found.update(map(_key, _needs(value)))
            waiting += _needs(value)
    return found


class Run:
    """One run of a program.

    Args:
        program: what ``check`` gave.
        uses: of its values.
        inputs: values of all its inputs, for the same events.
        events: how many.
        most_objects: how many objects or pairs may be held at once; None: any number.
        most_bytes: how much memory they may take.
    """

    def __init__(
        self,
        program: Program,
        uses: Mapping[Key, int],
        inputs: Mapping[str, Ragged],
        events: int,
        most_objects: int | None,
        most_bytes: int,
    ) -> None:
        self._program = program
        self._inputs = inputs
        self._left = Counter(uses)
        self._most_objects, self._most_bytes = most_objects, most_bytes
        self._values: dict[Key, NDArray[Any]] = {}
        self._held_bytes = 0
        self._spaces = Spaces(program, events, self._offsets, self._condition, self._demand_pairs)
        self.most_seen = events

    def result(self) -> Ragged:
        """The values of the whole expression.

        Raises:
            TooLarge: they cannot be computed within the bounds.
        """
        root = self._program.root
        values = np.ascontiguousarray(self._value(root))
        offsets = [self._spaces.space(root.axes[: n + 1]).offsets for n in range(len(root.axes))]
        return Ragged(tuple(offsets), {"": values})

    # What the spaces ask for

    def _offsets(self, axis: str) -> Offsets:
        column, level = self._program.offsets_of[axis]
        return self._inputs[column].offsets[level]

    def _condition(self, axis: str, axes: Axes) -> NDArray[np.bool_]:
        return self._operands([self._program.kept[axis].condition], axes)[0]

    def _demand_pairs(self, count: int) -> None:
        if self._most_objects is not None and count > self._most_objects:
            raise TooLarge(count)
        self.most_seen = max(self.most_seen, count)
        self._demand_memory(count)

    def _demand_memory(self, count: int) -> None:
        held = self._held_bytes + self._spaces.held_bytes
        if held + count * BYTES_IN_USE > self._most_bytes:
            raise TooLarge(count)

    # Values

    def _value(self, value: Typed) -> NDArray[Any]:
        match value:
            case Number():
                return np.asarray(value.operand.number, value.dtype)
            case Load():
                return self._inputs[value.column].values
        key = _key(value)
        if key not in self._values:
            found = self._computed(value)
            for needed in _needs(value):
                self._used(needed)
            self._values[key] = found
            self._held_bytes += found.nbytes
        return self._values[key]

    def _used(self, value: Typed) -> None:
        """Drop a value where this was its last use."""
        key = _key(value)
        self._left[key] -= 1
        if not self._left[key] and key in self._values:
            self._held_bytes -= self._values.pop(key).nbytes

    def _operands(self, values: Sequence[Typed], axes: Axes) -> list[NDArray[Any]]:
        """Flat arrays of values that meet on some axes; written numbers stay single."""
        # All that must be computed first, so that only what is accounted for waits meanwhile.
        found = [self._value(value) for value in values]
        places = [
            None
            if isinstance(value, Number) or value.axes == axes
            else self._spaces.place(value.axes, axes)
            for value in values
        ]
        self._demand_memory(self._spaces.space(axes).size)
        return [
            array if rows is None else array[rows]
            for array, rows in zip(found, places, strict=True)
        ]

    def _computed(self, value: Typed) -> NDArray[Any]:
        match value:
            case Position():
                space = self._spaces.space(value.axes)
                self._demand_memory(space.size)
                return np.arange(space.size) - np.repeat(space.offsets[:-1], np.diff(space.offsets))
            case Spread():
                (found,) = self._operands([value.value], value.axes)
                return np.broadcast_to(found, self._spaces.space(value.axes).size)
            case Apply():
                return self._applied(value)
            case Reduce():
                offsets = self._spaces.space(value.over).offsets
                operands = self._operands(_needs(value), value.over)
                return reduce_lists(value.name, operands, offsets, value.dtype, value.empty)
            case Pick():
                rows = item_rows(value.number, self._spaces.space(value.value.axes).offsets)
                return picked(self._value(value.value), rows, value.dtype, value.empty)
        raise TypeError(f"no way to compute {type(value).__name__}")

    def _applied(self, value: Apply) -> NDArray[Any]:
        operands = [
            np.asarray(operand, dtype=cast)
            for operand, cast in zip(
                self._operands(value.arguments, value.axes), value.casts, strict=True
            )
        ]
        function = operation(value.table, value.name).function
        return np.asarray(function(*operands), dtype=value.dtype)
