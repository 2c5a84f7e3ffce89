"""What a Piece is called, and how a cache of them is doing. Values only: no files, no index."""

from __future__ import annotations

import re
from dataclasses import dataclass

from columnservice.errors import RequestError

_KEY = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True)
class PieceKey:
    """The name of a Piece: a hash of all that decides its content, in lower-case hexadecimal.

    Raises:
        RequestError: not 16 to 64 digits out of 0 to 9 and a to f.
    """

    text: str

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.text):
            raise RequestError(
                f"{self.text[:80]!r} is no piece key.", "A key is 16 to 64 digits 0-9 and a-f."
            )


@dataclass(frozen=True)
class CacheStats:
    """How a cache is doing; counts are of all processes since the cache was made.

    Attributes:
        entries, size_bytes: what is in it now, and the size of the files.
        limit_bytes: what the files may take together.
        hits, misses: lookups answered and not answered by ``get``.
        evictions: entries taken away to make room.
        rejected: batches not admitted: too large, or the disk or the index refused them.
        damaged: entries found damaged and removed.
    """

    entries: int
    size_bytes: int
    limit_bytes: int
    hits: int
    misses: int
    evictions: int
    rejected: int
    damaged: int
