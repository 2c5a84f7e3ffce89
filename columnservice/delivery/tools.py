"""What a worker process keeps between tasks: open files, the cache, threads.

Knows none of the tasks.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from columnservice.cache.pieces import PieceCache
from columnservice.reader import FilePool


@dataclass(frozen=True)
class Tools:
    """What a worker process keeps between tasks.

    Attributes:
        pool: open files.
        pieces: the cache.
        index_dir: of EventIndexes and TakeIndexes.
        threads: where is decoded, gathered and written; what runs there waits for nothing. None: in
            the thread of the task.
        readers: where Files are read, which is mostly waiting. None: in the thread of the task, one
            after the other.
    """

    pool: FilePool
    pieces: PieceCache
    index_dir: Path
    threads: ThreadPoolExecutor | None = None
    readers: ThreadPoolExecutor | None = None


def take_path(index_dir: Path, digest: str) -> Path:
    """Where a TakeIndex is kept."""
    return index_dir / "takes" / digest[:2] / f"{digest}.arrow"
