"""Keeping the indexes within their limit: those go first that nobody used for longest.

EventIndexes and TakeIndexes are small beside Pieces and dear to make anew, so they have a limit of
their own and are evicted last. A map of a file that is removed stays valid. Knows files and times;
not what an index means.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Begins the names of files that are being written; what a killed process left is swept up.
UNFINISHED = ".new-"
# What was used so lately may be about to be used again: a task may stand between two looks at it.
SPARED_SECONDS = 3600.0
TIDY_SECONDS = 600.0
# A use is written down as the file's time, but not every time.
NOTED_SECONDS = 900.0


def note_use(path: Path, now_seconds: Callable[[], float] = time.time) -> None:
    """Write down that an index is used; that it cannot be written down does no harm."""
    with contextlib.suppress(OSError):
        if now_seconds() - path.stat().st_mtime > NOTED_SECONDS:
            os.utime(path)


@dataclass(frozen=True)
class _Index:
    path: Path
    size_bytes: int
    used_seconds: float


def _indexes(directory: Path) -> list[_Index]:
    found = []
    for path in directory.glob("**/*.arrow"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append(_Index(path, status.st_size, status.st_mtime))
    return found


class Indexes:
    """The directory of all indexes.

    Args:
        directory: where they are.
        limit_bytes: what they may take together.
        now_seconds: the wall clock, with which file times are compared.
    """

    def __init__(
        self, directory: Path, limit_bytes: int, now_seconds: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._now_seconds = now_seconds
        self._lock = threading.Lock()
        self._tidied_seconds = -TIDY_SECONDS
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """What all indexes took when it was last looked."""
        return self._size_bytes

    def _sweep(self, now_seconds: float) -> int:
        """Remove what was never finished; returns how many files that were."""
        removed = 0
        for path in self._directory.glob(f"**/{UNFINISHED}*"):
            with contextlib.suppress(FileNotFoundError):
                if now_seconds - path.stat().st_mtime > SPARED_SECONDS:
                    path.unlink()
                    removed += 1
        return removed

    def tidy(self) -> int:
        """Remove the longest unused beyond the limit, but for what was used lately.

        Looks once in a while only, however often it is asked.

        Returns:
            how many files were removed.
        """
        with self._lock:
            now = self._now_seconds()
            if now - self._tidied_seconds < TIDY_SECONDS:
                return 0
            self._tidied_seconds = now
            found = sorted(_indexes(self._directory), key=lambda index: index.used_seconds)
            self._size_bytes = sum(index.size_bytes for index in found)
            removed = self._sweep(now)
            for index in found:
                spared = now - index.used_seconds < SPARED_SECONDS
                if self._size_bytes <= self._limit_bytes or spared:
                    break
                index.path.unlink(missing_ok=True)
                self._size_bytes -= index.size_bytes
                removed += 1
            return removed
