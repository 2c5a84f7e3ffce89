"""Checking a local File against its parents, in a worker process: coverage, repeats, Witnesses.

Knows files, formats and alignment; no database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columnservice.alignment.files import open_arrow
from columnservice.alignment.gather import gather
from columnservice.alignment.takeindex import TakeIndex, write_takeindex
from columnservice.alignment.witness import WitnessResult, count_agreeing, demand_agreement
from columnservice.delivery.matching import count_matches
from columnservice.delivery.materialise import join_files
from columnservice.delivery.tasks import CheckResult, CheckTask
from columnservice.delivery.tools import Tools, take_path
from columnservice.errors import DamagedFile, WrongParent
from columnservice.formats import apply, format_named
from columnservice.model import FileLocation, OfferedColumn, Ragged
from columnservice.reader import read_rows

Offered = dict[str, OfferedColumn]
Values = dict[str, Ragged]


def _readable(columns: Sequence[OfferedColumn]) -> Offered:
    return {c.column.name: c for c in columns if c.recipe is not None}


def _is_number(column: OfferedColumn) -> bool:
    return column.column.depth == 0 and [m.name for m in column.column.members] == [""]


def _local_numbers(task: CheckTask) -> dict[str, bool]:
    """The local Columns that can be had, and whether each is one number per event."""
    if task.uploaded:
        return dict.fromkeys(_uploaded(task).schema.names, True)
    return {name: _is_number(o) for name, o in _readable(task.local_columns).items()}


def _uploaded(task: CheckTask) -> pa.RecordBatch:
    batch = open_arrow(Path(task.uploaded))
    if batch is None:
        raise DamagedFile(f"The uploaded witnesses of {task.join.local.lfn} are gone.")
    return batch


def _local_values(
    tools: Tools, task: CheckTask, columns: Sequence[tuple[str, bool]], rows: NDArray[np.int64]
) -> Values:
    if not task.uploaded:
        readable = _readable(task.local_columns)
        return _read_values(tools, task.join.local, readable, columns, rows)
    batch, held = _uploaded(task), np.ones(len(rows), np.bool_)
    return {
        name: Ragged((), {"": batch.column(name).to_numpy()[rows], "held": held})
        for name, _ in columns
    }


def _pairs(task: CheckTask) -> Iterator[tuple[str, tuple[str, bool], tuple[str, bool]]]:
    """(Witness, local Column, parent Column) that all Files hold; the flag: take the first item."""
    local_format = format_named(task.join.local_format)
    parent_format = format_named(task.join.parent_format)
    local = _local_numbers(task)
    parents = [_readable(columns) for columns in task.parent_columns]
    seen = set()
    for witness in local_format.witnesses:
        others = [
            w
            for w in parent_format.witnesses
            if w.name == witness.name and all(w.column in held for held in parents)
        ]
        if others and witness.name not in seen and witness.column in local:
            seen.add(witness.name)
            other = others[0]
            yield witness.name, (witness.column, witness.first), (other.column, other.first)
    if local_format.common_scalars and parent_format.common_scalars:
        keys = {"runNumber", "lumiBlock", "eventNumber"}
        for name, is_number in local.items():
            if name in seen or name.rpartition(".")[2] in keys or not is_number:
                continue
            if all(name in held and _is_number(held[name]) for held in parents):
                yield name, (name, False), (name, False)


def _number_per_event(ragged: Ragged, first: bool) -> Ragged:
    """Number and whether there is one: the value itself, or the first item of each list."""
    if ragged.depth == 0 or not first:
        return Ragged((), {"": ragged.values, "held": np.ones(len(ragged), np.bool_)})
    starts, stops = ragged.offsets[0][:-1], ragged.offsets[0][1:]
    held = stops > starts
    values = np.zeros(len(starts), ragged.values.dtype)
    values[held] = ragged.values[starts[held]]
    return Ragged((), {"": values, "held": held})


def _read_values(
    tools: Tools,
    location: FileLocation,
    offered: Offered,
    columns: Sequence[tuple[str, bool]],
    rows: NDArray[np.int64],
) -> Values:
    recipes = {name: offered[name].recipe for name, _ in columns}
    reads = [read for recipe in recipes.values() if recipe for read in recipe.reads]
    arrays = dict(
        zip(reads, read_rows(tools.pool, location, reads, rows, tools.threads).arrays, strict=True)
    )
    return {
        name: _number_per_event(apply(recipe, [arrays[read] for read in recipe.reads]), first)
        for name, first in columns
        if (recipe := recipes[name]) is not None
    }


def sample_rows(index: TakeIndex, most: int) -> NDArray[np.int64]:
    """Local rows with a parent, spread evenly over the file, some of every parent file.

    Args:
        index: the join.
        most: how many rows in all; each parent file gets an equal share, but at least 20.
    """
    files = np.unique(index.file[index.present])
    share = max(20, most // max(1, len(files)))
    found = []
    for number in files:
        rows = np.flatnonzero(index.file == number)
        if len(rows) > share:
            rows = rows[np.linspace(0, len(rows) - 1, share).astype(np.int64)]
        found.append(rows)
    return np.sort(np.concatenate(found)).astype(np.int64) if found else np.zeros(0, np.int64)


def _compare(tools: Tools, task: CheckTask, index: TakeIndex) -> tuple[WitnessResult, ...]:
    pairs = list(_pairs(task))
    rows = sample_rows(index, task.sample_events)
    if not pairs or not len(rows):
        return ()
    local = _local_values(tools, task, [p[1] for p in pairs], rows)
    file, row = index.file[rows], index.row[rows]
    parts: list[Values] = []
    part_of, position = np.full(len(rows), -1, np.int32), np.zeros(len(rows), np.int64)
    for number in np.unique(file):
        mine = file == number
        wanted = np.unique(row[mine])
        position[mine] = np.searchsorted(wanted, row[mine])
        part_of[mine] = len(parts)
        offered = _readable(task.parent_columns[number])
        columns = [p[2] for p in pairs]
        parts.append(_read_values(tools, task.join.parents[number], offered, columns, wanted))
    compared = []
    for name, (local_name, _), (parent_name, _) in pairs:
        parent = gather([part[parent_name] for part in parts], part_of, position).content
        mine = local[local_name].content
        for number in np.unique(part_of):
            held = mine["held"] & parent["held"] & (part_of == number)
            agreed = count_agreeing(mine[""][held], parent[""][held])
            compared.append((int(number), WitnessResult(name, int(held.sum()), agreed)))
    numbers = np.unique(file)
    for part, result in compared:  # one foreign file among many good ones must not drown
        lfn = task.join.parents[numbers[part]].lfn
        demand_agreement([result], task.join.local.lfn, lfn)
    return tuple(
        WitnessResult(
            name,
            sum(r.compared for _, r in compared if r.name == name),
            sum(r.agreed for _, r in compared if r.name == name),
        )
        for name, _, _ in pairs
    )


def check(tools: Tools, task: CheckTask) -> CheckResult:
    """Join a local File with its parents and compare Witnesses; keep the join if they agree.

    How well objects match is told besides, and refuses nothing.

    So a TakeIndex that is kept has passed, whichever parents were added since.

    Raises:
        WrongParent: a Witness differs; no TakeIndex is kept.
        FileError, TransportError: a file cannot be read.
    """
    path = take_path(tools.index_dir, task.join.take)
    index = join_files(tools, task.join)
    try:
        witnesses = _compare(tools, task, index)
    except WrongParent:
        path.unlink(missing_ok=True)
        raise
    write_takeindex(path, index)
    return CheckResult(
        events=len(index),
        with_parent=int(index.present.sum()),
        repeated=int(index.repeated.sum()),
        local_repeats=index.local_repeats,
        witnesses=witnesses,
        matches=count_matches(tools, task, index),
    )
