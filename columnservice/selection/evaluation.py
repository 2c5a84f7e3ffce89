"""Runs a checked expression over plain arrays, some events at a time.

Every operation stays within its event, so events can be taken in chunks of any size: they are cut
so that no more than ``MOST_OBJECTS`` objects and pairs of objects are in memory at once. How many
pairs there are is known only when conditions have chosen their objects, so a chunk that turns out
to be too large is cut in two. One event alone may have more of them, up to ``MOST_BYTES``. Knows no
file and no catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import BadExpression, CountsMismatch
from columnservice.model import Offsets, Ragged
from columnservice.selection.program import Program
from columnservice.selection.run import Run, TooLarge, uses_of

MOST_OBJECTS = 100_000
MOST_BYTES = 512 * 2**20
_MOST_SHOWN = 200
_SPARE = 0.8  # of the next chunk, in case that its events have more pairs


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
    reached, uses = _objects(program, inputs, events), uses_of(program)
    parts: list[Ragged] = []
    start, room = 0, MOST_OBJECTS
    while start < events or not parts:
        stop = int(np.searchsorted(reached, reached[start] + room, side="right")) - 1
        stop = min(max(stop, start + 1), events)
        alone, objects = stop - start <= 1, int(reached[stop] - reached[start])
        cut = {name: cut_rows(values, start, stop) for name, values in inputs.items()}
        run = Run(program, uses, cut, stop - start, None if alone else MOST_OBJECTS, MOST_BYTES)
        try:
            with np.errstate(all="ignore"):
                parts.append(run.result())
        except TooLarge as found:
            if alone:
                raise _too_large(program, found) from None
            room = objects // 2
            continue
        room = min(MOST_OBJECTS, int(_SPARE * objects * MOST_OBJECTS / max(run.most_seen, 1)))
        start = stop
        between()
    return joined(parts)


def _too_large(program: Program, found: TooLarge) -> BadExpression:
    text = program.text if len(program.text) <= _MOST_SHOWN else program.text[:_MOST_SHOWN] + "…"
    return BadExpression(
        f"One event has {found.objects} pairs or objects, too many for {text}.",
        "Choose objects before pairs are formed: dR(Muon, PFCands[PFCands_pt > 1]).",
    )


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


def _objects(program: Program, inputs: Mapping[str, Ragged], events: int) -> NDArray[np.int64]:
    """How many events and objects there are up to each event, pairs aside; one more than events."""
    reached = np.arange(events + 1)
    for column, level in program.offsets_of.values():
        offsets = inputs[column].offsets
        here = offsets[level]
        for outer in reversed(offsets[:level]):
            here = here[outer]
        reached = reached + here
    return reached


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
