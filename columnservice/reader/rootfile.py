"""Open ROOT files: vector reads held in memory, identity checked, handles kept open.

Opening costs tens of milliseconds on a local network and hundreds across an ocean, so a pool keeps
files open. One pool belongs to one thread. Knows no baskets, no columns, no joins.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import uproot
from uproot.source.chunk import Chunk

from columnservice.errors import ColumnServiceError, DamagedFile, FileChanged, Unreachable
from columnservice.model import FileIdentity, FileLocation
from columnservice.reader.faults import another_replica_may_help, fault
from columnservice.reader.progress import tick
from columnservice.reader.replicas import configure_xrootd, is_remote

configure_xrootd()

ByteRange = tuple[int, int]

# Ranges closer than this are read as one: a gap costs less than another element of a vector read.
COALESCE_GAP_BYTES = 8192


def coalesce(ranges: Sequence[ByteRange], gap_bytes: int = COALESCE_GAP_BYTES) -> list[ByteRange]:
    """The fewest ranges that cover the given ones, joining those at most ``gap_bytes`` apart.

    Args:
        ranges: (start, stop) pairs in any order; overlaps and repetitions are allowed.
        gap_bytes: the largest hole that is read along.
    """
    merged: list[ByteRange] = []
    for start, stop in sorted(ranges):
        if merged and start - merged[-1][1] <= gap_bytes:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


class HeldReads:
    """Adds to an uproot source: byte ranges fetched in one vector read, then served from memory."""

    _held: dict[ByteRange, Any] | None = None

    def hold(self, ranges: Sequence[ByteRange]) -> int:
        """Fetch ranges in one request and keep them until ``release``; returns the bytes read."""
        merged = coalesce(ranges)
        if not merged:
            self._held = {}
            return 0
        arrived: queue.Queue[Chunk] = queue.Queue()
        super().chunks(merged, arrived)  # type: ignore[misc]
        data = {}
        for _ in merged:
            block = arrived.get()
            data[block.start, block.stop] = block.raw_data
            tick()
        starts = np.array([start for start, _ in merged])
        held = {}
        for start, stop in ranges:
            at = merged[int(np.searchsorted(starts, start, side="right")) - 1]
            held[start, stop] = data[at][start - at[0] : stop - at[0]]
        self._held = held
        return sum(stop - start for start, stop in merged)

    def release(self) -> None:
        """Forget what is held."""
        self._held = None

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


@dataclass
class OpenTree:
    """An open file and, by name, its event tree.

    Attributes:
        location: what was asked for.
        url: the replica that answered.
        directory: uproot's view of the file.
        identity, mtime_seconds: what the storage and the file itself say.
        opened_seconds: monotonic time of opening.
    """

    location: FileLocation
    url: str
    directory: Any
    identity: FileIdentity
    mtime_seconds: int
    opened_seconds: float = field(default_factory=time.monotonic)

    @cached_property
    def tree(self) -> Any:
        """The uproot TTree named by the location, read once."""
        return self.directory[self.location.tree]

    @property
    def source(self) -> Any:
        """The uproot source, with ``hold`` and ``release``."""
        return self.directory.file.source

    def close(self) -> None:
        """Close the file; a server that is gone does not matter any more."""
        with contextlib.suppress(OSError):
            self.directory.close()


def _stat(directory: Any, url: str) -> tuple[int, int]:
    """Size in bytes and modification time in seconds, as the storage tells them."""
    if not is_remote(url):
        status = os.stat(url)  # noqa: PTH116 (a path as text)
        return status.st_size, int(status.st_mtime)
    status, info = directory.file.source.resource.file.stat(timeout=20)
    if status.error:
        raise OSError(f"XRootD error: {status.message}")
    return int(info.size), int(info.modtime)


def open_replica(location: FileLocation, url: str) -> OpenTree:
    """Open one replica of a file and check that it is the file that was registered.

    Raises:
        FileChanged: its UUID or size is not the registered one.
        FileError, TransportError, NotAllowed: it cannot be opened.
    """
    handler = HeldXRootD if is_remote(url) else HeldFile
    directory = None
    try:
        directory = uproot.open(url, handler=handler, object_cache=None, array_cache=None)
        size_bytes, mtime_seconds = _stat(directory, url)
        identity = FileIdentity(str(directory.file.uuid), size_bytes)
        end = int(directory.file.fEND)
        if size_bytes < end:
            raise DamagedFile(
                f"{location.lfn} at {url} is truncated: it has {size_bytes} of {end} bytes.",
                "Copy the file again; the other files are not affected.",
            )
    except Exception as error:
        if directory is not None:
            directory.close()
        raise fault(error, location.lfn, url) from None
    if location.identity is not None and identity != location.identity:
        directory.close()
        raise FileChanged(
            f"{location.lfn} at {url} is not the file that was registered: "
            f"UUID {identity.uuid} and {identity.size_bytes} bytes instead of "
            f"{location.identity.uuid} and {location.identity.size_bytes}."
        )
    tick()
    return OpenTree(location, url, directory, identity, mtime_seconds)


class FilePool:
    """Files kept open, the least recently used closed first; for one thread.

    Args:
        open_files: how many stay open.
        reopen_seconds: a remote file open for longer is opened anew, so that a replaced file is
            noticed; local files are looked at each time.
    """

    def __init__(self, open_files: int = 64, reopen_seconds: float = 60.0) -> None:
        self._open_files = open_files
        self._reopen_seconds = reopen_seconds
        self._trees: OrderedDict[tuple[str, str], OpenTree] = OrderedDict()

    def _still_good(self, held: OpenTree) -> bool:
        if is_remote(held.url):
            return time.monotonic() - held.opened_seconds < self._reopen_seconds
        try:
            now = _stat(held.directory, held.url)
        except OSError:
            return False
        return now == (held.identity.size_bytes, held.mtime_seconds)

    def _take(self, location: FileLocation, url: str) -> OpenTree:
        key = (url, location.tree)
        held = self._trees.get(key)
        if held is not None:
            self._trees.move_to_end(key)
            same = location.identity in (None, held.identity)
            if same and self._still_good(held):
                return held
            self._trees.pop(key).close()
        opened = open_replica(location, url)
        self._trees[key] = opened
        while len(self._trees) > self._open_files:
            self._trees.popitem(last=False)[1].close()
        return opened

    def discard(self, opened: OpenTree) -> None:
        """Close a file that gave trouble, so that the next reader opens it anew."""
        self._trees.pop((opened.url, opened.location.tree), None)
        opened.close()

    def replicas(self, location: FileLocation) -> Iterator[OpenTree]:
        """The open file at one replica after another; the caller stops at the first that serves.

        Raises:
            ColumnServiceError: the last failure, when no replica could be opened.
        """
        failures: list[ColumnServiceError] = []
        for url in location.replicas:
            try:
                opened = self._take(location, url)
            except ColumnServiceError as error:
                if not (another_replica_may_help(error) or isinstance(error, FileChanged)):
                    raise
                failures.append(error)
                continue
            yield opened
        raise failures[-1] if failures else Unreachable(f"No replica of {location.lfn} is known.")

    @contextlib.contextmanager
    def tree(self, location: FileLocation) -> Iterator[OpenTree]:
        """The file, open at its first replica that answers."""
        yield next(self.replicas(location))

    def close(self) -> None:
        """Close all files."""
        while self._trees:
            self._trees.popitem()[1].close()
