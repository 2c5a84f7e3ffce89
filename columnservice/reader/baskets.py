"""Reading rows: only the baskets that hold them, all branches of a file in one vector read.

Rows of an RNTuple are read by ``reader.fields``. Knows branches and rows; neither what a branch
means nor where its rows go.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from columnservice.errors import UnsupportedColumn
from columnservice.formats.discovery import Refused
from columnservice.formats.ntuple import NTuple
from columnservice.formats.ragged import ragged_from_layout
from columnservice.model import BranchRead, FileLocation, Ragged
from columnservice.reader.fields import read_fields
from columnservice.reader.heldreads import ByteRange
from columnservice.reader.pool import FilePool
from columnservice.reader.progress import tick
from columnservice.reader.rootfile import OpenTree

Rows = NDArray[np.int64]
Run = tuple[int, int]


@dataclass(frozen=True)
class Read:
    """What came of reading rows.

    Attributes:
        arrays: one Ragged per branch read, in the order asked, each with one row per row of
            ``rows``.
        url: the replica that served.
        source_bytes: bytes asked of that replica for the baskets.
        rows: int64, sorted, unique: those that were asked, or more.
    """

    arrays: tuple[Ragged, ...]
    url: str
    source_bytes: int
    rows: Rows


MOST_MORE = 2.0
"""How many times as many rows as were asked may be given where they are read anyhow."""


def basket_runs(entry_offsets: NDArray[np.int64], rows: Rows) -> list[Run]:
    """Runs ``(first, last + 1)`` of adjacent baskets that hold at least one of the rows.

    Args:
        entry_offsets: first row of each basket and, last, the number of rows; ascending.
        rows: sorted unique rows.
    """
    if not len(rows):
        return []
    holding = np.unique(np.searchsorted(entry_offsets, rows, side="right") - 1)
    breaks = np.flatnonzero(np.diff(holding) > 1)
    firsts = holding[np.concatenate(([0], breaks + 1))]
    lasts = holding[np.concatenate((breaks, [len(holding) - 1]))]
    return [(int(a), int(b) + 1) for a, b in zip(firsts, lasts, strict=True)]


def _leaf_ranges(branch: Any, runs: Sequence[Run]) -> list[ByteRange]:
    """Byte ranges of a branch's baskets; baskets embedded in the tree need none."""
    seeks, sizes = branch.member("fBasketSeek"), branch.member("fBasketBytes")
    on_disk = branch.num_baskets - len(branch.embedded_baskets)
    return [
        (int(seeks[i]), int(seeks[i]) + int(sizes[i]))
        for first, stop in runs
        for i in range(first, min(stop, on_disk))
    ]


def _leaves(branch: Any) -> list[Any]:
    """The branches whose baskets hold a branch's data: itself, or those it is split into."""
    if not branch.branches:
        return [branch]
    return [leaf for child in branch.branches for leaf in _leaves(child)]


def _gather(layouts: Sequence[ak.contents.Content], windows: Sequence[Run], rows: Rows) -> Ragged:
    """The asked rows out of the windows that were read; a copy only where a window holds more."""
    layout = ak.concatenate(layouts, highlevel=False) if len(layouts) > 1 else layouts[0]
    starts = np.array([start for start, _ in windows])
    lengths = np.array([stop - start for start, stop in windows])
    if lengths.sum() != len(rows):
        before = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        window = np.searchsorted(starts, rows, side="right") - 1
        layout = layout[rows - starts[window] + before[window]]
    found: Ragged = ragged_from_layout(layout)
    return found


def _read_branch(
    branch: Any, raw: bool, windows: Sequence[Run], rows: Rows, threads: Any
) -> Ragged:
    interpretation = AsJagged(AsDtype("u1")) if raw else branch.interpretation
    layouts = []
    for start, stop in windows:
        array = branch.array(
            interpretation,
            entry_start=start,
            entry_stop=stop,
            decompression_executor=threads,
            array_cache=None,
            library="ak",
        )
        if len(array) != stop - start:
            raise ValueError(f"{branch.name} gave {len(array)} of {stop - start} rows.")
        layouts.append(array.layout)
        tick()
    return _gather(layouts, windows, rows)


