"""Index files: one Arrow record batch per file, written whole, read by memory map, with a checksum.

A flipped bit in an index would move or hide an event, so a process that maps a file for the first
time reads all of it. Knows Arrow and the file system; not what an index means.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pyarrow as pa
import xxhash

from columnservice.alignment.tidy import UNFINISHED, note_use
from columnservice.errors import Unavailable

CHECKSUM = b"xxh3"
MOST_REMEMBERED = 100_000

_checked: dict[str, tuple[int, int]] = {}
_lock = threading.Lock()


def _checksum(batch: pa.RecordBatch) -> bytes:
    return xxhash.xxh3_64_hexdigest(memoryview(batch.serialize())).encode()


def write_arrow(path: Path, batch: pa.RecordBatch) -> None:
    """Write a batch so that readers see the whole file or none: beside, synced, then renamed."""
    marked = batch.replace_schema_metadata(
        {**(batch.schema.metadata or {}), CHECKSUM: _checksum(batch)}
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            with pa.ipc.new_file(file, marked.schema) as writer:
                writer.write_batch(marked)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Unavailable(
                f"The index {path.name} cannot be written: {error.strerror}.",
                "The operator must make room on the disk of the service's home.",
            ) from None
        raise


def open_arrow(path: Path) -> pa.RecordBatch | None:
    """The batch of a file, memory-mapped; None where the file is absent or damaged."""
    try:
        status = path.stat()
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batch = reader.get_batch(0)
        metadata = dict(batch.schema.metadata or {})
        told = metadata.pop(CHECKSUM)
        if not _is_checked(path, status):
            batch.validate(full=True)
            if _checksum(batch) != told:
                return None
            _remember(path, status)
    except (OSError, pa.ArrowException, LookupError):
        return None
    note_use(path)
    return batch.replace_schema_metadata(metadata or None)


def _is_checked(path: Path, status: os.stat_result) -> bool:
    with _lock:
        return _checked.get(str(path)) == (status.st_ino, status.st_size)


def _remember(path: Path, status: os.stat_result) -> None:
    with _lock:
        if len(_checked) >= MOST_REMEMBERED:
            _checked.clear()
        _checked[str(path)] = status.st_ino, status.st_size
