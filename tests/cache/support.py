"""What the tests of the cache share: Pieces whose content follows from their number."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa

from columnservice.cache import PieceKey


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def key_of(number: int) -> PieceKey:
    return PieceKey(f"{number:032x}")


def truth(number: int, rows: int = 500) -> pa.RecordBatch:
    """The one right content of a Piece, made without any cache."""
    random = np.random.default_rng(number)
    columns = {
        "items": random.normal(size=rows),
        "flags": random.integers(0, 2, rows).astype(np.uint8),
    }
    return pa.record_batch(columns, metadata={"number": str(number)})


def same(batch: pa.RecordBatch | None, expected: pa.RecordBatch) -> bool:
    return batch is not None and batch.equals(expected, check_metadata=True)


def file_size(batch: pa.RecordBatch) -> int:
    """The size of a Piece's file, from an Arrow file with metadata of the same length."""
    metadata = {
        **(batch.schema.metadata or {}),
        b"columnservice.piece.key": b"0" * 32,
        b"columnservice.piece.xxh3": b"0" * 16,
    }
    sink = pa.BufferOutputStream()
    marked = batch.replace_schema_metadata(metadata)
    with pa.ipc.new_file(sink, marked.schema) as writer:
        writer.write_batch(marked)
    return sink.getvalue().size


def piece_files(directory: Path) -> list[Path]:
    """All Piece files that stand in the cache's directory, finished or not."""
    return sorted(directory.glob("**/*.arrow"))


def file_of(directory: Path, number: int) -> Path:
    """The file of an entry, found with SQLite alone."""
    connection = sqlite3.connect(directory / "cache.db")
    try:
        query = "SELECT filename FROM Cache WHERE key = ?"
        ((filename,),) = connection.execute(query, (key_of(number).text,))
    finally:
        connection.close()
    return directory / filename
