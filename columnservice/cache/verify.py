"""Finding what is damaged in a cache directory, and what no entry names, without stopping anyone.

diskcache's own ``check(fix=True)`` holds the write lock throughout and deletes files that another
process is just about to enter. Here nothing is locked while files are read, an entry is removed
only if it is still the one that was looked at, and young files are spared.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from columnservice.cache.disk import FILENAME, MODE_PIECE
from columnservice.cache.piecefile import check_piece
from columnservice.cache.shelf import Row, Shelf
from columnservice.errors import DamagedFile

log = logging.getLogger(__name__)

INCOMING = "incoming"
GRACE_SECONDS = 600.0
"""How old a file must be before it counts as left behind: longer than any writer takes between
finishing a file and entering it in the index."""


@dataclass(frozen=True)
class VerifyReport:
    """What `verify_entries` and `sweep` found and did.

    Attributes:
        checked: entries whose files were read in full.
        damaged_removed: entries among them that were damaged, and are gone.
        orphans_removed: files that no entry named, and that are gone.
    """

    checked: int
    damaged_removed: int
    orphans_removed: int

    @property
    def clean(self) -> bool:
        """Whether there was nothing to remove."""
        return not (self.damaged_removed or self.orphans_removed)


def verify_entries(shelf: Shelf, directory: Path) -> tuple[int, tuple[str, ...]]:
    """Read every entry's file in full and remove damaged entries.

    Returns:
        How many entries were checked, and the keys of those removed.
    """
    checked = 0
    removed = []
    for row in shelf.rows():
        checked += 1
        fault = _fault(row, directory)
        # An entry that was evicted or replaced meanwhile is no longer as found: not a fault.
        if fault and shelf.forget_row(row):
            log.warning("removed a damaged entry of the piece cache: %s", fault)
            removed.append(str(row.key))
    return checked, tuple(removed)


def _fault(row: Row, directory: Path) -> str:
    """What is wrong with an entry; empty if nothing is."""
    named = isinstance(row.filename, str) and FILENAME.fullmatch(row.filename)
    if row.raw != 1 or not isinstance(row.key, str) or row.mode != MODE_PIECE or not named:
        return f"entry {row.rowid} was not written by the piece cache"
    path = directory / row.filename
    try:
        piece = check_piece(path)
        size_bytes = path.stat().st_size
    except DamagedFile as error:
        return error.message
    except FileNotFoundError:
        return f"{path.name} vanished"
    if piece.key != row.key:
        return f"{path.name} holds the Piece {piece.key} and is entered as {row.key}"
    if size_bytes != row.size_bytes:
        return f"{path.name} has {size_bytes} bytes and is entered with {row.size_bytes}"
    return ""


def sweep(shelf: Shelf, directory: Path, grace_seconds: float) -> int:
    """Remove files that writers left behind: unfinished ones, and Pieces that no entry names.

    The files are listed before the entries are: a file that is entered in between is spared, and so
    is every file younger than the grace period. Files of other kinds are not ours to touch.

    Returns:
        How many files were removed.
    """
    born_before = time.time() - grace_seconds
    unfinished = [p for p in _files(directory / INCOMING) if _modified(p) < born_before]
    pieces = []
    for path in _files(directory):
        filename = path.relative_to(directory).as_posix()
        if FILENAME.fullmatch(filename) and _modified(path) < born_before:
            pieces.append(filename)
    named = shelf.filenames() if pieces else set()
    orphans = [filename for filename in pieces if filename not in named]
    for path in unfinished:
        path.unlink(missing_ok=True)
    for filename in orphans:
        shelf.disk.remove(filename)
    if unfinished or orphans:
        log.info("removed %d files left behind in %s", len(unfinished) + len(orphans), directory)
    return len(unfinished) + len(orphans)


def _files(directory: Path) -> Iterator[Path]:
    """All files below a directory, which others may be changing."""
    for folder, _, names in os.walk(directory):
        for name in names:
            if name.endswith(".arrow"):
                yield Path(folder, name)


def _modified(path: Path) -> float:
    """When a file was last written, in seconds since the epoch; never for one that is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
