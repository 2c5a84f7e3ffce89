"""The maps that a process holds open, each known to be there still to within ``recheck_seconds``.

Knows the index and the files that it names; neither what is counted nor how Pieces get there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa

from columnservice.cache.disk import Damaged
from columnservice.cache.maps import Clock, MapTable, OpenMap
from columnservice.cache.piece import PieceKey
from columnservice.cache.shelf import INDEX_TROUBLE, Shelf

log = logging.getLogger(__name__)

_LOOKS = 3


class HeldMaps:
    """Maps held open, and whether their entries and files are there still; safe with many threads.

    Args:
        shelf: the index of the cache.
        directory: what places in the index are relative to.
        most: how many maps to hold.
        recheck_seconds: how long a map is served without another look.
        clock: monotonic seconds.
    """

    def __init__(
        self, shelf: Shelf, directory: Path, most: int, recheck_seconds: float, clock: Clock
    ) -> None:
        self._shelf = shelf
        self._directory = directory
        self._recheck_seconds = recheck_seconds
        self._clock = clock
        self._maps = MapTable(most)

    def __len__(self) -> int:
        return len(self._maps)

    def batch_of(self, key: str) -> pa.RecordBatch | None:
        """The batch of a map held open, if its entry is known to be there still.

        Raises:
            INDEX_TROUBLE: the index cannot be read now.
        """
        held = self._maps.find(key)
        if held is None:
            return None
        now = self._clock()
        if now - held.checked_seconds >= self._recheck_seconds:
            there = self._shelf.place_of(key) == held.filename
            if not (there and (self._directory / held.filename).exists()):
                self._maps.forget([key])
                return None
            held.checked_seconds = now
        return held.batch

    def opened(self, key: str) -> pa.RecordBatch | None:
        """The batch of the file that the index names, held from now on; damage is removed.

        Raises:
            INDEX_TROUBLE: the index cannot be read or written now.
        """
        for _ in range(_LOOKS):
            generation, now = self._maps.generation, self._clock()
            found = self._shelf.get(key)
            if found is None:
                return None
            if not isinstance(found, Damaged) and found.key != key:
                found = Damaged(found.filename, f"{found.filename} holds the Piece {found.key}")
            if not isinstance(found, Damaged):
                self._maps.keep(key, OpenMap(found.batch, found.filename, now), generation)
                return found.batch
            if self._shelf.forget(key, found.filename):
                log.warning("removed a damaged entry of the piece cache: %s", found.reason)
                return None
            # Evicted or replaced between index and file: what stands there now may be sound.
        return None

    def all_of(self, keys: Iterable[PieceKey]) -> tuple[OpenMap, ...] | None:
        """The maps of all of these, if each is held and known to be there still."""
        now, found, old = self._clock(), [], {}
        for key in keys:
            held = self._maps.find(key.text)
            if held is None:
                return None
            found.append(held)
            if now - held.checked_seconds >= self._recheck_seconds:
                old[key.text] = held
        return tuple(found) if not old or self._are_there(old, now) else None

    def _are_there(self, maps: Mapping[str, OpenMap], now: float) -> bool:
        """Whether the entries and files of maps are there still; those that are not are let go."""
        try:
            places = self._shelf.places_of(tuple(maps))
        except INDEX_TROUBLE:
            return False  # who looks for them in earnest waits, and tells of it
        gone = [
            key
            for key, held in maps.items()
            if places.get(key) != held.filename or not (self._directory / held.filename).exists()
        ]
        if gone:
            self._maps.forget(gone)
            return False
        for held in maps.values():
            held.checked_seconds = now
        return True

    def forget(self, keys: Iterable[str]) -> None:
        """Give up the maps of these keys."""
        self._maps.forget(keys)

    def forget_all(self) -> None:
        """Give up every map."""
        self._maps.forget_all()

    def release(self) -> None:
        """Let go of maps whose files are gone: they would keep the disk space."""
        places = self._maps.places()
        gone = [key for key, filename in places if not (self._directory / filename).exists()]
        if gone:
            self._maps.forget(gone)
