"""From the Pieces of a Partition to the record batch of a reply: slices, nulls, proof.

Nothing is copied but offsets that must be rebased. Knows no cache and no worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from columnservice import wire
from columnservice.delivery.partplan import PartPlan
from columnservice.delivery.pieces import SHAPE_DIGEST, no_rows
from columnservice.errors import DuplicateEvents
from columnservice.model import Column, Offsets


@dataclass(frozen=True)
class Standing:
    """What is known of the parents when a reply is sent.

    Attributes:
        verified: their origins confirmed that they are unchanged.
        unusable_parents: Files of the parent Dataset that cannot be used at present.
    """

    verified: bool
    unusable_parents: int


class BrokenPieces(Exception):
    """Pieces that do not belong together; ``keys`` are to be dropped and made again."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        super().__init__(f"{len(keys)} pieces do not fit together")
        self.keys = keys


def _demand_single(part: PartPlan, proof: pa.RecordBatch, first: int, rows: int) -> None:
    repeated = proof.column("repeated").to_numpy()[first : first + rows]
    if repeated.any():
        raise DuplicateEvents(
            f"{int(repeated.sum())} of the events {part.start} to {part.stop} of {part.task.lfn} "
            "stand more than once in the parent dataset."
        )


def assemble_part(
    part: PartPlan,
    pieces: Mapping[str, pa.RecordBatch],
    standing: Standing,
) -> tuple[pa.RecordBatch, pa.KeyValueMetadata]:
    """The record batch of one part of a reply, and its metadata.

    Args:
        part: which rows and Columns.
        pieces: every Piece that ``part.pieces()`` names.
        standing: what is known of the parents now.

    Raises:
        DuplicateEvents: a requested event stands more than once in the parents.
        BrokenPieces: Pieces contradict each other.
    """
    task = part.task
    first, rows = part.start - task.partition.start, part.stop - part.start
    proof = pieces[task.proof]
    if proof.num_rows != task.partition.stop - task.partition.start:
        raise BrokenPieces(part.pieces())
    _demand_single(part, proof, first, rows)
    present = proof.column("present").to_numpy()[first : first + rows].view(np.bool_)
    whole: dict[str, Offsets] = {}
    cut: dict[str, Offsets] = {}
    offsets = part.offsets
    for name, key in offsets.items():
        whole[name] = pieces[key].column("offsets").to_numpy()
        if len(whole[name]) != proof.num_rows + 1:
            raise BrokenPieces(part.pieces())
        mine = whole[name][first : first + rows + 1]
        cut[name] = mine - mine[0] if mine[0] else mine
    items: dict[str, pa.Array] = {}
    works = part.works
    for work in works:
        piece, shape = pieces[work.piece], work.column.shape
        content = piece.column("items")
        if shape is None:
            expected, low, high = proof.num_rows, first, first + rows
        else:
            mine = whole[shape]
            expected, low, high = int(mine[-1]), int(mine[first]), int(mine[first + rows])
            belongs = pieces[offsets[shape]].schema.metadata[SHAPE_DIGEST]
            if piece.schema.metadata[SHAPE_DIGEST] != belongs:
                raise BrokenPieces((work.piece, offsets[shape]))
        if len(content) != expected:
            raise BrokenPieces((work.piece,))
        items[work.column.name] = content.slice(low, high - low)
    batch = wire.assemble([work.column for work in works], items, cut, present)
    hashes = proof.column("hash").to_numpy()[first : first + rows]
    missing = int(rows - np.count_nonzero(present))
    told = wire.checksum(hashes)
    known = (standing.verified, standing.unusable_parents)
    metadata = wire.batch_metadata(part.start, part.stop, missing, told, *known)
    return batch, metadata


def empty_batch(columns: Sequence[Column]) -> pa.RecordBatch:
    """The record batch of a reply without rows."""
    none = {column.name: no_rows(column) for column in columns}
    return wire.encode_batch(columns, none, np.zeros(0, np.bool_))
