"""Pieces of one task: written one by one by any threads, entered into the index together.

Each transaction waits for those of other threads and processes, so a task has as few as it can.
Knows files and how much may wait; neither the index nor what it evicts.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from columnservice.cache.piece import PieceKey
from columnservice.cache.piecefile import write_piece

MOST_WAITING_BYTES = 32_000_000
"""What is written and not entered can be neither used nor evicted: from here on, or from what one
Piece may have if that is less, it is entered."""


@dataclass(frozen=True)
class Laid:
    """A Piece whose file is complete, beside the index.

    Attributes:
        key: what it shall be found by.
        path, size_bytes: of the file.
        batch: what was written.
    """

    key: PieceKey
    path: Path
    size_bytes: int
    batch: pa.RecordBatch


Enter: TypeAlias = Callable[[Sequence[Laid]], str]
"""Enters all of them or none; returns why not, or nothing."""


class Writing:
    """Pieces on their way into a cache; close it whatever happens.

    Args:
        incoming: directory for files that are being written, on the disk of the cache.
        largest_bytes: no Piece may be larger.
        enter: enters complete ones.
        refused: told of each that is not kept, with the reason.

    Attributes:
        unkept: Pieces that are not kept. They are too large, the disk is full, or the index cannot
            be written; nothing is left behind of them.
    """

    def __init__(
        self,
        incoming: Path,
        largest_bytes: int,
        enter: Enter,
        refused: Callable[[PieceKey, str], None],
    ) -> None:
        self.unkept: dict[PieceKey, pa.RecordBatch] = {}
        self._incoming, self._largest_bytes = incoming, largest_bytes
        self._enter, self._refused = enter, refused
        self._most_waiting_bytes = min(MOST_WAITING_BYTES, largest_bytes)
        self._waiting: list[Laid] = []
        self._closed = False
        self._lock = threading.Lock()
        self._entering = threading.Lock()

    def write(self, key: PieceKey, batch: pa.RecordBatch) -> None:
        """Write a Piece, which takes the place of what stands under its key when it is entered.

        One that is complete only after ``close`` is given up.
        """
        too_large = f"it is larger than {self._largest_bytes} bytes"
        if pa.ipc.get_record_batch_size(batch) > self._largest_bytes:
            self._refuse(key, batch, too_large)
            return
        path = self._incoming / f"{uuid.uuid4().hex}.arrow"
        reason, size_bytes, complete = too_large, 0, False
        try:
            size_bytes = write_piece(path, key.text, batch)
            complete = size_bytes <= self._largest_bytes
        except OSError as error:
            reason = str(error)
        finally:
            if not complete:
                _remove([path])
        if not complete:
            self._refuse(key, batch, reason)
            return
        with self._lock:
            late = self._closed
            if not late:
                self._waiting.append(Laid(key, path, size_bytes, batch))
            waiting_bytes = sum(laid.size_bytes for laid in self._waiting)
        if late:
            _remove([path])
        elif waiting_bytes >= self._most_waiting_bytes:
            self.enter()

    def enter(self) -> None:
        """Enter all that is complete."""
        with self._entering:
            laid = self._take()
            if not laid:
                return
            try:
                reason = self._enter(laid)
            finally:
                _remove([one.path for one in laid])  # those that were not adopted
            for one in laid if reason else ():
                self._refuse(one.key, one.batch, reason)

    def close(self) -> None:
        """Give up what is not entered, and what other threads are writing still."""
        with self._lock:
            self._closed = True
        _remove([one.path for one in self._take()])

    def _take(self) -> list[Laid]:
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken

    def _refuse(self, key: PieceKey, batch: pa.RecordBatch, reason: str) -> None:
        self.unkept[key] = batch
        self._refused(key, reason)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)
