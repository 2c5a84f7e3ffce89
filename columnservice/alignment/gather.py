"""Applying a TakeIndex: columns read from several parent files, put into local row order.

Works on plain ragged arrays of any depth; absent rows become empty lists or zeros. Knows no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.alignment.kernels import copy_rows, place_counts, place_items
from columnservice.model import Offsets, Ragged

Rows = NDArray[np.int64]


def _split(file: NDArray[np.int32], row: Rows, parts: int) -> list[tuple[Rows, Rows]]:
    """For each part: (its rows that are wanted, the output rows that they go to)."""
    found = []
    for part in range(parts):
        target = np.flatnonzero(file == part).astype(np.int64, copy=False)
        found.append((np.ascontiguousarray(row[target]), target))
    return found


def _offsets_of(counts: Rows) -> Offsets:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def gather(parts: Sequence[Ragged], file: NDArray[np.int32], row: Rows) -> Ragged:
    """Rows of several ragged arrays in a new order.

    Args:
        parts: same members, dtypes and depth; at least one.
        file: int32, which part each output row comes from; negative where absent.
        row: int64, which row of that part.

    Returns:
        A Ragged of ``len(file)`` rows; absent rows are empty lists, or zeros at depth 0.
    """
    return _gather(parts, _split(file, row, len(parts)), len(file))


def _gather(parts: Sequence[Ragged], moves: Sequence[tuple[Rows, Rows]], rows: int) -> Ragged:
    first = parts[0]
    if first.depth == 0:
        return Ragged((), _scatter(parts, moves, rows))
    counts = np.zeros(rows, np.int64)
    for part, (source, target) in zip(parts, moves, strict=True):
        place_counts(part.offsets[0], source, target, counts)
    offsets = _offsets_of(counts)
    if first.depth == 1:
        return Ragged((offsets,), _copy(parts, moves, offsets))
    inner_moves = []
    for part, (source, target) in zip(parts, moves, strict=True):
        items = np.full(int(offsets[-1]), -1, np.int64)
        place_items(part.offsets[0], source, target, offsets, items)
        to = np.flatnonzero(items >= 0).astype(np.int64, copy=False)
        inner_moves.append((np.ascontiguousarray(items[to]), to))
    inner = _gather(
        [Ragged(p.offsets[1:], p.content) for p in parts], inner_moves, int(offsets[-1])
    )
    return Ragged((offsets, *inner.offsets), inner.content)


def _scatter(
    parts: Sequence[Ragged], moves: Sequence[tuple[Rows, Rows]], rows: int
) -> dict[str, NDArray[Any]]:
    out = {name: np.zeros(rows, array.dtype) for name, array in parts[0].content.items()}
    for part, (source, target) in zip(parts, moves, strict=True):
        for name, array in part.content.items():
            out[name][target] = array[source]
    return out


def _copy(
    parts: Sequence[Ragged], moves: Sequence[tuple[Rows, Rows]], offsets: Offsets
) -> dict[str, NDArray[Any]]:
    items = int(offsets[-1])
    out = {name: np.empty(items, array.dtype) for name, array in parts[0].content.items()}
    for part, (source, target) in zip(parts, moves, strict=True):
        for name, array in part.content.items():
            content = np.ascontiguousarray(array)
            copy_rows(part.offsets[0], content, source, target, offsets, out[name])
    return out
