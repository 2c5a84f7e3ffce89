"""Computing Pieces from other Columns, in a worker process.

What the parents hold is taken from Pieces, where the cache still has them, else read again; what
the local File holds is read from it. Events without a parent are empty in all inputs, so that they
are absent from whatever is computed. Knows files, the cache's directory and computations; no
request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columnservice.alignment.gather import gather
from columnservice.cache import PieceKey
from columnservice.delivery.compute import compute
from columnservice.delivery.derivation import inputs_of
from columnservice.delivery.materialise import (
    checked,
    keep,
    open_take,
    read_columns,
)
from columnservice.delivery.pieces import content_batch, offsets_batch, ragged_of
from columnservice.delivery.shapes import demand_shapes
from columnservice.delivery.tasks import (
    ColumnWork,
    DerivedWork,
    DeriveTask,
    MaterialiseResult,
    MaterialiseTask,
)
from columnservice.delivery.tools import Tools
from columnservice.formats import apply
from columnservice.model import Ragged
from columnservice.reader import read_rows
from columnservice.reader.progress import tick

Values = dict[str, Ragged]


def _mapped(
    tools: Tools, work: ColumnWork | DerivedWork, offsets: Mapping[str, str]
) -> Ragged | None:
    """A Column from its cached Pieces; None where one is missing or does not fit."""
    content = tools.pieces.get(PieceKey(work.piece))
    if content is None:
        return None
    key = offsets.get(work.column.shape or "")
    return ragged_of(work.column, content, tools.pieces.get(PieceKey(key)) if key else None)


def _of_parents(
    tools: Tools, task: MaterialiseTask, names: Collection[str]
) -> tuple[Values, dict[str, int]]:
    """Columns of the parents in local order, and what was read for them anew."""
    offsets = dict(task.offsets)
    works = [work for work in task.columns if work.column.name in names]
    mapped = {work.column.name: _mapped(tools, work, offsets) for work in works}
    values = {name: ragged for name, ragged in mapped.items() if ragged is not None}
    missing = tuple(work for work in works if work.column.name not in values)
    if not missing:
        return values, {}
    # Evicted meanwhile, or not admitted to the cache at all.
    read, source_bytes = read_columns(tools, replace(task, columns=missing))
    return {**values, **read}, source_bytes


def _of_local(
    tools: Tools, task: DeriveTask, names: Collection[str], present: NDArray[np.bool_]
) -> tuple[Values, dict[str, int]]:
    """Columns of the local File, empty or 0 in events without a parent, and what was read.

    Raises:
        FileChanged: the File is not the one that was registered.
    """
    works = [work for work in task.local_columns if work.column.name in names]
    if not works or task.local is None:
        return {}, {}
    reads = [read for work in works for read in work.recipe.reads]
    part = task.source.partition
    rows = np.arange(part.start, part.stop, dtype=np.int64)
    found = read_rows(tools.pool, task.local, reads, rows, tools.threads)
    arrays = dict(zip(reads, found.arrays, strict=True))
    part_of = np.where(present, 0, -1).astype(np.int32)
    position = np.arange(len(present), dtype=np.int64)
    values = {}
    for work in works:
        ragged = apply(work.recipe, [arrays[read] for read in work.recipe.reads])
        ragged = checked(work.column, ragged, task.local.lfn)
        values[work.column.name] = gather([ragged], part_of, position)
        tick()
    return values, {found.url: found.source_bytes}


def derive(tools: Tools, task: DeriveTask) -> MaterialiseResult:
    """Compute the Pieces that a task wants, and those between them and what files hold.

    Raises:
        FileChanged, CountsMismatch, FileError, TransportError: they cannot be made.
    """
    begun = time.monotonic()
    source, offsets = task.source, dict(task.offsets)
    all_offsets = {**dict(source.offsets), **offsets}
    start, stop = source.partition.start, source.partition.stop
    take = open_take(tools.index_dir, source.take, source.parents, source.lfn, stop)
    present = np.asarray(take.rows(start, stop).present)
    held: Values = {}

    def is_there(work: DerivedWork) -> bool:
        ragged = _mapped(tools, work, all_offsets)
        if ragged is not None:
            held[work.column.name] = ragged
        return ragged is not None

    works, names = inputs_of(task, task.wanted, is_there)
    parents, parent_bytes = _of_parents(tools, source, names)
    local, local_bytes = _of_local(tools, task, names, present)
    values = {**held, **parents, **local}
    for work in works:
        inputs = [values[name] for name in work.derivation.inputs]
        made = compute(work.derivation, inputs)
        values[work.column.name] = checked(work.column, made, source.lfn)
        tick()
    made_here = {w.column.name: (w.column, values[w.column.name]) for w in works}
    shapes = demand_shapes(made_here, source.lfn)
    making: dict[str, Callable[[], pa.RecordBatch]] = {
        offsets[shape]: partial(offsets_batch, ragged.offsets[0])
        for shape, ragged in shapes.items()
        if shape in offsets
    }
    making |= {w.piece: partial(content_batch, w.column, values[w.column.name]) for w in works}
    source_bytes = {**parent_bytes}
    for url, count in local_bytes.items():
        source_bytes[url] = source_bytes.get(url, 0) + count
    return MaterialiseResult(source_bytes, time.monotonic() - begun, keep(tools, making))
