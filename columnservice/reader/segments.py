"""Which rows to read together: cuts where no basket that is needed reaches across.

Between two such cuts a part of a file can be fetched and decoded while the next part is on its way.
Pure arithmetic on baskets; knows no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

# Small enough that decoding begins early and what is decoded fits into the processor's cache,
# large enough that what is done once for each branch does not matter.
SEGMENT_BYTES = 8_000_000


@dataclass(frozen=True)
class Baskets:
    """The baskets of a branch.

    Attributes:
        entry_offsets: int64, first row of each basket and, last, the number of rows; ascending.
        sizes_bytes: of each basket, in the file.
    """

    entry_offsets: NDArray[np.int64]
    sizes_bytes: NDArray[Any]


def cut(branches: Sequence[Baskets], rows: Rows, segment_bytes: int = SEGMENT_BYTES) -> list[Rows]:
    """Groups of rows, in order, of which no two need the same basket.

    Args:
        branches: all that are read.
        rows: int64, sorted, unique; every branch has them.
        segment_bytes: the baskets of a group take about so much, more where they cannot be parted.
    """
    if not len(rows) or not branches:
        return [rows]
    starts, stops, sizes = (
        np.concatenate(found)
        for found in zip(*(_needed(branch, rows) for branch in branches), strict=True)
    )
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(stops[order])
    # An island begins where nothing that began before reaches to.
    begins = np.concatenate(([0], np.flatnonzero(starts[1:] >= reach[:-1]) + 1))
    before_bytes = np.concatenate(([0], np.cumsum(np.add.reduceat(sizes[order], begins))[:-1]))
    group = before_bytes // segment_bytes
    firsts = begins[1:][group[1:] > group[:-1]]
    return np.split(rows, np.searchsorted(rows, starts[firsts]))


def holding_baskets(entry_offsets: NDArray[np.int64], rows: Rows) -> NDArray[np.int64]:
    """Numbers of the baskets that hold at least one of the rows, ascending.

    Args:
        entry_offsets: first row of each basket and, last, the number of rows; ascending.
        rows: sorted, unique.
    """
    found = np.searchsorted(entry_offsets, rows, side="right") - 1
    return found[np.concatenate((found[:1] >= 0, found[1:] > found[:-1]))]


def _needed(branch: Baskets, rows: Rows) -> tuple[Rows, Rows, Rows]:
    """First row, last row + 1 and size of each basket that holds some of the rows."""
    offsets = branch.entry_offsets
    holding = holding_baskets(offsets, rows)
    return offsets[holding], offsets[holding + 1], branch.sizes_bytes[holding].astype(np.int64)
