"""Making Pieces, in a worker process: read the rows, decode, gather into local order, prove, keep.

Knows files, formats, alignment and the cache's directory; no database and no request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from columnservice.alignment.eventindex import ensure_eventindex
from columnservice.alignment.gather import Placement
from columnservice.alignment.proof import proof_hashes
from columnservice.alignment.takeindex import (
    TakeIndex,
    make_takeindex,
    open_takeindex,
)
from columnservice.cache import PieceKey
from columnservice.delivery.parentrows import ParentRows, read_parents
from columnservice.delivery.pieces import content_batch, no_rows, offsets_batch, proof_batch
from columnservice.delivery.shapes import demand_shapes
from columnservice.delivery.tasks import (
    ColumnWork,
    JoinTask,
    KeysTask,
    MaterialiseResult,
    MaterialiseTask,
)
from columnservice.delivery.tools import Tools, take_path
from columnservice.errors import DamagedFile, FileChanged
from columnservice.formats.format import merge_lumis
from columnservice.model import Column, FileLocation, LumiRange, Ragged
from columnservice.reader.progress import tick

S = TypeVar("S")
T = TypeVar("T")


def make_keys(tools: Tools, task: KeysTask) -> tuple[LumiRange, ...]:
    """Make sure of a File's EventIndex; returns the luminosity blocks of its events."""
    keys = ensure_eventindex(tools.index_dir, tools.pool, task.location, task.format)
    return merge_lumis(keys.run, keys.lumi)


def join_files(tools: Tools, task: JoinTask) -> TakeIndex:
    """The TakeIndex of a local File, from EventIndexes that exist; it is not kept yet."""
    local = ensure_eventindex(tools.index_dir, tools.pool, task.local, task.local_format)
    parents = [
        ensure_eventindex(tools.index_dir, tools.pool, parent, task.parent_format)
        for parent in task.parents
    ]
    identities = [p.identity for p in task.parents if p.identity is not None]
    return make_takeindex(local, parents, identities)


def open_take(
    index_dir: Path, digest: str, parents: Sequence[FileLocation], lfn: str, entries: int
) -> TakeIndex:
    """The TakeIndex that a task names, checked to be for its files.

    Raises:
        FileChanged: it is for other files, or is gone.
    """
    index = open_takeindex(take_path(index_dir, digest))
    if index is None or index.parents != tuple(p.identity for p in parents) or len(index) < entries:
        raise FileChanged(
            f"The index that joins {lfn} with its parents is gone or for other files."
        )
    return index


def _each(tools: Tools, work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """What becomes of each item, in order, on as many threads as there are.

    Copies, checksums and writes let go of the interpreter, so that they run side by side.
    """
    found = map(work, items) if tools.threads is None else tools.threads.map(work, items)
    for result in found:
        tick()
        yield result


def checked(column: Column, ragged: Ragged, lfn: str) -> Ragged:
    """A Column's values, if they are what the catalogue promises; counts in its wider integer."""
    promised = {m.name: np.dtype(m.dtype) for m in column.members}
    if column.counts_of is not None and not ragged.depth:
        wide = promised[""]
        if ragged.values.dtype != wide and np.can_cast(ragged.values.dtype, wide):
            ragged = Ragged((), {"": ragged.values.astype(wide)})
    actual = {name: array.dtype for name, array in ragged.content.items()}
    if ragged.depth != column.depth or actual != promised:
        raise DamagedFile(f"{column.name} in {lfn} is not {column.type} as when it was indexed.")
    return ragged


@dataclass(frozen=True)
class Columns:
    """Columns of a Partition as they were read, and how their rows become the local File's.

    Attributes:
        found: what was read.
        placement: of the rows.
        lfn: the local File, for messages.
    """

    found: ParentRows
    placement: Placement
    lfn: str

    def _parts(self, column: Column) -> list[Ragged]:
        parts = [checked(column, part[column.name], self.lfn) for part in self.found.columns]
        return parts or [no_rows(column)]

    def values(self, column: Column) -> Ragged:
        """A Column in local order.

        Raises:
            DamagedFile: it is not what the catalogue promises.
        """
        return self.placement.gather(self._parts(column))

    def outline(self, column: Column) -> Ragged:
        """How many objects a Column has in each event, and nothing of what they are.

        Raises:
            DamagedFile: it is not what the catalogue promises.
        """
        outlines = [Ragged(part.offsets[:1], {}) for part in self._parts(column)]
        return self.placement.gather(outlines)


def _read(tools: Tools, task: MaterialiseTask) -> tuple[TakeIndex, Columns]:
    """Read what a task names, by the join that it names."""
    start, stop = task.partition.start, task.partition.stop
    index = open_take(tools.index_dir, task.take, task.parents, task.lfn, stop)
    take = index.rows(start, stop)
    found = read_parents(tools, task, take)
    placement = Placement.of(found.part, found.row, max(len(found.keys), 1))
    return take, Columns(found, placement, task.lfn)


def read_columns(tools: Tools, task: MaterialiseTask) -> tuple[dict[str, Ragged], dict[str, int]]:
    """Read the Columns of a Partition from the parents: by name, and bytes by replica URL.

    Raises:
        FileChanged, FileError, TransportError: they cannot be read.
    """
    _, columns = _read(tools, task)
    wanted = [work.column for work in task.columns]
    values = dict(zip((c.name for c in wanted), _each(tools, columns.values, wanted), strict=True))
    return values, columns.found.source_bytes


def keep(
    tools: Tools, making: Mapping[str, Callable[[], pa.RecordBatch]]
) -> dict[str, pa.RecordBatch]:
    """Make Pieces, one after the other on each thread, and put them into the cache.

    Returns those that it did not admit.
    """
    with tools.pieces.writing() as writing:

        def work(item: tuple[str, Callable[[], pa.RecordBatch]]) -> None:
            key, make = item
            writing.write(PieceKey(key), make())

        for _ in _each(tools, work, making.items()):
            pass
    return {key.text: batch for key, batch in writing.unkept.items()}


def materialise(tools: Tools, task: MaterialiseTask) -> MaterialiseResult:
    """Make the Pieces of a Partition: Columns, offsets and proof, from freshly read parent rows.

    Raises:
        FileChanged, CountsMismatch, FileError, TransportError: they cannot be made.
    """
    begun = time.monotonic()
    take, columns = _read(tools, task)
    found = columns.found
    outlines = {w.column.name: (w.column, columns.outline(w.column)) for w in task.columns}
    shapes = demand_shapes(outlines, task.lfn)
    hashes = proof_hashes(found.keys, found.part, found.row, task.partition.start)
    repeated = np.array(take.repeated)
    making: dict[str, Callable[[], pa.RecordBatch]] = {
        task.proof: partial(proof_batch, hashes, found.part >= 0, repeated)
    }
    for shape, piece in task.offsets:
        if shape in shapes:
            making[piece] = partial(offsets_batch, shapes[shape].offsets[0])

    # One Column after the other is put into local order and written, not all at once.
    def content(work: ColumnWork) -> pa.RecordBatch:
        return content_batch(work.column, columns.values(work.column))

    making |= {work.piece: partial(content, work) for work in task.columns}
    unkept = keep(tools, making)
    return MaterialiseResult(found.source_bytes, time.monotonic() - begun, unkept)