def _windows(branch: Any, runs: Sequence[Run]) -> list[Run]:
    """The rows that runs of baskets hold."""
    offsets = np.asarray(_leaves(branch)[0].entry_offsets)
    return [(int(offsets[first]), int(offsets[stop])) for first, stop in runs] or [(0, 0)]


def _all_rows(windows: Sequence[Sequence[Run]], rows: Rows) -> Rows:
    """The rows of the windows, if all branches have the same ones; else those that were asked."""
    first = windows[0]
    read = sum(stop - start for start, stop in first)
    if read > MOST_MORE * len(rows) or any(other != first for other in windows):
        return rows
    return np.concatenate([np.arange(start, stop) for start, stop in first])


def _read_open(
    opened: OpenTree, reads: Sequence[BranchRead], rows: Rows, threads: Any, more: bool
) -> tuple[tuple[Ragged, ...], int, Rows]:
    """Read from one open file; a ValueError, as from uproot itself, says that it is damaged."""
    tree, source = opened.tree, opened.source
    if isinstance(tree, NTuple):
        return *_read_ntuple(opened, tree, reads, rows, threads), rows
    ranges: set[ByteRange] = set()
    wanted: dict[BranchRead, tuple[Any, list[Run]]] = {}  # branch, windows of rows
    for read in dict.fromkeys(reads):
        if read.path not in tree:
            raise UnsupportedColumn(f"{opened.location.lfn} has no branch {read.path}.")
        branch = tree[read.path]
        if len(rows) and int(rows[-1]) >= branch.num_entries:
            raise ValueError(f"{read.path} has {branch.num_entries} rows, not {tree.num_entries}.")
        leaves = _leaves(branch)
        runs = [basket_runs(np.asarray(leaf.entry_offsets), rows) for leaf in leaves]
        wanted[read] = branch, _windows(branch, runs[0])
        for leaf, leaf_runs in zip(leaves, runs, strict=True):
            ranges.update(_leaf_ranges(leaf, leaf_runs))
    if more and len(rows):
        rows = _all_rows([windows for _, windows in wanted.values()], rows)
    source_bytes = source.hold(sorted(ranges))
    try:
        found = {
            read: _read_branch(branch, read.raw, windows, rows, threads)
            for read, (branch, windows) in wanted.items()
        }
    finally:
        source.release()
    return tuple(found[read] for read in reads), source_bytes, rows


def _read_ntuple(
    opened: OpenTree, ntuple: NTuple, reads: Sequence[BranchRead], rows: Rows, threads: Any
) -> tuple[tuple[Ragged, ...], int]:
    if len(rows) and int(rows[-1]) >= ntuple.num_entries:
        raise ValueError(f"RNTuple {ntuple.name!r} has {ntuple.num_entries} rows only.")
    wanted = []
    for read in reads:
        field = ntuple.fields.get(read.path)
        if field is None or isinstance(field.found, Refused):
            raise UnsupportedColumn(f"{opened.location.lfn} has no readable field {read.path}.")
        wanted.append(field)
    return read_fields(ntuple, wanted, rows, opened.source, threads)


def read_rows(
    pool: FilePool,
    location: FileLocation,
    reads: Sequence[BranchRead],
    rows: Rows,
    threads: ThreadPoolExecutor | None = None,
    more: bool = False,
) -> Read:
    """Read rows of some branches from the first replica that serves them.

    Args:
        pool: the open files of this thread.
        location: which file.
        reads: the branches; repetitions cost nothing.
        rows: int64, sorted, unique, within the tree.
        threads: where baskets and pages are decompressed; None: in this thread.
        more: rows that are read anyhow may be given too, which spares a copy; see ``Read.rows``.

    Raises:
        FileChanged, FileError, TransportError, NotAllowed: no replica could serve.
    """
    executor = uproot.source.futures.TrivialExecutor() if threads is None else threads

    def work(opened: OpenTree) -> Read:
        arrays, source_bytes, given = _read_open(opened, reads, rows, executor, more)
        return Read(arrays, opened.url, source_bytes, given)

    return pool.serve(location, work)
