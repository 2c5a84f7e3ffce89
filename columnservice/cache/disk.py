"""What may stand in diskcache's index: string keys and finished Piece files, nothing else.

Values are adopted by rename and fetched as maps. diskcache's own ways to store other things (pickle
among them, CVE-2025-69872) are refused when writing and when reading, so that a tampered index
cannot make this process run anything, nor touch a file that is no Piece.

Knows file names and diskcache's modes; no SQL and no PieceKey.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import diskcache
import pyarrow as pa

from columnservice.cache.piecefile import check_piece
from columnservice.errors import DamagedFile

MODE_PIECE = 5
"""diskcache numbers the kinds of values 0 to 4; ours is none of them."""
FILENAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.arrow")
_ADOPT_ATTEMPTS = 10


class Finished(NamedTuple):
    """A value to store: a complete Piece file beside the index, and the place it shall go to."""

    path: Path
    size_bytes: int
    filename: str


class Mapped(NamedTuple):
    """A value as fetched: the key found inside the file, and a batch over the mapped file."""

    key: str
    batch: pa.RecordBatch
    filename: str


class Damaged(NamedTuple):
    """An entry whose value cannot be served; what diskcache would have raised or run instead."""

    filename: object
    reason: str


class PieceDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """What may stand in the index: string keys and Piece files, nothing else."""

    def put(self, key: object) -> tuple[str, bool]:
        """The key as it stands in the index; only strings do."""
        if type(key) is not str:
            raise TypeError(f"a cache key is a str, not {type(key).__name__}")
        return key, True

    def get(self, key: object, raw: object) -> str:
        """The key that an entry stands under; a pickled one is never loaded."""
        if not raw or type(key) is not str:
            raise TypeError("this entry's key was not written by the piece cache")
        return key

    def filename(self, *_: object) -> tuple[str, str]:
        """A fresh random place for a file: below the cache's directory, and as a whole path."""
        name, _ = super().filename()
        filename = Path(name).with_suffix(".arrow").as_posix()
        return filename, str(Path(self._directory) / filename)

    def filenames(self, number: int) -> list[str]:
        """Fresh places for files that are stored together, in one directory."""
        found = [Path(self.filename()[0]) for _ in range(number)]
        return [(found[0].parent / one.name).as_posix() for one in found]

    def store(self, value: object, read: bool, **_: object) -> tuple[int, int, str | None, None]:
        """Adopt a `Finished` file by renaming it to its place.

        Another process that empties a directory removes it, perhaps between its making and the
        rename: both are done again then.
        """
        if not isinstance(value, Finished) or read:
            raise TypeError(f"a cached value is a finished Piece, not {type(value).__name__}")
        place = Path(self._directory) / value.filename
        for attempt in range(_ADOPT_ATTEMPTS):
            with suppress(FileExistsError, FileNotFoundError):
                place.parent.mkdir(parents=True)
            try:
                value.path.rename(place)
                break
            except FileNotFoundError:
                if attempt == _ADOPT_ATTEMPTS - 1:
                    raise
        return value.size_bytes, MODE_PIECE, value.filename, None

    def fetch(self, mode: object, filename: object, *_: object) -> Mapped | Damaged:
        """Map an entry's file, or say why it cannot be served; all of it is read and checked.

        A process keeps its maps, so that a Piece is checked once by each and not by each request.

        Raises:
            OSError: this process cannot map it now, which says nothing against the entry.
        """
        if not isinstance(filename, str) or mode != MODE_PIECE or not FILENAME.fullmatch(filename):
            return Damaged(filename, "it was not written by the piece cache")
        try:
            piece = check_piece(Path(self._directory) / filename)
        except DamagedFile as error:
            return Damaged(filename, error.message)
        return Mapped(piece.key, piece.batch, filename)

    def remove(self, file_path: object) -> None:
        """Remove a Piece's file and the directories that it leaves empty; nothing but a Piece."""
        if isinstance(file_path, str) and FILENAME.fullmatch(file_path):
            super().remove(file_path)
