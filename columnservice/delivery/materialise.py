"""Making Pieces, in a worker process: read the rows, decode, gather into local order, prove, keep.

Knows files, formats, alignment and the cache's directory; no database and no request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
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

S = TypeVar("S")
T = TypeVar("T")


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
    """What was read from one parent File: its keys and its Columns, for its wanted rows at least.

    ``rows``: which rows of the File these are, ascending.
    """

    rows: NDArray[np.int64]
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
    found = read_rows(tools.pool, location, reads, rows, tools.threads, more=True)
    arrays = dict(zip(reads, found.arrays, strict=True))

    def decoded(recipe: Recipe) -> Ragged:
        return apply(recipe, [arrays[read] for read in recipe.reads])

    columns = dict(zip(recipes, _each(tools, decoded, recipes.values()), strict=True))
    keys = form.keys([arrays[read] for read in key_reads])
    return _Part(found.rows, keys, columns), found.url, found.source_bytes


def _each(tools: Tools, work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """What becomes of each item, in order, on as many threads as there are.

    Copies, checksums and writes let go of the interpreter, so that they run side by side.
    """
    found = map(work, items) if tools.threads is None else tools.threads.map(work, items)
    for result in found:
        tick()
        yield result


def _empty(column: Column) -> Ragged:
    """No rows of a Column."""
    offsets = tuple(np.zeros(1, np.int64) for _ in range(column.depth))
    return Ragged(offsets, {m.name: np.zeros(0, m.dtype) for m in column.members})


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


def demand_shapes(columns: Mapping[str, tuple[Column, Ragged]], lfn: str) -> dict[str, Ragged]:
    """One Column's values for each shape.

    Args:
        columns: by name.
        lfn: the local File, for the message.

    Raises:
        CountsMismatch: Columns of one shape hold different numbers of objects.
    """
    first: dict[str, tuple[str, Ragged]] = {}
    for name, (column, ragged) in columns.items():
        if column.shape is None:
            continue
        other, known = first.setdefault(column.shape, (name, ragged))
        if not np.array_equal(known.offsets[0], ragged.offsets[0]):
            raise CountsMismatch(
                f"{other} and {name} hold different numbers of objects in the parents of {lfn}."
            )
    return {shape: ragged for shape, (_, ragged) in first.items()}


@dataclass(frozen=True)
class Gathered:
    """What was read for one Partition, in local row order.

    Attributes:
        columns: by name.
        hashes, present, repeated: per row: its hash, whether it has a parent, or several.
        source_bytes: replica URL → bytes read from it.
    """

    columns: dict[str, Ragged]
    hashes: NDArray[np.uint64]
    present: NDArray[np.bool_]
    repeated: NDArray[np.bool_]
    source_bytes: dict[str, int]


def read_columns(tools: Tools, task: MaterialiseTask) -> Gathered:
    """Read the Columns of a Partition from the parents, by the join that the task names.

    Raises:
        FileChanged, FileError, TransportError: they cannot be read.
    """
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
        position[mine] = np.searchsorted(part.rows, take.row[mine])
        part_of[mine] = len(parts)
        parts.append(part)
        source_bytes[url] = source_bytes.get(url, 0) + bytes_read

    def gathered(column: Column) -> Ragged:
        found = [checked(column, part.columns[column.name], task.lfn) for part in parts]
        return gather(found or [_empty(column)], part_of, position)

    wanted = [work.column for work in task.columns]
    values = _each(tools, gathered, wanted)
    columns = {column.name: ragged for column, ragged in zip(wanted, values, strict=True)}
    hashes = proof_hashes([part.keys for part in parts], part_of, position, start)
    return Gathered(columns, hashes, part_of >= 0, np.array(take.repeated), source_bytes)


def keep(tools: Tools, batches: Mapping[str, pa.RecordBatch]) -> dict[str, pa.RecordBatch]:
    """Put Pieces into the cache; returns those that it did not admit."""

    def put(key: str) -> bool:
        return tools.pieces.put(PieceKey(key), batches[key])

    kept = dict(zip(batches, _each(tools, put, batches), strict=True))
    return {key: batches[key] for key in batches if not kept[key]}


def materialise(tools: Tools, task: MaterialiseTask) -> MaterialiseResult:
    """Make the Pieces of a Partition: Columns, offsets and proof, from freshly read parent rows.

    Raises:
        FileChanged, CountsMismatch, FileError, TransportError: they cannot be made.
    """
    begun = time.monotonic()
    read = read_columns(tools, task)
    works = {work.column.name: work for work in task.columns}
    shapes = demand_shapes({n: (w.column, read.columns[n]) for n, w in works.items()}, task.lfn)
    batches = {task.proof: proof_batch(read.hashes, read.present, read.repeated)}
    batches |= {
        piece: offsets_batch(shapes[shape].offsets[0])
        for shape, piece in task.offsets
        if shape in shapes
    }
    batches |= {w.piece: content_batch(w.column, read.columns[n]) for n, w in works.items()}
    unkept = keep(tools, batches)
    return MaterialiseResult(read.source_bytes, time.monotonic() - begun, unkept)
