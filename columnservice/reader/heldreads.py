"""uproot sources that fetch byte ranges ahead, in as few requests as is healthy, and hold them.

Knows bytes and requests; no trees, no branches, no replicas.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
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
MOST_UNDER_WAY_BYTES = 32 * REQUEST_BYTES
WINDOW_SECONDS = 0.5
# How often it is looked whether a read was abandoned.
LOOK_SECONDS = 0.5


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


class Abandoned(Exception):
    """Nobody wants what is being fetched any more."""


class Window:
    """How many bytes may be under way in this process: as many as came in ``WINDOW_SECONDS``.

    A slow server gets no more than it can answer within the client's time limits, however many
    files are read from it; a fast one far away has enough to do until the next request reaches it.
    """

    def __init__(self) -> None:
        self._came: deque[tuple[float, int]] = deque()
        self._came_bytes = 0
        self._under_way_bytes = 0
        self._lock = threading.Lock()

    def has_room(self) -> bool:
        """Whether another request may be sent; who has none under way may send one anyhow."""
        with self._lock:
            while self._came and self._came[0][0] <= time.monotonic() - WINDOW_SECONDS:
                self._came_bytes -= self._came.popleft()[1]
            most_bytes = min(max(self._came_bytes, UNDER_WAY_BYTES), MOST_UNDER_WAY_BYTES)
            return self._under_way_bytes < most_bytes

    def sent(self, size_bytes: int) -> None:
        """So much was asked for."""
        with self._lock:
            self._under_way_bytes += size_bytes

    def came(self, size_bytes: int) -> None:
        """So much came."""
        with self._lock:
            self._came.append((time.monotonic(), size_bytes))
            self._came_bytes += size_bytes
            self._under_way_bytes -= size_bytes

    def lost(self, size_bytes: int) -> None:
        """So much is not waited for any more."""
        with self._lock:
            self._under_way_bytes -= size_bytes


WINDOW = Window()


def _next(arrived: queue.Queue[Chunk], abandoned: threading.Event | None) -> Chunk:
    """The next block; the XRootD client ends every request within its time limits."""
    if abandoned is None:
        return arrived.get()
    while not abandoned.is_set():
        with suppress(queue.Empty):
            return arrived.get(timeout=LOOK_SECONDS)
    raise Abandoned


class HeldReads:
    """Adds to an uproot source: byte ranges fetched together, then served from memory.

    One thread fetches; others may read what is held meanwhile.
    """

    _held: dict[ByteRange, Any] | None = None

    def hold(self, ranges: Sequence[ByteRange]) -> int:
        """Fetch ranges and keep them, beside what is held, until ``release``; the bytes read.

        Raises:
            OSError: what uproot makes of a failed read.
        """
        return sum(self.stream([ranges]))

    def stream(
        self, groups: Sequence[Sequence[ByteRange]], abandoned: threading.Event | None = None
    ) -> Iterator[int]:
        """Fetch groups of ranges one after the other, the next ones being under way meanwhile.

        Yields the bytes read for each group when it is held, beside what is held already.

        Args:
            groups: byte ranges; those of one group may overlap, those of two do not.
            abandoned: when it is set, nobody wants the rest.

        Raises:
            OSError: what uproot makes of a failed read.
            ValueError: a range stands in two groups.
            Abandoned: nobody wants the rest.
        """
        wanted = [coalesce(group) for group in groups]
        if len({r for merged in wanted for r in merged}) < sum(map(len, wanted)):
            raise ValueError("the same bytes belong to different rows")
        waiting = deque(requests([r for merged in wanted for r in merged]))
        arrived: queue.Queue[Chunk] = queue.Queue()
        data: dict[ByteRange, Any] = {}
        under_way_bytes = 0
        try:
            for group, merged in zip(groups, wanted, strict=True):
                for due in merged:
                    while due not in data:
                        while waiting and (not under_way_bytes or WINDOW.has_room()):
                            request = waiting.popleft()
                            size_bytes = sum(stop - start for start, stop in request)
                            super().chunks(request, arrived)  # type: ignore[misc]
                            WINDOW.sent(size_bytes)
                            under_way_bytes += size_bytes
                        block = _next(arrived, abandoned)
                        data[block.start, block.stop] = block.raw_data
                        WINDOW.came(block.stop - block.start)
                        under_way_bytes -= block.stop - block.start
                        tick()
                self._keep(group, {due: data.pop(due) for due in merged})
                yield sum(stop - start for start, stop in merged)
        finally:
            WINDOW.lost(under_way_bytes)

    def _keep(self, ranges: Sequence[ByteRange], data: dict[ByteRange, Any]) -> None:
        """Hold ranges that lie within those that were read."""
        merged = sorted(data)
        starts = np.array([start for start, _ in merged])
        held: dict[ByteRange, Any] = {}
        for start, stop in ranges:
            at = merged[int(np.searchsorted(starts, start, side="right")) - 1]
            held[start, stop] = data[at][start - at[0] : stop - at[0]]
        # Another dictionary each time: threads may be looking into the one that is there.
        self._held = {**(self._held or {}), **held}

    def drop(self, ranges: Iterable[ByteRange]) -> None:
        """Forget some of what is held."""
        gone = set(ranges)
        self._held = {r: data for r, data in (self._held or {}).items() if r not in gone}

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
