"""The index of a cache directory: diskcache's tables and transactions, with eviction to the byte.

diskcache takes a fixed number of entries away when one is stored: too few when a large one arrives,
and too many when all are large. Here exactly as many go as the limit asks for, within the very
transaction that stores the new one. Added are batched touches and host-wide tallies.

Written for diskcache 5.6: `_transact`, `_sql`, `_con`, `_cull`, `_row_insert` and `_row_update` are
inner parts of it. Knows SQL and file names; neither PieceKeys nor what stands in the files.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import diskcache

from columnservice.cache.disk import Finished, PieceDisk

log = logging.getLogger(__name__)

TALLIES = ("hits", "misses", "evictions", "rejected", "damaged")
INDEX_TROUBLE = (sqlite3.Error, diskcache.Timeout)
"""What the methods of a Shelf raise when the index is locked for too long, full or unreadable."""
TIMEOUT_SECONDS = 20.0
"""How long a writer waits for other writers."""
READER_TIMEOUT_SECONDS = 1.0
"""How long a reader that found damage waits for them, to remove it."""
_EVICT_AT_ONCE = 64


class Row(NamedTuple):
    """An entry of the index, as found: nothing in it is to be believed."""

    rowid: int
    key: Any
    raw: Any
    mode: Any
    filename: Any
    size_bytes: Any


class Shelf(diskcache.Cache):  # type: ignore[misc]  # diskcache has no types
    """The index of one cache directory.

    Args:
        directory: where index and files are.
        limit_bytes: what the files may take together; the oldest stored go first.

    All methods raise one of `INDEX_TROUBLE` when the index cannot be read or written, or when other
    writers kept it for too long.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        super().__init__(
            str(directory),
            timeout=TIMEOUT_SECONDS,
            disk=PieceDisk,
            size_limit=limit_bytes,
            eviction_policy="least-recently-stored",
            statistics=0,
        )
        self._sql("CREATE TABLE IF NOT EXISTS Tally (name TEXT PRIMARY KEY, value INTEGER)")
        for name in TALLIES:
            self._sql("INSERT OR IGNORE INTO Tally VALUES (?, 0)", (name,))

    def enter(self, files: Mapping[str, tuple[Path, int]]) -> None:
        """Adopt complete Piece files, all of them in one transaction or none.

        Args:
            files: by key; a file and its size in bytes.

        Raises:
            OSError: one could not be adopted.
        """
        self._sql("SELECT 1")  # this thread can reach the index, so that it can give up too
        places = self.disk.filenames(len(files))
        try:
            self._enter(
                (key, Finished(path, size_bytes, place))
                for (key, (path, size_bytes)), place in zip(files.items(), places, strict=True)
            )
        except BaseException:
            # Where the index cannot even be read, the next sweep finds the files.
            with suppress(*INDEX_TROUBLE):
                self._abandon(places)
            raise

    def _enter(self, finished: Iterable[tuple[str, Finished]]) -> None:
        now = time.time()
        stored = [(self.disk.put(key), self.disk.store(file, False)) for key, file in finished]
        with self._transact() as (sql, cleanup):
            for (key, raw), (size_bytes, mode, filename, value) in stored:
                columns = (None, None, size_bytes, mode, filename, value)
                found = "SELECT rowid, filename FROM Cache WHERE key = ? AND raw = ?"
                rows = sql(found, (key, raw)).fetchall()
                if rows:
                    ((rowid, old),) = rows
                    cleanup(old)
                    self._row_update(rowid, now, columns)
                else:
                    self._row_insert(key, raw, now, columns)
            self._cull(now, sql, cleanup)

    def _cull(self, _now: float, sql: Any, cleanup: Callable[[Any], None], *_: Any) -> None:
        """Called within the transaction that stores items."""
        ((stored,),) = sql("SELECT value FROM Settings WHERE key = 'size'").fetchall()
        self._evict(sql, cleanup, stored - self.size_limit)

    def _evict(self, sql: Any, cleanup: Callable[[Any], None], excess_bytes: int) -> int:
        """Take the oldest entries away until that many bytes are freed; returns how many were."""
        freed = evicted = 0
        oldest = "SELECT rowid, filename, size FROM Cache ORDER BY store_time, rowid LIMIT ?"
        while freed < excess_bytes:
            rows = sql(oldest, (_EVICT_AT_ONCE,)).fetchall()
            if not rows:
                break
            for rowid, filename, size in rows:
                if freed >= excess_bytes:
                    break
                sql("DELETE FROM Cache WHERE rowid = ?", (rowid,))
                cleanup(filename)
                freed += size
                evicted += 1
        if evicted:
            sql("UPDATE Tally SET value = value + ? WHERE name = 'evictions'", (evicted,))
        return freed

    def free(self, excess_bytes: int) -> int:
        """Evict the oldest until that many bytes are freed; returns how many were."""
        with self._transact() as (sql, cleanup):
            return self._evict(sql, cleanup, excess_bytes)

    def remove_oldest_files(self, excess_bytes: int) -> None:
        """Make room for `free` on a disk so full that the index cannot be written."""
        self.recover()
        self._remove_files(self._oldest(excess_bytes))

    def _oldest(self, excess_bytes: int) -> Iterator[str]:
        """The files of the entries that `_evict` would take away."""
        for filename, size in self._sql(
            "SELECT filename, size FROM Cache ORDER BY store_time, rowid"
        ).fetchall():
            if excess_bytes <= 0:
                return
            excess_bytes -= size
            yield filename

    def _remove_files(self, filenames: Iterable[str]) -> None:
        """Remove files of entries that stay: they are damaged then, and so are misses."""
        for filename in filenames:
            self.disk.remove(filename)
        log.warning("the index of the piece cache cannot be written: files are removed without it")

    def usage(self) -> tuple[int, int]:
        """How many entries there are, and their bytes."""
        found = dict(self._sql("SELECT key, value FROM Settings WHERE key IN ('count', 'size')"))
        return found["count"], found["size"]

    def place_of(self, key: str) -> str | None:
        """The filename of the entry that stands under a key now, or None."""
        rows = self._sql("SELECT filename FROM Cache WHERE key = ? AND raw = 1", (key,)).fetchall()
        return rows[0][0] if rows else None

    def places_of(self, keys: Sequence[str]) -> dict[str, str]:
        """``place_of`` of some keys, as far as they stand there; waits for nobody."""
        marks = ", ".join("?" * len(keys))
        with self._patience(0):
            return dict(
                self._sql(
                    f"SELECT key, filename FROM Cache WHERE key IN ({marks}) AND raw = 1",  # noqa: S608
                    tuple(keys),
                )
            )

    def forget(self, key: str, filename: object) -> bool:
        """Remove an entry if its file is still that one; returns whether it was.

        A reader asks for this, so it does not wait for other writers for long.
        """
        with self._patience(READER_TIMEOUT_SECONDS), self._transact() as (sql, cleanup):
            gone = sql(
                "DELETE FROM Cache WHERE key = ? AND raw = 1 AND filename IS ?", (key, filename)
            ).rowcount
            return self._count_damage(sql, cleanup, gone, filename)

    def forget_row(self, row: Row) -> bool:
        """Remove an entry, whatever its key is, if it is still as found; returns whether it was."""
        with self._transact() as (sql, cleanup):
            gone = sql(
                "DELETE FROM Cache WHERE rowid = ? AND filename IS ?", (row.rowid, row.filename)
            ).rowcount
            return self._count_damage(sql, cleanup, gone, row.filename)

    @staticmethod
    def _count_damage(sql: Any, cleanup: Callable[[Any], None], gone: int, filename: Any) -> bool:
        if gone:
            cleanup(filename)
            sql("UPDATE Tally SET value = value + 1 WHERE name = 'damaged'")
        return bool(gone)

    def remove(self, keys: Sequence[str]) -> int:
        """Remove the entries of these keys in one transaction; returns how many there were.

        What must not be served again must go even when the index cannot be written: the files do.
        """
        try:
            with self._transact() as (sql, cleanup):
                removed = 0
                for key in keys:
                    cleanup(self.place_of(key))
                    removed += sql("DELETE FROM Cache WHERE key = ? AND raw = 1", (key,)).rowcount
                return removed
        except INDEX_TROUBLE:
            self.recover()
        places = [place for key in keys if (place := self.place_of(key)) is not None]
        self._remove_files(places)
        return len(places)

    def record(self, touches: Mapping[str, float], tallies: Mapping[str, int], wait: bool) -> bool:
        """Write down when entries were last used, and what was counted, in one transaction.

        A touch moves the time an entry was stored forward, never back, and is lost on an entry that
        is gone: batches of several processes may come in any order.

        Args:
            touches: key → time of last use, in seconds since the epoch.
            tallies: name → how many more.
            wait: whether to wait for other writers; False suits a reader.

        Returns:
            Whether it is written; if not, nothing of it is.
        """
        try:
            with self._patience(self.timeout if wait else 0), self._transact() as (sql, _):
                for key, used in touches.items():
                    sql(
                        "UPDATE Cache SET store_time = MAX(store_time, ?)"
                        " WHERE key = ? AND raw = 1",
                        (used, key),
                    )
                for name, more in tallies.items():
                    sql("UPDATE Tally SET value = value + ? WHERE name = ?", (more, name))
        except INDEX_TROUBLE:
            with suppress(*INDEX_TROUBLE):
                self.recover()
            return False
        return True

    @contextmanager
    def _patience(self, seconds: float) -> Iterator[None]:
        """Wait for other writers no longer than so many seconds, in this thread."""
        self._sql(f"PRAGMA busy_timeout = {int(1000 * seconds)}")
        try:
            yield
        finally:
            self._sql(f"PRAGMA busy_timeout = {int(1000 * self.timeout)}")

    def tallies(self) -> dict[str, int]:
        """What all processes have counted and written down since the cache was made."""
        return dict(self._sql("SELECT name, value FROM Tally"))

    def rows(self) -> Iterator[Row]:
        """All entries, a thousand at a time, so that no lock is held between them."""
        after = -sys.maxsize
        while True:
            found = self._sql(
                "SELECT rowid, key, raw, mode, filename, size FROM Cache"
                " WHERE rowid > ? ORDER BY rowid LIMIT 1000",
                (after,),
            ).fetchall()
            if not found:
                return
            yield from map(Row._make, found)
            after = found[-1][0]

    def filenames(self) -> set[str]:
        """The files that entries name."""
        return {filename for (filename,) in self._sql("SELECT filename FROM Cache")}

    def sound(self) -> bool:
        """Whether SQLite finds the index in order."""
        return bool(self._sql("PRAGMA quick_check(1)").fetchall() == [("ok",)])

    def recover(self) -> None:
        """Leave a transaction that a failed commit left open, so that the next one can begin."""
        if self._con.in_transaction:
            self._sql("ROLLBACK")

    def _abandon(self, filenames: Iterable[str]) -> None:
        """Remove files that were adopted, unless entries name them after all."""
        self.recover()
        for filename in filenames:
            if not self._sql("SELECT 1 FROM Cache WHERE filename = ?", (filename,)).fetchall():
                self.disk.remove(filename)
