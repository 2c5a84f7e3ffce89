"""The cache of Pieces of one host: record batches under content-addressed keys, mapped on read.

Many threads and many processes may use one directory at once. The rules:

* A Piece is written beside the index and adopted by rename, so nothing half-written is ever seen.
* Anything damaged is a miss, and is removed. Trouble with the disk or the index is a miss, or a
  ``put`` that returns False and leaves nothing behind; it never fails a request.
* The least recently stored go first when the limit is reached. A use counts as storing, but is
  written down in batches, so the order is right to within ``touch_seconds``.
* A batch that was handed out stays valid whatever happens to its entry: the map outlives the file.
* A dropped entry is not served again: at once in the process that dropped it, and after at most
  ``recheck_seconds`` in others.

Knows Arrow batches and keys; neither what the columns mean nor how they are made.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from columnservice.cache.held import HeldMaps
from columnservice.cache.maps import Clock, Ledger, OpenMap
from columnservice.cache.opening import open_shelf
from columnservice.cache.piece import CacheStats, PieceKey
from columnservice.cache.shelf import INDEX_TROUBLE
from columnservice.cache.verify import GRACE_SECONDS, INCOMING, VerifyReport, sweep, verify_entries
from columnservice.cache.writing import Laid, Writing
from columnservice.errors import SetupError, Unavailable

log = logging.getLogger(__name__)

LARGEST_SHARE = 10
"""An item may take one part in this many of the limit."""


class PieceCache:
    """The Pieces under one directory; open one in each process, share it between threads.

    Args:
        directory: made with mode 0700 if it is not there; on a local disk of this host.
        limit_bytes: what the Piece files may take together; an item over a tenth of it is refused.
        sweep: whether to look for damage of the index and for files left behind on opening. The
            service does, its workers need not.
        open_maps: how many maps to hold open in this process.
        recheck_seconds: how long a held map is served without looking whether its entry and its
            file are still there.
        touch_seconds, touch_entries: uses are written down after so long or so many.
        clock: monotonic seconds.

    Raises:
        SetupError: the directory or the index in it cannot be made or written.
    """

    def __init__(
        self,
        directory: Path,
        limit_bytes: int,
        *,
        sweep: bool = True,
        open_maps: int = 4096,
        recheck_seconds: float = 1.0,
        touch_seconds: float = 10.0,
        touch_entries: int = 256,
        clock: Clock = time.monotonic,
    ) -> None:
        self.directory = directory.absolute()
        if os.path.expandvars(self.directory) != str(self.directory):  # diskcache would expand it
            raise SetupError(
                f"The piece cache cannot be in {self.directory}: '$' in it names a variable.",
                "Choose a home without '$' in its path (COLUMNSERVICE_HOME).",
            )
        self.limit_bytes = limit_bytes
        self._ledger = Ledger(touch_seconds, touch_entries, clock)
        self._writing_down = threading.Lock()
        self._incoming = self.directory / INCOMING
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            self.directory.chmod(0o700)
            self._shelf = open_shelf(self.directory, limit_bytes, check=sweep)
        except (OSError, *INDEX_TROUBLE) as error:
            raise SetupError(
                f"The piece cache in {self.directory} cannot be opened: {error}.",
                "Choose a home on a local disk that this user can write (COLUMNSERVICE_HOME).",
            ) from None
        self._held = HeldMaps(self._shelf, self.directory, open_maps, recheck_seconds, clock)
        if sweep:
            self.sweep_orphans()

    def get(self, key: PieceKey) -> pa.RecordBatch | None:
        """The batch under a key, as it was put, over a mapped file; None if there is none.

        A damaged entry is removed and is a miss, and so is an index that cannot be read. Columns
        are read-only views of the map; the batch may be kept for as long as one likes.
        """
        batch = None
        try:
            batch = self._held.batch_of(key.text)
            if batch is None:
                batch = self._held.opened(key.text)
        except INDEX_TROUBLE as error:
            self._shelf_trouble(f"cannot look up {key.text}", error)
        if batch is None:
            self._ledger.count("misses")
        else:
            self._ledger.touch(key.text)
        self._write_down_if_due()
        return batch

    def at_hand(self, keys: Iterable[PieceKey]) -> bool:
        """Whether ``get`` would find all of these now at once, waiting for nobody."""
        return self.held(keys) is not None

    def held(self, keys: Iterable[PieceKey]) -> tuple[OpenMap, ...] | None:
        """The maps of all of these, if they are at hand; this counts as no use.

        Who keeps a map keeps the disk space of its file.
        """
        return self._held.all_of(keys)

    def used(self, keys: Iterable[PieceKey]) -> None:
        """Note the use of entries by who had no need to ``get`` them again."""
        for key in keys:
            self._ledger.touch(key.text)
        self._write_down_if_due()

    def _write_down_if_due(self) -> None:
        if self._ledger.due():
            self._write_down(wait=False)
            self._held.release()

    def put(self, key: PieceKey, batch: pa.RecordBatch) -> bool:
        """Keep a batch under a key, in place of what was there.

        Returns:
            Whether it was kept. False: it is larger than a tenth of the limit, the disk is full, or
            the index cannot be written; nothing is left behind, and the log says why.
        """
        with self.writing() as writing:
            writing.write(key, batch)
        return not writing.unkept

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Keep batches together: what was written is there when the context ends without error."""
        largest_bytes = self.limit_bytes // LARGEST_SHARE
        writing = Writing(self._incoming, largest_bytes, self._enter, self._rejected)
        try:
            yield writing
            writing.enter()
        finally:
            writing.close()

    def _enter(self, laid: Sequence[Laid]) -> str:
        try:
            # What was used here must not be evicted as if it had not been.
            self._write_down(wait=True)
            self._shelf.enter({one.key.text: (one.path, one.size_bytes) for one in laid})
        except OSError as error:
            return str(error)
        except INDEX_TROUBLE as error:
            return f"the index cannot be written: {error!r}"
        self._held.forget(one.key.text for one in laid)
        return ""

    def _rejected(self, key: PieceKey, reason: str) -> None:
        self._ledger.count("rejected")
        log.warning("Piece %s is not cached: %s", key.text, reason)

    def contains(self, key: PieceKey) -> bool:
        """Whether there is an entry under a key now; one look into the index, no file is opened."""
        try:
            return self._shelf.place_of(key.text) is not None
        except INDEX_TROUBLE as error:
            self._shelf_trouble(f"cannot look up {key.text}", error)
            return False

    def drop(self, keys: Iterable[PieceKey]) -> int:
        """Remove entries, because they must not be served again; returns how many there were.

        When the index cannot be written, their files are removed all the same.

        Raises:
            Unavailable: the index cannot even be read; the entries may still be there.
        """
        texts = [key.text for key in keys]
        try:
            with self._index_needed("drop entries"):
                return self._shelf.remove(texts)
        finally:
            self._held.forget(texts)

    def evict(self, size_bytes: int | None = None) -> int:
        """Evict the least recently stored until so many bytes are freed, or everything.

        Returns:
            The size of the files removed, in bytes. Disk space that other processes have mapped is
            free once they let go of it, after at most their ``touch_seconds`` of activity.

        Raises:
            Unavailable: the index cannot be written now, not even after files were removed.
        """
        self._write_down(wait=True)
        excess_bytes = sys.maxsize if size_bytes is None else size_bytes
        with self._index_needed("evict entries"):
            try:
                freed_bytes = self._shelf.free(excess_bytes)
            except sqlite3.OperationalError:  # the disk is full: the index needs room to shrink
                self._shelf.remove_oldest_files(excess_bytes)
                self._held.release()
                freed_bytes = self._shelf.free(excess_bytes)
        self._held.release()
        return freed_bytes

    def stats(self) -> CacheStats:
        """How the cache is doing, with what this process has not written down yet.

        Raises:
            Unavailable: the index cannot be read now.
        """
        with self._index_needed("read its statistics"):
            entries, size_bytes = self._shelf.usage()
            counts = self._shelf.tallies()
        for name, more in self._ledger.tallies().items():
            counts[name] += more
        return CacheStats(entries, size_bytes, self.limit_bytes, **counts)

    def verify(self, grace_seconds: float = GRACE_SECONDS) -> VerifyReport:
        """Read every file in full, remove what is damaged, and sweep up files left behind.

        Others may go on reading and writing meanwhile.

        Args:
            grace_seconds: younger files that no entry names may be about to be entered: they stay.

        Raises:
            Unavailable: the index cannot be read or written now.
        """
        with self._index_needed("be verified"):
            checked, removed = verify_entries(self._shelf, self.directory)
            self._held.forget(removed)
            orphans = sweep(self._shelf, self.directory, grace_seconds)
        return VerifyReport(checked, len(removed), orphans)

    def sweep_orphans(self, grace_seconds: float = GRACE_SECONDS) -> int:
        """Remove files that killed writers left behind; returns how many.

        Raises:
            Unavailable: the index cannot be read now.
        """
        with self._index_needed("be swept"):
            return sweep(self._shelf, self.directory, grace_seconds)

    def close(self) -> None:
        """Write down what was counted, let go of all maps, and close this thread's connection."""
        self._write_down(wait=True)
        self._held.forget_all()
        self._shelf.close()

    def _write_down(self, wait: bool) -> None:
        """Move the ledger into the index; a reader does not wait for writers, and tries later."""
        if not self._writing_down.acquire(blocking=wait):
            return
        try:
            touches, tallies = self._ledger.take()
            if (touches or tallies) and not self._shelf.record(touches, tallies, wait):
                self._ledger.give_back(touches, tallies)
        finally:
            self._writing_down.release()

    @contextmanager
    def _index_needed(self, doing: str) -> Iterator[None]:
        try:
            yield
        except INDEX_TROUBLE as error:
            self._shelf_trouble(f"cannot {doing}", error)
            raise Unavailable(f"The piece cache cannot {doing} now: {error!r}.") from None

    def _shelf_trouble(self, what: str, error: Exception) -> None:
        log.warning("piece cache %s: %r", what, error)
        with suppress(*INDEX_TROUBLE):
            self._shelf.recover()
