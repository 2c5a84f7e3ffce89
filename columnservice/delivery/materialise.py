"""Making Pieces, in a worker process: read the rows, decode, gather into local order, prove, keep.

Knows files, formats, alignment and the cache's directory; no database and no request.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from columnservice.alignment.eventindex import ensure_eventindex
from columnservice.alignment.gather import gather
from columnservice.alignment.proof import proof_hashes
from columnservice.alignment.takeindex import (
    TakeIndex,
    make_takeindex,
    open_takeindex,
)
from columnservice.cache.pieces import PieceCache, PieceKey
from columnservice.delivery.pieces import content_batch, offsets_batch, proof_batch
from columnservice.delivery.tasks import (
    ColumnWork,
    JoinTask,
    KeysTask,
    MaterialiseResult,
    MaterialiseTask,
)
from columnservice.errors import CountsMismatch, DamagedFile, FileChanged
from columnservice.formats import apply, format_named
from columnservice.formats.format import merge_lumis
from columnservice.model import (
    BranchRead,
    Column,
    FileLocation,
    Keys,
    LumiRange,
    Ragged,
    Recipe,
)
from columnservice.reader import FilePool, read_rows
from columnservice.reader.progress import tick


@dataclass(frozen=True)
class Tools:
    """What a worker process keeps between tasks."""

    pool: FilePool
    pieces: PieceCache
    index_dir: Path
    threads: ThreadPoolExecutor | None = None


def take_path(index_dir: Path, digest: str) -> Path:
    """Where a TakeIndex is kept."""
    return index_dir / "takes" / digest[:2] / f"{digest}.arrow"


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


@dataclass(frozen=True)
class _Part:
    """What was read from one parent File: its keys and its Columns, for its wanted rows."""

    keys: Keys
    columns: dict[str, Ragged]


def _effective(recipe: Recipe, works: Sequence[ColumnWork], number: int, column: Column) -> Recipe:
    """A counts Recipe may count any branch of its shape: one that is read anyhow costs nothing."""
    if recipe.decode != "counts" or column.counts_of is None:
        return recipe
    for work in works:
        other = work.recipes[number]
        if work.column.shape == column.counts_of and not other.reads[0].raw:
            return Recipe(recipe.column, other.reads[:1], recipe.decode, recipe.parameters)
    return recipe


def _read_part(
    tools: Tools, task: MaterialiseTask, number: int, rows: NDArray[np.int64]
) -> tuple[_Part, str, int]:
    location = task.parents[number]
    form = format_named(task.parent_format)
    with tools.pool.tree(location) as opened:
        key_reads = tuple(form.key_reads(opened.tree))
    recipes = {
        work.column.name: _effective(work.recipes[number], task.columns, number, work.column)
        for work in task.columns
    }
    reads: list[BranchRead] = [
        *key_reads,
        *(r for recipe in recipes.values() for r in recipe.reads),
    ]
    found = read_rows(tools.pool, location, reads, rows, tools.threads)
    arrays = dict(zip(reads, found.arrays, strict=True))
    columns = {}
    for name, recipe in recipes.items():
        columns[name] = apply(recipe, [arrays[read] for read in recipe.reads])
        tick()
    keys = form.keys([arrays[read] for read in key_reads])
    return _Part(keys, columns), found.url, found.source_bytes


def _empty(column: Column) -> Ragged:
    """No rows of a Column."""
    offsets = tuple(np.zeros(1, np.int64) for _ in range(column.depth))
    return Ragged(offsets, {m.name: np.zeros(0, m.dtype) for m in column.members})


def _checked(column: Column, ragged: Ragged, lfn: str) -> Ragged:
    """A Column's values, if they are what the catalogue promises."""
    promised = {m.name: np.dtype(m.dtype) for m in column.members}
    actual = {name: array.dtype for name, array in ragged.content.items()}
    if ragged.depth != column.depth or actual != promised:
        raise DamagedFile(f"{column.name} in {lfn} is not {column.type} as when it was indexed.")
    return ragged


def _demand_shapes(task: MaterialiseTask, columns: dict[str, Ragged]) -> dict[str, Ragged]:
    """One Column for each shape; all Columns of a shape must agree on the counts."""
    first: dict[str, tuple[str, Ragged]] = {}
    for work in task.columns:
        shape = work.column.shape
        if shape is None:
            continue
        name, ragged = first.setdefault(shape, (work.column.name, columns[work.column.name]))
        if not np.array_equal(ragged.offsets[0], columns[work.column.name].offsets[0]):
            raise CountsMismatch(
                f"{name} and {work.column.name} hold different numbers of objects "
                f"in the parents of {task.lfn}."
            )
    return {shape: ragged for shape, (_, ragged) in first.items()}


def materialise(tools: Tools, task: MaterialiseTask) -> MaterialiseResult:
    """Make the Pieces of a Partition: Columns, offsets and proof, from freshly read parent rows.

    Raises:
        FileChanged, CountsMismatch, FileError, TransportError: they cannot be made.
    """
    begun = time.monotonic()
    start, stop = task.partition.start, task.partition.stop
    index = open_take(tools.index_dir, task.take, task.parents, task.lfn, stop)
    take = index.rows(start, stop)
    position = np.full(len(take), -1, np.int64)
    part_of = np.full(len(take), -1, np.int32)
    parts: list[_Part] = []
    source_bytes: dict[str, int] = {}
    for number in np.unique(take.file[take.file >= 0]):
        mine = take.file == number
        rows = np.unique(take.row[mine])
        part, url, bytes_read = _read_part(tools, task, int(number), rows)
        position[mine] = np.searchsorted(rows, take.row[mine])
        part_of[mine] = len(parts)
        parts.append(part)
        source_bytes[url] = source_bytes.get(url, 0) + bytes_read
    columns = {}
    for work in task.columns:
        name = work.column.name
        found = [_checked(work.column, part.columns[name], task.lfn) for part in parts]
        columns[name] = gather(found or [_empty(work.column)], part_of, position)
        tick()
    shapes = _demand_shapes(task, columns)
    hashes = proof_hashes([part.keys for part in parts], part_of, position, start)
    batches = {task.proof: proof_batch(hashes, part_of >= 0, np.array(take.repeated))}
    batches |= {
        piece: offsets_batch(shapes[shape].offsets[0])
        for shape, piece in task.offsets
        if shape in shapes
    }
    batches |= {
        work.piece: content_batch(work.column, columns[work.column.name]) for work in task.columns
    }
    unkept = {}
    for key, batch in batches.items():
        if not tools.pieces.put(PieceKey(key), batch):
            unkept[key] = batch
        tick()
    return MaterialiseResult(source_bytes, time.monotonic() - begun, unkept)
