"""The Pieces of a Partition: their names, and their Arrow batches out of and into plain arrays.

A Partition has one proof Piece, one offsets Piece per shape and one content Piece per Column. Knows
no cache and no request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columnservice.formats.decode import DECODE_VERSION
from columnservice.model import (
    Column,
    FileIdentity,
    Offsets,
    Partition,
    Ragged,
    Recipe,
    digest_of,
)
from columnservice.wire import arrow_items, decode_items

LAYOUT_VERSION = 1
SHAPE_DIGEST = b"shape"


def proof_name(local: FileIdentity, partition: Partition, take: str) -> str:
    """Key of the row hashes; ``take`` stands for the TakeIndex and so for all candidate parents."""
    return digest_of("proof", LAYOUT_VERSION, asdict(local), asdict(partition), take)


def offsets_name(local: FileIdentity, partition: Partition, take: str, shape: str) -> str:
    """Key of a shape's offsets."""
    return digest_of("offsets", LAYOUT_VERSION, asdict(local), asdict(partition), take, shape)


def content_name(
    local: FileIdentity, partition: Partition, take: str, column: Column, recipes: Sequence[Recipe]
) -> str:
    """Key of a Column's content; a changed Recipe or type is another Piece."""
    made = sorted({recipe.digest for recipe in recipes})
    kind = (column.type, column.shape, DECODE_VERSION)
    return digest_of(
        "content", LAYOUT_VERSION, asdict(local), asdict(partition), take, kind, made, column.name
    )


def derived_name(
    local: FileIdentity, partition: Partition, take: str, column: Column, made: str
) -> str:
    """Key of a computed Column's content.

    Args:
        made: a hash of its Derivation and of all that its inputs are made by.
    """
    kind = (column.type, column.shape)
    return digest_of(
        "derived", LAYOUT_VERSION, asdict(local), asdict(partition), take, kind, made, column.name
    )


def inputs_digest(column: Column, recipes: Sequence[Recipe]) -> str:
    """A hash of all that decides the values of a Column that is read from files."""
    made = sorted({recipe.digest for recipe in recipes})
    return digest_of("input", column.type, column.shape, DECODE_VERSION, made)


def offsets_digest(offsets: Offsets) -> bytes:
    """A hash by which a content Piece knows the offsets that it belongs to."""
    return hashlib.blake2b(np.ascontiguousarray(offsets).data, digest_size=16).hexdigest().encode()


def proof_batch(
    hashes: NDArray[np.uint64], present: NDArray[np.bool_], repeated: NDArray[np.bool_]
) -> pa.RecordBatch:
    """The proof Piece: per row its hash, whether it has a parent, and whether it has several."""
    return pa.record_batch(
        {
            "hash": pa.array(hashes),
            "present": pa.array(present.view(np.uint8)),
            "repeated": pa.array(repeated.view(np.uint8)),
        }
    )


def offsets_batch(offsets: Offsets) -> pa.RecordBatch:
    """The offsets Piece of a shape: rows + 1 numbers from 0."""
    batch = pa.record_batch({"offsets": pa.array(offsets)})
    return batch.replace_schema_metadata({SHAPE_DIGEST: offsets_digest(offsets)})


def ragged_of(
    column: Column, content: pa.RecordBatch, offsets: pa.RecordBatch | None
) -> Ragged | None:
    """The values in a content Piece; None where its offsets are missing or are not its own.

    Args:
        column: whose Piece it is.
        content: the Piece.
        offsets: the offsets Piece of its shape; not needed at depth 0.
    """
    items = content.column("items")
    if column.shape is None:
        return decode_items(column, items)
    if offsets is None:
        return None
    if content.schema.metadata[SHAPE_DIGEST] != offsets.schema.metadata[SHAPE_DIGEST]:
        return None
    outer = offsets.column("offsets").to_numpy()
    return decode_items(column, items, outer) if outer[-1] == len(items) else None


def no_rows(column: Column) -> Ragged:
    """No rows of a Column."""
    offsets = tuple(np.zeros(1, np.int64) for _ in range(column.depth))
    return Ragged(offsets, {m.name: np.zeros(0, m.dtype) for m in column.members})


def content_batch(column: Column, ragged: Ragged) -> pa.RecordBatch:
    """The content Piece of a Column: one item per object (depth 0: per event)."""
    items = arrow_items(column, ragged)
    field = pa.field("items", items.type, nullable=False)
    batch = pa.RecordBatch.from_arrays([items], schema=pa.schema([field]))
    shape = offsets_digest(ragged.offsets[0]) if ragged.offsets else b""
    return batch.replace_schema_metadata({SHAPE_DIGEST: shape})
