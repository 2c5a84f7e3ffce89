"""uproot sources that fetch byte ranges ahead, in as few requests as is healthy, and hold them.

Knows bytes and requests; no trees, no branches, no replicas.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import uproot
from uproot.source.chunk import Chunk

from columnservice.reader.progress import tick

ByteRange = tuple[int, int]

# Ranges closer than this are read as one: a gap costs less than another element of a vector read.
COALESCE_GAP_BYTES = 8192
# One request is answered as a whole and must be answered within the client's time limit: small
# enough for a slow link to manage and to be seen to get on, large enough not to wait for each.
REQUEST_BYTES = 4_000_000
UNDER_WAY_BYTES = 4 * REQUEST_BYTES


def coalesce(
    ranges: Sequence[ByteRange],
    gap_bytes: int = COALESCE_GAP_BYTES,
    most_bytes: int = REQUEST_BYTES,
) -> list[ByteRange]:
    """The fewest ranges that cover the given ones, joining those at most ``gap_bytes`` apart.

    Args:
        ranges: (start, stop) pairs in any order; overlaps and repetitions are allowed.
        gap_bytes: the largest hole that is read along.
        most_bytes: nothing is joined to more than this, but for what overlaps.
    """
    merged: list[ByteRange] = []
    for start, stop in sorted(ranges):
        if merged:
            first, last = merged[-1]
            small = max(stop, last) - first <= most_bytes
            if start < last or (start - last <= gap_bytes and small):
                merged[-1] = (first, max(stop, last))
                continue
        merged.append((start, stop))
    return merged


def requests(
    ranges: Sequence[ByteRange], most_bytes: int = REQUEST_BYTES
) -> Iterator[list[ByteRange]]:
    """Consecutive ranges, as many to a request as fit; a larger one is a request of its own."""
    request: list[ByteRange] = []
    size = 0
    for start, stop in ranges:
        if request and size + stop - start > most_bytes:
            yield request
            request, size = [], 0
        request.append((start, stop))
        size += stop - start
    if request:
        yield request


class HeldReads:
    """Adds to an uproot source: byte ranges fetched together, then served from memory."""

    _held: dict[ByteRange, Any] | None = None

    def hold(self, ranges: Sequence[ByteRange]) -> int:
        """Fetch ranges and keep them, beside what is held, until ``release``; the bytes read.

        Raises:
            OSError: what uproot makes of a failed read.
        """
        merged = coalesce(ranges)
        data = self._fetch(merged)
        starts = np.array([start for start, _ in merged])
        held = dict(self._held or {})
        for start, stop in ranges:
            at = merged[int(np.searchsorted(starts, start, side="right")) - 1]
            held[start, stop] = data[at][start - at[0] : stop - at[0]]
        self._held = held
        return sum(stop - start for start, stop in merged)

    def _fetch(self, ranges: Sequence[ByteRange]) -> dict[ByteRange, Any]:
        arrived: queue.Queue[Chunk] = queue.Queue()
        waiting = deque(requests(ranges))
        data: dict[ByteRange, Any] = {}
        under_way_bytes = 0
        while len(data) < len(ranges):
            while waiting and under_way_bytes < UNDER_WAY_BYTES:
                request = waiting.popleft()
                super().chunks(request, arrived)  # type: ignore[misc]
                under_way_bytes += sum(stop - start for start, stop in request)
            block = arrived.get()  # the XRootD client ends every request within its time limits
            data[block.start, block.stop] = block.raw_data
            under_way_bytes -= block.stop - block.start
            tick()
        return data

    def release(self) -> None:
        """Forget what is held."""
        self._held = None

    def chunk(self, start: int, stop: int) -> Chunk:
        """One range, as uproot asks for it where it needs no more; from memory where held."""
        held = (self._held or {}).get((start, stop))
        if held is not None:
            return Chunk.wrap(self, held, start)
        found: Chunk = super().chunk(start, stop)  # type: ignore[misc]
        return found

    def chunks(self, ranges: list[ByteRange], notifications: queue.Queue[Chunk]) -> list[Chunk]:
        """What uproot asks a source for; from memory where held."""
        held = self._held
        if held is None or any(r not in held for r in ranges):
            found: list[Chunk] = super().chunks(ranges, notifications)  # type: ignore[misc]
            return found
        chunks = [Chunk.wrap(self, held[r], r[0]) for r in ranges]
        for chunk in chunks:
            notifications.put(chunk)
        return chunks


class HeldFile(HeldReads, uproot.source.file.MemmapSource):  # type: ignore[misc]
    """A local file, memory-mapped."""


class HeldXRootD(HeldReads, uproot.source.xrootd.XRootDSource):  # type: ignore[misc]
    """A remote file, read by XRootD vector reads."""
