"""Reading rows: only the baskets that hold them, all branches of a file in one vector read.

Rows of an RNTuple are read by ``reader.fields``; what is decoded while more is on its way, by
``reader.parts``. Knows branches and rows; neither what a branch means nor where its rows go.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
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
from columnservice.reader.numbers import numbers_of, read_numbers
from columnservice.reader.pool import FilePool
from columnservice.reader.progress import tick
from columnservice.reader.rootfile import OpenTree
from columnservice.reader.segments import holding_baskets

Rows = NDArray[np.int64]
Run = tuple[int, int]
# uproot makes classes as it meets objects, in one table for all files; numbers need none.
_MAKING_CLASSES = threading.Lock()


@dataclass(frozen=True)
class Read:
    """What came of reading rows.

    Attributes:
        arrays: one Ragged per branch read, in the order asked, each with one row per row that
            was asked.
        url: the replica that served.
        source_bytes: bytes asked of that replica for the baskets.
    """

    arrays: tuple[Ragged, ...]
    url: str
    source_bytes: int


def basket_runs(entry_offsets: NDArray[np.int64], rows: Rows) -> list[Run]:
    """Runs ``(first, last + 1)`` of adjacent baskets that hold at least one of the rows.

    Args:
        entry_offsets: first row of each basket and, last, the number of rows; ascending.
        rows: sorted unique rows.
    """
    if not len(rows):
        return []
    holding = holding_baskets(entry_offsets, rows)
    breaks = np.flatnonzero(np.diff(holding) > 1)
    firsts = holding[np.concatenate(([0], breaks + 1))]
    lasts = holding[np.concatenate((breaks, [len(holding) - 1]))]
    return [(int(a), int(b) + 1) for a, b in zip(firsts, lasts, strict=True)]


def leaves_of(branch: Any) -> list[Any]:
    """The branches whose baskets hold a branch's data: itself, or those it is split into."""
    if not branch.branches:
        return [branch]
    return [leaf for child in branch.branches for leaf in leaves_of(child)]


def ranges_of(branches: Iterable[Any], rows: Rows) -> list[ByteRange]:
    """Byte ranges of the baskets that hold rows; baskets embedded in the tree need none."""
    ranges: set[ByteRange] = set()
    for leaf in (leaf for branch in branches for leaf in leaves_of(branch)):
        seeks, sizes = leaf.member("fBasketSeek"), leaf.member("fBasketBytes")
        on_disk = leaf.num_baskets - len(leaf.embedded_baskets)
        for first, stop in basket_runs(np.asarray(leaf.entry_offsets), rows):
            for i in range(first, min(stop, on_disk)):
                ranges.add((int(seeks[i]), int(seeks[i]) + int(sizes[i])))
    return sorted(ranges)


def windows_of(branch: Any, rows: Rows) -> list[Run]:
    """The rows ``(first, last + 1)`` of the runs of baskets that hold rows."""
    offsets = np.asarray(leaves_of(branch)[0].entry_offsets)
    runs = basket_runs(offsets, rows)
    return [(int(offsets[first]), int(offsets[stop])) for first, stop in runs] or [(0, 0)]


def branches_of(opened: OpenTree, reads: Iterable[BranchRead], rows: Rows) -> dict[BranchRead, Any]:
    """uproot's branches.

    Raises:
        UnsupportedColumn: the file lacks one.
        ValueError: one has fewer rows than its tree.
    """
    tree, found = opened.tree, {}
    for read in reads:
        if read.path not in tree:
            raise UnsupportedColumn(f"{opened.location.lfn} has no branch {read.path}.")
        found[read] = branch = tree[read.path]
        if not read.raw:
            with _MAKING_CLASSES:
                _ = branch.interpretation  # worked out now, for all threads
        if len(rows) and int(rows[-1]) >= branch.num_entries:
            raise ValueError(f"{read.path} has {branch.num_entries} rows, not {tree.num_entries}.")
    return found


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


