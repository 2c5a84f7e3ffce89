"""Numbers, and lists of numbers, straight out of their baskets: the rows that are wanted, no more.

Most branches are such, and uproot's way from baskets to arrays takes longer for them than
decompressing does. What a basket is stays uproot's; other branches are left to it as a whole. Knows
baskets and rows; neither what a branch means nor where its rows go.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from columnservice.model import Ragged
from columnservice.reader.futures import give_up
from columnservice.reader.progress import tick
from columnservice.reader.segments import holding_baskets
from columnservice.reader.unpacked import Basket, unpacked

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Numbers:
    """How a branch holds its numbers.

    Attributes:
        stored: their dtype in the file.
        header_bytes: before each list; None where each row is one number.
    """

    stored: np.dtype[Any]
    header_bytes: int | None


def numbers_of(interpretation: Any) -> Numbers | None:
    """How a branch holds numbers by uproot's interpretation; None where it holds anything else."""
    jagged = type(interpretation) is AsJagged
    content = interpretation.content if jagged else interpretation
    if type(content) is not AsDtype:
        return None
    stored, made = content.from_dtype, content.to_dtype
    if stored.kind not in "biuf" or stored.newbyteorder("=") != made.newbyteorder("="):
        return None  # arrays of fixed length, records, values that are converted
    return Numbers(stored, int(interpretation.header_bytes) if jagged else None)


def read_numbers(branch: Any, kind: Numbers, rows: Rows, threads: Any) -> Ragged | None:
    """Rows of a branch of numbers.

    Args:
        branch: of uproot; a leaf.
        kind: how it holds them.
        rows: int64, sorted, unique, within the branch.
        threads: an executor, where baskets are decompressed.

    Returns:
        None where baskets do not say where their lists begin, as some of ROOT's that leave it to a
        counter: uproot reads those.

    Raises:
        ValueError: a basket contradicts itself or its branch.
        whatever uproot raises for bytes that are no basket.
    """
    entry_offsets = np.asarray(branch.entry_offsets, np.int64)
    if entry_offsets[0] != 0 or np.any(entry_offsets[1:] < entry_offsets[:-1]):
        raise ValueError(f"{branch.name} has baskets that do not stand one behind the other.")
    holding = holding_baskets(entry_offsets, rows)
    edges = np.searchsorted(rows, [*entry_offsets[holding], entry_offsets[-1]])
    if edges[-1] != len(rows):
        raise ValueError(f"{branch.name} has {entry_offsets[-1]} rows in its baskets, and no more.")
    cuts: list[_Cut] = []
    futures: list[Any] = []
    try:
        for number in holding:
            futures.append(threads.submit(unpacked, branch, int(number)))
            if len(futures) == 1 and kind.header_bytes is not None and _placeless(futures[0]):
                return None
        for number, future, first, stop in zip(
            holding, futures, edges[:-1], edges[1:], strict=True
        ):
            entries = int(entry_offsets[number + 1] - entry_offsets[number])
            local = rows[first:stop] - entry_offsets[number]
            cut = _cut(branch, future.result(), kind, local, entries)
            if cut is None:
                return None
            cuts.append(cut)
            tick()
    finally:
        # What nobody waits for would read from a file that others may have by then.
        give_up([future for future in futures if isinstance(future, Future)])
    return _joined(kind, cuts, len(rows))


def _placeless(first: Any) -> bool:
    """Whether a branch's baskets do not say where their lists begin, by a look at the first."""
    return first.result().byte_offsets is None


@dataclass(frozen=True)
class _Cut:
    """Where the wanted rows stand in a basket.

    Attributes:
        data: uint8, the basket's bytes.
        starts, stops: int64, of each row's numbers in ``data``.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


def _cut(branch: Any, basket: Basket, kind: Numbers, rows: Rows, entries: int) -> _Cut | None:
    """The rows of one basket, at least one, if it is what it seems to be.

    Wrong bytes may pass for a basket: ZSTD has no checksum, nor has what is not compressed.
    """
    data, size_bytes = basket.data, kind.stored.itemsize
    if basket.num_entries != entries:
        raise ValueError(
            f"{branch.name} has a basket of {basket.num_entries} rows instead of {entries}."
        )
    if kind.header_bytes is None:
        if len(data) != entries * size_bytes:
            raise ValueError(f"{branch.name} has {len(data)} bytes for {entries} numbers.")
        return _Cut(data, rows * size_bytes, (rows + 1) * size_bytes)
    if basket.byte_offsets is None:
        return None
    offsets = np.asarray(basket.byte_offsets, np.int64)
    if len(offsets) != entries + 1:
        raise ValueError(f"{branch.name} has {len(offsets) - 1} lists in {entries} rows.")
    lengths = np.diff(offsets) - kind.header_bytes
    if offsets[0] < 0 or offsets[-1] > len(data) or (len(lengths) and lengths.min() < 0):
        raise ValueError(f"{branch.name} has lists that end before they begin.")
    if np.any(lengths % size_bytes):
        raise ValueError(f"{branch.name} has lists that are no numbers of {size_bytes} bytes.")
    return _Cut(data, offsets[rows] + kind.header_bytes, offsets[rows + 1])


def _joined(kind: Numbers, cuts: Sequence[_Cut], rows: int) -> Ragged:
    """The rows of all baskets, one behind the other, in the machine's byte order."""
    offsets = np.zeros(rows + 1, np.int64)
    row = 0
    for cut in cuts:
        offsets[row + 1 : row + 1 + len(cut.starts)] = cut.stops - cut.starts
        row += len(cut.starts)
    np.cumsum(offsets, out=offsets)
    offsets //= kind.stored.itemsize
    values = np.empty(int(offsets[-1]), kind.stored.newbyteorder("="))
    row = 0
    for cut in cuts:
        after = row + len(cut.starts)
        values[offsets[row] : offsets[after]] = _taken(cut).view(kind.stored)
        row = after
    return Ragged(() if kind.header_bytes is None else (offsets,), {"": values})


def _taken(cut: _Cut) -> NDArray[np.uint8]:
    """The bytes of the rows; a view where nothing lies between them."""
    gaps = np.flatnonzero(cut.starts[1:] != cut.stops[:-1]) + 1
    if not len(gaps):
        return cut.data[cut.starts[0] : cut.stops[-1]]
    firsts, lasts = np.append(0, gaps), np.append(gaps, len(cut.starts)) - 1
    source = cut.starts[firsts]
    count = cut.stops[lasts] - source
    target = np.append(0, np.cumsum(count))
    out = np.empty(int(target[-1]), np.uint8)
    from columnservice.formats.moving import copy_runs

    copy_runs(np.ascontiguousarray(cut.data), source, target[:-1], count, out)
    return out
