"""The rows of one Partition out of its parents: several Files at once, each in parts, decoded.

Knows files, formats and the join's rows; neither Pieces nor how rows are put into local order.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from columnservice.alignment.takeindex import TakeIndex
from columnservice.delivery.shapes import demand_shapes
from columnservice.delivery.tasks import ColumnWork, MaterialiseTask
from columnservice.delivery.tools import Tools
from columnservice.formats import apply, format_named
from columnservice.model import BranchRead, Column, Keys, Ragged, Recipe
from columnservice.reader import Demand, read_parts
from columnservice.reader.futures import give_up
from columnservice.reader.parts import ReadParts

Values: TypeAlias = dict[str, Ragged]
Made: TypeAlias = "Values | Keys"
Rows: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class ParentRows:
    """What was read for rows of a local File, in the parents' order.

    Attributes:
        keys: of each part, the keys of its rows.
        columns: of each part, the Columns' values by name.
        part: int32, which part each local row comes from; negative where it has no parent.
        row: int64, which row of that part.
        source_bytes: replica URL → bytes read from it.
    """

    keys: tuple[Keys, ...]
    columns: tuple[Values, ...]
    part: NDArray[np.int32]
    row: Rows
    source_bytes: dict[str, int]


def read_parents(tools: Tools, task: MaterialiseTask, take: TakeIndex) -> ParentRows:
    """Read the Columns of a task for the rows of a TakeIndex.

    Raises:
        FileChanged, FileError, TransportError: they cannot be read.
    """
    numbers = [int(n) for n in np.unique(take.file[take.file >= 0])]
    wanted = {n: np.unique(take.row[take.file == n]) for n in numbers}
    found = _read_all(tools, task, wanted)
    keys: list[Keys] = []
    columns: list[Values] = []
    part_of, row_of = np.full(len(take), -1, np.int32), np.full(len(take), -1, np.int64)
    source_bytes: dict[str, int] = {}
    for number, read in zip(numbers, found, strict=True):
        mine = np.flatnonzero(take.file == number)
        rows = take.row[mine]
        firsts = [int(part.rows[0]) for part in read.parts]
        parts = np.searchsorted(firsts, rows, side="right") - 1
        part_of[mine] = parts + len(keys)
        for n, part in enumerate(read.parts):
            chosen = parts == n
            row_of[mine[chosen]] = np.searchsorted(part.rows, rows[chosen])
            values: Values = {}
            for made in part.made:
                if isinstance(made, Keys):
                    keys.append(made)
                else:
                    values |= made
            columns.append(values)
        source_bytes[read.url] = source_bytes.get(read.url, 0) + read.source_bytes
    return ParentRows(tuple(keys), tuple(columns), part_of, row_of, source_bytes)


def _read_all(
    tools: Tools, task: MaterialiseTask, wanted: Mapping[int, Rows]
) -> Iterable[ReadParts[Made]]:
    """Read parents, several at once; the first error ends the others."""
    abandoned = threading.Event()
    read = partial(_read_one, tools, task, abandoned)
    if tools.readers is None:
        return [read(*item) for item in wanted.items()]
    futures = [tools.readers.submit(read, *item) for item in wanted.items()]
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            if future.done():
                future.result()  # raises the first error
        return [future.result() for future in futures]
    finally:
        abandoned.set()
        give_up(futures)


def _read_one(
    tools: Tools, task: MaterialiseTask, abandoned: threading.Event, number: int, rows: Rows
) -> ReadParts[Made]:
    """Read one parent: first its keys, then the Columns."""
    location = task.parents[number]
    form = format_named(task.parent_format)
    with tools.pool.tree(location) as opened:
        key_reads = tuple(form.key_reads(opened.tree))
    recipes = {
        work.column.name: _effective(work.recipes[number], task.columns, number, work.column)
        for work in task.columns
    }
    demands: list[Demand[Made]] = [Demand(key_reads, form.keys)]
    demands += [Demand(reads, partial(_decoded, reads, own)) for reads, own in bundles(recipes)]
    wanted = {work.column.name: work.column for work in task.columns}

    def check(made: Sequence[Made]) -> None:
        """A cache's copy may be wrong although each basket by itself can be read."""
        values = {n: v for one in made if not isinstance(one, Keys) for n, v in one.items()}
        demand_shapes({n: (wanted[n], v) for n, v in values.items()}, task.lfn)

    return read_parts(tools.pool, location, demands, rows, tools.threads, abandoned, check)


def bundles(
    recipes: Mapping[str, Recipe],
) -> Iterator[tuple[tuple[BranchRead, ...], dict[str, Recipe]]]:
    """Recipes that share branches, together with all the branches that they read."""
    bundle: dict[str, list[str]] = {}
    reader: dict[BranchRead, str] = {}
    for name, recipe in recipes.items():
        sharing = [bundle[reader[read]] for read in recipe.reads if read in reader]
        joined = [name, *dict.fromkeys(other for own in sharing for other in own)]
        bundle |= dict.fromkeys(joined, joined)
        reader |= dict.fromkeys(recipe.reads, name)
    for own in {id(joined): joined for joined in bundle.values()}.values():
        reads = dict.fromkeys(read for name in own for read in recipes[name].reads)
        yield tuple(reads), {name: recipes[name] for name in own}


def _decoded(
    reads: Sequence[BranchRead], recipes: Mapping[str, Recipe], found: Sequence[Ragged]
) -> Values:
    arrays = dict(zip(reads, found, strict=True))
    return {n: apply(r, [arrays[read] for read in r.reads]) for n, r in recipes.items()}


def _effective(recipe: Recipe, works: Sequence[ColumnWork], number: int, column: Column) -> Recipe:
    """A counts Recipe may count any branch of its shape: one that is read anyhow costs nothing."""
    if recipe.decode != "counts" or column.counts_of is None:
        return recipe
    for work in works:
        other = work.recipes[number]
        if work.column.shape == column.counts_of and not other.reads[0].raw:
            return Recipe(recipe.column, other.reads[:1], recipe.decode, recipe.parameters)
    return recipe
