"""The pages of an RNTuple's columns in one cluster: which hold given elements, and unpacking them.

uproot unpacks a page; it does not look at its checksum, so that is done here. Knows columns,
elements and bytes; no fields, no lists, no requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.formats.ntuple import CHECKSUM_BYTES, Axis, NTuple, demand_checksum
from columnservice.reader.heldreads import ByteRange

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Spans:
    """Elements ``starts[i]`` to ``stops[i]`` of a column in a cluster, ascending and apart."""

    starts: Numbers
    stops: Numbers

    @classmethod
    def joined(cls, starts: Numbers, stops: Numbers) -> Spans:
        """Ascending spans as the fewest: empty ones left out, those that touch made one."""
        full = stops > starts
        starts, stops = starts[full], stops[full]
        if not len(starts):
            return cls(starts, stops)
        apart = starts[1:] != stops[:-1]
        return cls(starts[np.concatenate(([True], apart))], stops[np.concatenate((apart, [True]))])

    def __len__(self) -> int:
        """Number of elements."""
        return int((self.stops - self.starts).sum())

    def elements(self) -> Numbers:
        """The numbers of all elements, ascending."""
        counts = self.stops - self.starts
        before = np.cumsum(counts) - counts
        return np.repeat(self.starts - before, counts) + np.arange(len(self), dtype=np.int64)

    def times(self, size: int) -> Spans:
        """The spans of items where every element has as many."""
        return Spans(self.starts * size, self.stops * size)

    def with_ones_before(self) -> Spans:
        """The same elements, each with the one before it."""
        return Spans.joined(np.maximum(self.starts - 1, 0), self.stops)


@dataclass(frozen=True)
class Pages:
    """The pages of one column in one cluster.

    Attributes:
        cluster, column: their numbers; the column is the representation that the cluster has.
        bounds: number of the first element of each page and, last, the number of elements. In
            front stands a page of elements that were never written, as the field was added later:
            they are zero.
        places: (start, stop) in bytes of each page but that one, with its checksum if it has one.
        checked: whether it has one.
    """

    cluster: int
    column: int
    bounds: Numbers
    places: tuple[ByteRange, ...]
    checked: tuple[bool, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all pages."""
        return sum(stop - start for start, stop in self.places)

    def holding(self, spans: Spans) -> NDArray[np.int64]:
        """Numbers of the pages that hold at least one element of the spans; 0 is never written.

        Raises:
            ValueError: there are no such elements.
        """
        if not len(spans.starts):
            return np.zeros(0, np.int64)
        if int(spans.stops[-1]) > int(self.bounds[-1]) or int(spans.starts[0]) < 0:
            raise ValueError(f"column {self.column} lacks elements that its lists hold")
        change = np.zeros(len(self.bounds) + 1, np.int64)
        np.add.at(change, np.searchsorted(self.bounds, spans.starts, side="right") - 1, 1)
        np.add.at(change, np.searchsorted(self.bounds, spans.stops - 1, side="right"), -1)
        return np.flatnonzero(np.cumsum(change) > 0)

    def ranges(self, numbers: Sequence[int] | NDArray[np.int64]) -> list[ByteRange]:
        """Where pages stand: what uproot will ask for, and the same with the checksum."""
        found = []
        for number in numbers:
            if number:
                start, stop = self.places[number - 1]
                found.append((start, stop))
                if self.checked[number - 1]:
                    found.append((start, stop - CHECKSUM_BYTES))
        return found

    def values(self, ntuple: NTuple, spans: Spans, threads: Any) -> NDArray[Any]:
        """The elements of the spans, one after the other, as their column stores them.

        Raises:
            ValueError: a checksum is wrong; and others that uproot raises on damaged pages.
        """
        numbers = self.holding(spans)
        metadata = ntuple.model.get_field_metadata(self.column)
        waiting = [threads.submit(self._unpacked, ntuple, number, metadata) for number in numbers]
        parts = [part.result() for part in waiting]
        values = (
            np.concatenate(parts) if len(parts) > 1 else (*parts, np.empty(0, metadata.dtype))[0]
        )
        if len(values) == len(spans):
            return values
        lengths = np.diff(self.bounds)[numbers]
        begins = np.zeros(len(self.bounds), np.int64)  # of each page in ``values``
        begins[numbers] = np.cumsum(lengths) - lengths
        page = np.searchsorted(self.bounds, spans.starts, side="right") - 1
        shift = begins[page] - self.bounds[page]
        return values[Spans(spans.starts + shift, spans.stops + shift).elements()]

    def _unpacked(self, ntuple: NTuple, number: int, metadata: Any) -> NDArray[Any]:
        """All elements of a page."""
        length = int(self.bounds[number + 1] - self.bounds[number])
        if not number:
            return np.zeros(length, metadata.dtype)
        values = np.empty(length, metadata.dtype)
        if self.checked[number - 1]:
            chunk = ntuple.model.file.source.chunk(*self.places[number - 1])
            demand_checksum(np.asarray(chunk.raw_data), f"a page of column {self.column}")
        ntuple.model.read_page(values, self.cluster, self.column, number - 1, metadata)
        ntuple.model.post_process(values, metadata)
        return values


def pages_of(ntuple: NTuple, cluster: int, field: int, axes: Sequence[Axis]) -> Pages:
    """Where the column of a field is in a cluster.

    Args:
        ntuple: the RNTuple.
        cluster: its number.
        field: the field that has the column, perhaps in several representations.
        axes: list axes above it.

    Raises:
        ValueError: there are not as many values as rows.
    """
    links = ntuple.model.page_link_list[cluster]
    columns = ntuple.columns_of[field]
    column = next((c for c in columns if c < len(links) and not links[c].suppressed), None)
    found = () if column is None else links[column].pages
    column = columns[0] if column is None else column
    lengths = [int(page.num_elements) for page in found]
    missing = 0
    if all(axis.field is None for axis in axes):
        each = int(np.prod([axis.size for axis in axes], dtype=np.int64))
        first, stop = (row * each for row in ntuple.cluster_starts[cluster : cluster + 2])
        begin = int(ntuple.column_records[column].first_element_index)
        missing = min(max(begin, first), stop) - first
        if missing + sum(lengths) != stop - first:
            raise ValueError(f"column {column} has not as many values as there are rows")
    places, checked = [], []
    for page in found:
        checked.append(bool(page.has_checksum))
        start = int(page.locator.offset)
        places.append((start, start + int(page.locator.num_bytes) + CHECKSUM_BYTES * checked[-1]))
    bounds = np.cumsum([0, missing, *lengths], dtype=np.int64)
    return Pages(cluster, column, bounds, tuple(places), tuple(checked))
