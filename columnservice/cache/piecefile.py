"""One Piece as one Arrow IPC file: written once, mapped on read, checked byte by byte on demand.

The file format (https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format) is the magic
``ARROW1`` padded to eight bytes, then exactly an Arrow stream (schema message, record batch
message, end marker), then a footer that repeats the schema. Two entries of the schema's metadata
are ours: the Piece's key, compared on every open, and a checksum over every message after the
schema, compared by `check_piece` only. They are taken away again before a batch is handed out.

Knows files and Arrow; nothing of keys' meaning, of an index, or of eviction.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import xxhash

from columnservice.errors import DamagedFile
from columnservice.wire import Written

KEY_ENTRY = b"columnservice.piece.key"
CHECKSUM_ENTRY = b"columnservice.piece.xxh3"
_CONTINUATION = b"\xff\xff\xff\xff"
"""Stands before the length of every message of the stream."""
MAGIC_BYTES = 8
"""Length of the padded magic before the stream part of an Arrow file."""

# What the process or its account lacks says nothing about the file.
_NOT_THE_FILE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EINTR}
# A cache is one host's: bytes are in its order, and a flipped flag must not make Arrow swap them.
_READ = pa.ipc.IpcReadOptions(use_threads=False, ensure_native_endian=False)


class Piece(NamedTuple):
    """What a file holds: the key that it was written under, and a batch over the mapped file."""

    key: str
    batch: pa.RecordBatch


def write_piece(path: Path, key: str, batch: pa.RecordBatch) -> int:
    """Write a batch as a new file.

    Args:
        path: where to; a file of that name is overwritten.
        key: the Piece's key, kept in the schema's metadata.
        batch: any record batch; the two metadata entries of this module are overwritten.

    Returns:
        The size of the file in bytes.

    Raises:
        OSError: the disk is full, or the directory cannot be written; an incomplete file remains.
    """
    metadata = dict(batch.schema.metadata or {})
    metadata[KEY_ENTRY] = key.encode()
    metadata[CHECKSUM_ENTRY] = _checksum_in_memory(batch)
    marked = batch.replace_schema_metadata(metadata)
    with pa.OSFile(str(path), "wb") as sink:
        with pa.ipc.new_file(sink, marked.schema) as writer:
            writer.write_batch(marked)
        return int(sink.tell())


def open_piece(path: Path) -> Piece:
    """Map a file; its columns are views of the map, which lives as long as any of them.

    The file's descriptor is closed on return, so open Pieces cost no descriptors. The map stays
    valid when the file is removed (POSIX).

    Raises:
        DamagedFile: the file is missing, truncated, or not as `write_piece` leaves it.
        OSError: this process cannot map it now (out of descriptors or memory, no permission).
    """
    return _mapped(path, checked=False)


def check_piece(path: Path) -> Piece:
    """Map a file as `open_piece` does, after reading all of it and comparing the checksum.

    Raises:
        DamagedFile: as `open_piece`, or any byte that matters differs from what was written.
        OSError: as `open_piece`.
    """
    return _mapped(path, checked=True)


def _mapped(path: Path, checked: bool) -> Piece:
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source, options=_READ)
            batch = reader.get_batch(0)
            if checked:
                _check(source, reader)
        batch.validate()
        metadata = dict(batch.schema.metadata or {})
        key = metadata.pop(KEY_ENTRY).decode()
        del metadata[CHECKSUM_ENTRY]
        return Piece(key, batch.replace_schema_metadata(metadata or None))
    except OSError as error:
        if error.errno in _NOT_THE_FILE:
            raise
        raise _damaged(path, error) from None
    except (pa.ArrowException, ValueError, LookupError, StopIteration) as error:
        raise _damaged(path, error) from None


def _check(source: pa.NativeFile, reader: pa.RecordBatchFileReader) -> None:
    """Compare a mapped file with its checksum.

    Raises:
        ValueError, LookupError, StopIteration, pa.ArrowException: it is another.
    """
    source.seek(MAGIC_BYTES)
    schema, checksum = _scan(source)
    if reader.num_record_batches != 1 or not schema.equals(reader.schema, True):
        raise ValueError("its beginning and its footer disagree")
    if (schema.metadata or {})[CHECKSUM_ENTRY] != checksum:
        raise ValueError("its checksum is wrong")


def _scan(source: pa.NativeFile) -> tuple[pa.Schema, bytes]:
    """The schema of an Arrow stream, and the checksum (XXH3, 64 bits) of all that follows it."""
    messages = pa.ipc.MessageReader.open_stream(source)
    schema = pa.ipc.read_schema(messages.read_next_message())
    checksum = xxhash.xxh3_64()
    for message in messages:
        checksum.update(_CONTINUATION + len(message.metadata).to_bytes(4, "little"))
        checksum.update(message.metadata)
        if message.body is not None:
            checksum.update(message.body)
    return schema, checksum.hexdigest().encode()


def _checksum_in_memory(batch: pa.RecordBatch) -> bytes:
    """The checksum that `_scan` will find: a file holds the same messages as a stream."""
    sink = Written()
    checksum = xxhash.xxh3_64()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
        schema_bytes = batch.schema.serialize().size  # which is written first
        for part in sink.take():
            if schema_bytes <= 0:
                checksum.update(part)
            schema_bytes -= len(part)
    return checksum.hexdigest().encode()


def _damaged(path: Path, error: Exception) -> DamagedFile:
    reason = str(error).partition("\n")[0]
    return DamagedFile(f"{path.name} is no sound Piece: {reason}.", "It is made again when needed.")