def read_branch(branch: Any, raw: bool, rows: Rows, threads: Any) -> Ragged:
    """Rows of one branch.

    Args:
        branch: of uproot.
        raw: whether its bytes are wanted as they are.
        rows: int64, sorted, unique, within the branch.
        threads: an executor, where baskets are decompressed.
    """
    interpretation = AsJagged(AsDtype("u1")) if raw else branch.interpretation
    kind = numbers_of(interpretation)
    if kind is not None and not branch.branches:
        found = read_numbers(branch, kind, rows, threads)
        if found is not None:
            return found
    windows = windows_of(branch, rows)
    content = interpretation.content if isinstance(interpretation, AsJagged) else interpretation
    with nullcontext() if isinstance(content, AsDtype) else _MAKING_CLASSES:
        layouts = _layouts(branch, _lists(interpretation), windows, threads)
    return _gather(layouts, windows, rows)


def _layouts(
    branch: Any, interpretation: Any, windows: Sequence[Run], threads: Any
) -> list[ak.contents.Content]:
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
    return layouts


class _Lists(AsJagged):  # type: ignore[misc]
    """What is no plain number in lists, or lists that leave it to a counter how long they are.

    Wrong bytes may pass for that: ZSTD has no checksum, nor has what is not compressed.
    """

    def basket_array(
        self, data: Any, byte_offsets: Any, basket: Any, branch: Any, *rest: Any
    ) -> Any:
        """As uproot makes it, if all lists lie within the basket, one behind the other."""
        made = super().basket_array(data, byte_offsets, basket, branch, *rest)
        offsets = np.asarray(made.offsets)
        within = not len(offsets) or (offsets[0] >= 0 and offsets[-1] <= len(made.content))
        if not within or np.any(offsets[1:] < offsets[:-1]):
            raise ValueError(f"{branch.name} has lists that end before they begin.")
        return made


def _lists(interpretation: Any) -> Any:
    """How a branch is read, with a look at its lists."""
    if type(interpretation) is not AsJagged:
        return interpretation
    told = interpretation
    return _Lists(told.content, told.header_bytes, told.typename, told.original)


def _read_open(
    opened: OpenTree, reads: Sequence[BranchRead], rows: Rows, threads: Any
) -> tuple[tuple[Ragged, ...], int]:
    """Read from one open file; a ValueError, as from uproot itself, says that it is damaged."""
    if isinstance(opened.tree, NTuple):
        return read_ntuple(opened, reads, rows, threads)
    source, branches = opened.source, branches_of(opened, dict.fromkeys(reads), rows)
    source_bytes = source.hold(ranges_of(branches.values(), rows))
    try:
        found = {
            read: read_branch(branch, read.raw, rows, threads) for read, branch in branches.items()
        }
    finally:
        source.release()
    return tuple(found[read] for read in reads), source_bytes


def read_ntuple(
    opened: OpenTree, reads: Sequence[BranchRead], rows: Rows, threads: Any
) -> tuple[tuple[Ragged, ...], int]:
    """Rows of some fields of an open RNTuple, and the bytes that were read for them.

    Raises:
        UnsupportedColumn: the file lacks one.
        ValueError: it is damaged.
    """
    ntuple = opened.tree
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
) -> Read:
    """Read rows of some branches from the first replica that serves them.

    Args:
        pool: open files; no other thread reads this file meanwhile.
        location: which file.
        reads: the branches; repetitions cost nothing.
        rows: int64, sorted, unique, within the tree.
        threads: where baskets and pages are decompressed; None: in this thread.

    Raises:
        FileChanged, FileError, TransportError, NotAllowed: no replica could serve.
    """
    executor = uproot.source.futures.TrivialExecutor() if threads is None else threads

    def work(opened: OpenTree) -> Read:
        arrays, source_bytes = _read_open(opened, reads, rows, executor)
        return Read(arrays, opened.url, source_bytes)

    return pool.serve(location, work)
