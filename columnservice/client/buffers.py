"""Memory for large replies, used again when nothing refers to it any more.

A process that goes through its events chunk by chunk needs a buffer like the last one each time,
and new memory costs more than the copy into it: the system clears each page first, and on a virtual
machine may have to ask its host for it. The system may take what nobody uses whenever it is short
of memory; until then it counts as this process's. Knows sizes; nothing of what is put there.
"""

from __future__ import annotations

import mmap
import weakref
from collections import deque

import numpy as np

LEAST_BYTES = 1 << 20
"""Smaller ones are left to the C library, which keeps them itself."""
MOST_KEPT_BYTES = 512_000_000
"""What is kept unused."""
_MOST_TIMES = 2
"""A buffer serves what takes at least one part in so many of it."""


class Buffers:
    """Buffers that were used and may be used again; safe with many threads.

    Args:
        most_kept_bytes: what is kept while nobody uses it; the oldest go first.
    """

    def __init__(self, most_kept_bytes: int = MOST_KEPT_BYTES) -> None:
        self._most_kept_bytes = most_kept_bytes
        # Buffers come back whenever the last reference goes, in whatever a thread is doing then, so
        # nothing here may wait for a lock. Single methods of a deque cannot be interrupted; going
        # through it can.
        self._kept: deque[mmap.mmap] = deque()

    @property
    def kept_bytes(self) -> int:
        """What is kept unused."""
        return sum(map(len, self._kept.copy()))

    def place(self, size_bytes: int) -> memoryview:
        """Memory of this size with any bytes in it, until nothing refers to it or a part of it.

        Raises:
            MemoryError: there is not so much.
        """
        if size_bytes < LEAST_BYTES:
            return np.empty(size_bytes, np.uint8).data
        buffer = self._take(size_bytes) or _made(size_bytes)
        # No class of our own: the garbage collector would see it, and could call it dead before
        # what refers to it has been finalised, perhaps for another life.
        lent = np.frombuffer(buffer, np.uint8, size_bytes)
        weakref.finalize(lent, self._give_back, buffer).atexit = False
        return lent.data

    def _take(self, size_bytes: int) -> mmap.mmap | None:
        kept = self._kept.copy()
        fitting = [b for b in kept if size_bytes <= len(b) <= _MOST_TIMES * size_bytes]
        for buffer in sorted(fitting, key=len):
            try:
                self._kept.remove(buffer)
            except ValueError:  # another thread was faster
                continue
            return buffer
        return None

    def _give_back(self, buffer: mmap.mmap) -> None:
        if len(buffer) > self._most_kept_bytes or not _advised(buffer, "MADV_FREE"):
            return
        self._kept.append(buffer)
        while self.kept_bytes > self._most_kept_bytes:
            try:
                self._kept.popleft()
            except IndexError:
                break


def _made(size_bytes: int) -> mmap.mmap:
    """New memory, in large pages where the system has them: fewer faults, and faster to clear."""
    try:
        made = mmap.mmap(-1, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(str(error)) from None
    _advised(made, "MADV_HUGEPAGE")
    return made


def _advised(buffer: mmap.mmap, advice: str) -> bool:
    """Tell the system what is meant to happen to memory; returns whether it understands."""
    number = getattr(mmap, advice, None)
    if number is None:
        return False
    try:
        buffer.madvise(number)
    except OSError:  # Python knows the word, but not this system
        return False
    return True


BUFFERS = Buffers()
