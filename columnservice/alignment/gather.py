"""Applying a TakeIndex: columns read from several parent files, put into local row order.

Works on plain ragged arrays of any depth; absent rows become empty lists or zeros. Rows that stand
next to each other on both sides are moved together, so that natural order costs little more than
the copy. Knows no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.alignment.kernels import (
    count_runs,
    find_items,
    find_runs,
    place_counts,
)
from columnservice.formats.moving import copy_runs
from columnservice.model import Offsets, Ragged

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class _Runs:
    """Rows (or items) of one part that are moved together; see ``kernels``."""

    source: Rows
    target: Rows
    count: Rows

    def items(self, offsets: Offsets, out_offsets: Offsets) -> _Runs:
        """The runs of items that these rows hold."""
        inner = _Runs(*(np.empty(len(self.source), np.int64) for _ in range(3)))
        find_items(
            *(offsets, self.source, self.target, self.count, out_offsets),
            *(inner.source, inner.target, inner.count),
        )
        return inner


@dataclass(frozen=True)
class Placement:
    """Which rows of several parts become which rows of the output; made once for many arrays."""

    _runs: tuple[_Runs, ...]
    _rows: int

    @classmethod
    def of(cls, part: NDArray[np.int32], row: Rows, parts: int) -> Placement:
        """The placement of rows.

        Args:
            part: int32, which part each output row comes from; absent where there is none of that
                number.
            row: int64, which row of that part.
            parts: how many there are.
        """
        file, row = np.ascontiguousarray(part, np.int32), np.ascontiguousarray(row, np.int64)
        number = count_runs(file, row)
        of_part = np.empty(number, np.int32)
        source, target, count = (np.empty(number, np.int64) for _ in range(3))
        find_runs(file, row, of_part, source, target, count)
        order = np.argsort(of_part, kind="stable")
        edges = np.searchsorted(of_part[order], np.arange(1, parts + 1))
        mine = np.split(order, edges)[:parts]
        return cls(tuple(_Runs(source[m], target[m], count[m]) for m in mine), len(file))

    def gather(self, parts: Sequence[Ragged]) -> Ragged:
        """Rows of several ragged arrays in the new order.

        Args:
            parts: same members, dtypes and depth; at least one.

        Returns:
            A Ragged of as many rows as were placed; absent rows are empty lists, or zeros at depth
            0.
        """
        return _gather(parts, self._runs, self._rows)


def gather(parts: Sequence[Ragged], file: NDArray[np.int32], row: Rows) -> Ragged:
    """Rows of several ragged arrays in a new order; see ``Placement``.

    Args:
        parts: same members, dtypes and depth; at least one.
        file: int32, which part each output row comes from; negative where absent.
        row: int64, which row of that part.
    """
    return Placement.of(file, row, len(parts)).gather(parts)


def _gather(parts: Sequence[Ragged], runs: Sequence[_Runs], rows: int) -> Ragged:
    if parts[0].depth == 0:
        return Ragged((), _copy(parts, runs, rows))
    offsets = np.zeros(rows + 1, np.int64)
    for part, run in zip(parts, runs, strict=True):
        place_counts(part.offsets[0], run.source, run.target, run.count, offsets[1:])
    np.cumsum(offsets, out=offsets)
    items = [run.items(p.offsets[0], offsets) for p, run in zip(parts, runs, strict=True)]
    inner = [Ragged(p.offsets[1:], p.content) for p in parts]
    gathered = _gather(inner, items, int(offsets[-1]))
    return Ragged((offsets, *gathered.offsets), gathered.content)


def _copy(parts: Sequence[Ragged], runs: Sequence[_Runs], rows: int) -> dict[str, NDArray[Any]]:
    # Where all is written anyhow, it is not cleared first.
    whole = sum(int(run.count.sum()) for run in runs) == rows
    make = np.empty if whole else np.zeros
    out = {name: make(rows, array.dtype) for name, array in parts[0].content.items()}
    for part, run in zip(parts, runs, strict=True):
        for name, array in part.content.items():
            content = np.ascontiguousarray(array)
            copy_runs(content, run.source, run.target, run.count, out[name])
    return out
