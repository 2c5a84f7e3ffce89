"""Index files: one Arrow record batch per file, written whole, read by memory map.

Knows Arrow and the file system; not what an index means.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pyarrow as pa

from columnservice.alignment.tidy import note_use
from columnservice.errors import Unavailable


def write_arrow(path: Path, batch: pa.RecordBatch) -> None:
    """Write a batch so that readers see the whole file or none: beside, synced, then renamed."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            with pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
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
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batch = reader.get_batch(0)
        batch.validate(full=False)
        note_use(path)
    except (OSError, pa.ArrowException, IndexError):
        return None
    return batch
