"""Opening the index of a cache directory, by one process at a time, anew where it is damaged.

Knows files and the index; no Pieces.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from columnservice.cache.shelf import Shelf

log = logging.getLogger(__name__)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep others from opening the same directory; the kernel lets go if this process is killed."""
    with (directory / "opening.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def open_shelf(directory: Path, limit_bytes: int, check: bool) -> Shelf:
    """Open or make the index of an existing directory, and cut it down to the limit.

    An index that SQLite cannot read is begun anew: it is only a cache, and the files that it named
    are swept up as orphans.

    Args:
        check: whether to let SQLite look through all of the index.
    """
    with _alone(directory):
        try:
            shelf = Shelf(directory, limit_bytes)
            reason = "" if not check or shelf.sound() else "its pages are damaged"
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, full, not writable
                raise
            reason = str(error)
        if reason:
            log.warning("the index of the piece cache in %s begins anew: %s", directory, reason)
            for path in directory.glob("cache.db*"):
                path.unlink(missing_ok=True)
            shelf = Shelf(directory, limit_bytes)
        stored_bytes = shelf.usage()[1]
        if stored_bytes > limit_bytes:
            shelf.free(stored_bytes - limit_bytes)
        return shelf
