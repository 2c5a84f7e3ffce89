"""Reading many rows of a file in parts: what has come is decoded while more is on its way.

A part is a segment of rows, read from all branches; what its branches are decoded to is the
caller's business. Knows branches, rows and threads; neither joins nor what a branch means.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import uproot

from columnservice.errors import ColumnServiceError
from columnservice.formats.ntuple import NTuple
from columnservice.model import BranchRead, FileLocation, Ragged
from columnservice.reader.baskets import (
    Rows,
    branches_of,
    leaves_of,
    ranges_of,
    read_branch,
    read_ntuple,
)
from columnservice.reader.futures import give_up, submit
from columnservice.reader.heldreads import Abandoned
from columnservice.reader.pool import FilePool
from columnservice.reader.rootfile import OpenTree
from columnservice.reader.segments import Baskets, cut

T = TypeVar("T")

Check: TypeAlias = Callable[[Sequence[T]], None]
"""Raises CountsMismatch where things made of the same rows contradict each other."""

MOST_DECODING = 4
"""Segments that may wait to be decoded: what comes faster than that waits on its server."""


@dataclass(frozen=True)
class Demand(Generic[T]):
    """Branches that are needed together, and what is made of them.

    Attributes:
        reads: the branches.
        make: takes one Ragged per branch, in that order, for the same rows; it may be called in any
            thread, once for each part, and again where a replica failed.
    """

    reads: tuple[BranchRead, ...]
    make: Callable[[Sequence[Ragged]], T]


@dataclass(frozen=True)
class Part(Generic[T]):
    """A segment of the rows.

    Attributes:
        rows: int64, sorted, unique: some of those that were asked.
        made: of each Demand, for these rows.
    """

    rows: Rows
    made: tuple[T, ...]


@dataclass(frozen=True)
class ReadParts(Generic[T]):
    """What came of reading rows in parts.

    Attributes:
        parts: in order of their rows, of which no two have the same.
        url: the replica that served.
        source_bytes: bytes asked of that replica for the baskets.
    """

    parts: tuple[Part[T], ...]
    url: str
    source_bytes: int


def _unchecked(_: Sequence[Any]) -> None:
    """Nothing is known that could contradict."""


def read_parts(
    pool: FilePool,
    location: FileLocation,
    demands: Sequence[Demand[T]],
    rows: Rows,
    threads: ThreadPoolExecutor | None = None,
    abandoned: threading.Event | None = None,
    check: Check[T] = _unchecked,
) -> ReadParts[T]:
    """Read rows of some branches in parts, from the first replica that serves them all.

    Args:
        pool: open files; no other thread reads this file meanwhile.
        location: which file.
        demands: what is needed; a branch that several share is read once for each.
        rows: int64, sorted, unique, within the tree.
        threads: where parts are decoded; None: in this thread.
        abandoned: when it is set, nobody wants the result any more.
        check: looks at what all Demands made of the same rows.

    Raises:
        FileChanged, FileError, TransportError, NotAllowed: no replica could serve.
        CountsMismatch: the check found a contradiction, at the origin too.
        Abandoned: nobody wants the result.
        whatever else a Demand raises: at once.
    """

    def work(opened: OpenTree) -> ReadParts[T]:
        if abandoned is not None and abandoned.is_set():
            raise Abandoned
        if isinstance(opened.tree, NTuple):
            return _of_ntuple(opened, demands, rows, threads, check)
        reading = _Reading[T](opened, demands, rows, threads, check)
        try:
            reading.run(abandoned)
        finally:
            reading.end()
        return ReadParts(tuple(reading.parts), opened.url, reading.source_bytes)

    try:
        return pool.serve(location, work)
    except _Stumbled as stumbled:
        raise stumbled.error from None


class _Stumbled(Exception):
    """A Demand raised what says nothing of the file, so that no other replica need be asked."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _make(demand: Demand[T], arrays: Sequence[Ragged]) -> T:
    try:
        return demand.make(arrays)
    except ColumnServiceError:
        raise
    except Exception as error:
        raise _Stumbled(error) from None


def _of_ntuple(
    opened: OpenTree,
    demands: Sequence[Demand[T]],
    rows: Rows,
    threads: ThreadPoolExecutor | None,
    check: Check[T],
) -> ReadParts[T]:
    """All rows in one part: pages are found and read axis by axis."""
    reads = list(dict.fromkeys(read for demand in demands for read in demand.reads))
    executor = uproot.source.futures.TrivialExecutor() if threads is None else threads
    found, source_bytes = read_ntuple(opened, reads, rows, executor)
    arrays = dict(zip(reads, found, strict=True))
    futures = [
        submit(threads, partial(_make, demand), [arrays[read] for read in demand.reads])
        for demand in demands
    ]
    try:
        made = tuple(future.result() for future in futures)
    finally:
        give_up(futures)
    check(made)
    return ReadParts((Part(rows, made),), opened.url, source_bytes)


@dataclass(frozen=True)
class _Segment(Generic[T]):
    """A segment that is being decoded."""

    rows: Rows
    ranges: list[tuple[int, int]]
    futures: list[Future[T]]


class _Reading(Generic[T]):
    """One pass over an open file."""

    def __init__(
        self,
        opened: OpenTree,
        demands: Sequence[Demand[T]],
        rows: Rows,
        threads: ThreadPoolExecutor | None,
        check: Check[T],
    ) -> None:
        self._demands, self._threads, self._source = demands, threads, opened.source
        self._check = check
        reads = dict.fromkeys(read for demand in demands for read in demand.reads)
        self._branches = branches_of(opened, reads, rows)
        leaves = [leaf for branch in self._branches.values() for leaf in leaves_of(branch)]
        self._segments = cut([_baskets(leaf) for leaf in leaves], rows)
        self._begun: deque[_Segment[T]] = deque()
        self.parts: list[Part[T]] = []
        self.source_bytes = 0

    def run(self, abandoned: threading.Event | None) -> None:
        """Fetch segment after segment, and decode each when it has come."""
        ranges = [ranges_of(self._branches.values(), rows) for rows in self._segments]
        # Closed here, for an error that is kept would keep it open, and other files waiting.
        with closing(self._source.stream(ranges, abandoned)) as coming:
            for rows, own, size_bytes in zip(self._segments, ranges, coming, strict=True):
                self.source_bytes += size_bytes
                self._begin(rows, own)
                while len(self._begun) > MOST_DECODING:
                    self._finish_first()
        while self._begun:
            self._finish_first()

    def _begin(self, rows: Rows, ranges: list[tuple[int, int]]) -> None:
        def work(demand: Demand[T]) -> T:
            # In this very thread: its fellows may all be waiting here.
            inside = uproot.source.futures.TrivialExecutor()
            arrays = [
                read_branch(self._branches[read], read.raw, rows, inside) for read in demand.reads
            ]
            return _make(demand, arrays)

        futures = [submit(self._threads, work, demand) for demand in self._demands]
        self._begun.append(_Segment(rows, ranges, futures))

    def _finish_first(self) -> None:
        first = self._begun[0]
        made = tuple(future.result() for future in first.futures)
        self._begun.popleft()
        self._check(made)
        self.parts.append(Part(first.rows, made))
        self._source.drop(first.ranges)

    def end(self) -> None:
        """See to it that nothing is being decoded and nothing is held, however it went."""
        give_up([future for segment in self._begun for future in segment.futures])
        self._source.release()


def _baskets(leaf: Any) -> Baskets:
    offsets = np.asarray(leaf.entry_offsets, np.int64)
    return Baskets(offsets, np.asarray(leaf.member("fBasketBytes"))[: len(offsets) - 1])
