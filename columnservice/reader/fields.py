"""Reading rows of an RNTuple: only the pages that hold them, all fields in one vector read.

Which pages of a list hold wanted items is known once its offsets are read. What is small, whole or
a single page anyway is read along with the offsets, so that one vector read does for most; else one
more follows for each list axis. Knows fields, rows and requests; neither what a field means nor
where its rows go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.formats.ntuple import Axis, Field, NTuple
from columnservice.formats.ragged import native
from columnservice.model import Ragged, plain
from columnservice.reader.heldreads import ByteRange
from columnservice.reader.pages import Numbers, Pages, Spans, pages_of
from columnservice.reader.progress import tick

Axes = tuple[Axis, ...]

# Up to so many bytes of a column in a cluster are read before it is known which of them are wanted:
# another vector read takes longer.
AHEAD_BYTES = 16384
# So is a column in a cluster of whose rows at least this part is wanted.
AHEAD_PART = 0.5


def read_fields(
    ntuple: NTuple, fields: Sequence[Field], rows: Numbers, source: Any, threads: Any
) -> tuple[tuple[Ragged, ...], int]:
    """Rows of some fields, and the bytes that were read for them.

    Args:
        ntuple: the RNTuple.
        fields: readable ones.
        rows: int64, sorted, unique, within the RNTuple.
        source: of its file, with ``hold`` and ``release``.
        threads: an executor, where pages are unpacked.

    Raises:
        ValueError and others that uproot raises: pages contradict each other or their checksums.
    """
    reading = _Reading(ntuple, fields, rows, source, threads)
    try:
        reading.run()
    finally:
        source.release()
    return tuple(reading.result(field) for field in fields), reading.source_bytes


class _Reading:
    """One read, axis by axis: elements of a column are wanted, fetched, unpacked, opened."""

    def __init__(
        self, ntuple: NTuple, fields: Iterable[Field], rows: Numbers, source: Any, threads: Any
    ) -> None:
        self._ntuple, self._source, self._threads = ntuple, source, threads
        self._axes: dict[int, Axes] = {}  # of every field that has a column to read
        self._lists: set[int] = set()  # those of them that hold offsets
        self._fixed: set[Axes] = set()
        for field in fields:
            for depth, axis in enumerate(field.axes):
                if axis.field is None:
                    self._fixed.add(field.axes[: depth + 1])
                else:
                    self._axes[axis.field] = field.axes[:depth]
                    self._lists.add(axis.field)
            self._axes |= {leaf.field: field.axes for leaf in field.leaves}
        starts = np.asarray(ntuple.cluster_starts)
        self._clusters = np.unique(np.searchsorted(starts, rows, side="right") - 1)
        begins = np.searchsorted(rows, starts[self._clusters])
        inside = np.split(rows, begins[1:]) if len(begins) else []
        local = [own - starts[c] for c, own in zip(self._clusters, inside, strict=True)]
        self._parts = [
            len(own) / (starts[c + 1] - starts[c])
            for c, own in zip(self._clusters, local, strict=True)
        ]
        # In both: list axes down to a column → for each cluster.
        self._spans: dict[Axes, list[Spans]] = {(): [Spans.joined(r, r + 1) for r in local]}
        self._counts: dict[Axes, list[Numbers]] = {}
        self._values: dict[int, list[NDArray[Any]]] = {}
        self._pages: dict[tuple[int, int], Pages] = {}
        self._fetched: set[ByteRange] = set()
        self.source_bytes = 0

    def run(self) -> None:
        """Read everything."""
        waiting = dict(self._axes)
        while waiting or self._fixed:
            for axes in [a for a in self._fixed if a[:-1] in self._spans]:
                self._fixed.discard(axes)
                self._repeat(axes)
            ready = {f: axes for f, axes in waiting.items() if axes in self._spans}
            self._fetch(ready, [f for f in waiting if f not in ready])
            for field, axes in ready.items():
                del waiting[field]
                if field in self._lists:
                    self._open(field, axes)
                else:
                    self._values[field] = self._read(field, self._spans[axes])
                tick()

    def _places(self, field: int) -> list[Pages]:
        """The pages of a field's column in each cluster."""
        for number in map(int, self._clusters):
            if (field, number) not in self._pages:
                found = pages_of(self._ntuple, number, field, self._axes[field])
                self._pages[field, number] = found
        return [self._pages[field, int(number)] for number in self._clusters]

    def _wanted(self, field: int) -> list[Spans]:
        """The elements of a field's column that are needed, for each cluster."""
        spans = self._spans[self._axes[field]]
        return [s.with_ones_before() for s in spans] if field in self._lists else spans

    def _fetch(self, ready: Iterable[int], later: Iterable[int]) -> None:
        """Have the pages that are known to be needed, with those that are cheap to have now."""
        ranges: set[ByteRange] = set()
        for field in ready:
            for pages, spans in zip(self._places(field), self._wanted(field), strict=True):
                ranges.update(pages.ranges(pages.holding(spans)))
        for field in later:
            for pages, part in zip(self._places(field), self._parts, strict=True):
                single = len(pages.places) == 1
                if single or part >= AHEAD_PART or pages.size_bytes <= AHEAD_BYTES:
                    ranges.update(pages.ranges(range(1, len(pages.places) + 1)))
        ranges -= self._fetched
        if ranges:
            self.source_bytes += self._source.hold(sorted(ranges))
            self._fetched |= ranges

    def _read(self, field: int, wanted: Sequence[Spans]) -> list[NDArray[Any]]:
        return [
            pages.values(self._ntuple, spans, self._threads)
            for pages, spans in zip(self._places(field), wanted, strict=True)
        ]

    def _open(self, field: int, axes: Axes) -> None:
        """Follow offsets: each holds the end of an element's items; they begin where others end."""
        below = (*axes, Axis(field))
        wanted = self._wanted(field)
        counts, spans = [], []
        for have, back, ends in zip(
            self._spans[axes], wanted, self._read(field, wanted), strict=True
        ):
            elements = have.elements()
            at = np.searchsorted(back.elements(), elements)
            stops = ends[at].astype(np.int64)
            starts = np.where(elements > 0, ends[at - 1].astype(np.int64), 0)
            if (starts > stops).any() or (starts[1:] < stops[:-1]).any():
                raise ValueError("offsets of lists do not ascend")
            counts.append(stops - starts)
            spans.append(Spans.joined(starts, stops))
        self._counts[below], self._spans[below] = counts, spans

    def _repeat(self, axes: Axes) -> None:
        """Step over an axis with the same number of items everywhere."""
        size, above = axes[-1].size, self._spans[axes[:-1]]
        self._counts[axes] = [np.full(len(spans), size, np.int64) for spans in above]
        self._spans[axes] = [spans.times(size) for spans in above]

    def result(self, field: Field) -> Ragged:
        """The values of a field, as its C++ type says."""
        if field.counts:
            (member,) = field.found.members  # type: ignore[union-attr]
            return plain(_together(self._counts[field.axes], np.dtype(member.dtype)))
        offsets = []
        for depth in range(1, len(field.axes) + 1):
            counts = _together(self._counts[field.axes[:depth]], np.dtype(np.int64))
            offsets.append(np.concatenate((np.zeros(1, np.int64), np.cumsum(counts))))
        return Ragged(
            tuple(offsets),
            {
                leaf.member.name: _together(self._values[leaf.field], np.dtype(leaf.member.dtype))
                for leaf in field.leaves
            },
        )


def _together(parts: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of all clusters, which may be of several types, as one array of that type."""
    if not parts:
        return np.empty(0, dtype)
    # First: of int64 and uint64 concatenation makes float64, which holds no event numbers.
    cast = [native(part.astype(dtype, copy=False)) for part in parts]
    return np.concatenate(cast) if len(cast) > 1 else cast[0]
