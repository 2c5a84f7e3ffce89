"""Looking at a sample of events whether local objects match the parent's, in a worker process.

Like Witnesses, it shows before anybody runs an analysis what a Dataset is worth; unlike them, it
refuses nothing: objects without a match are normal. Knows files, formats and alignment.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from columnservice.alignment.gather import gather
from columnservice.alignment.matched import MatchCounts, count
from columnservice.alignment.takeindex import TakeIndex
from columnservice.catalogue.derived import derived_columns, matched_with
from columnservice.catalogue.matchwords import MATCH_AMBIGUOUS, MATCH_DISTANCE, MATCH_INDEX
from columnservice.delivery.compute import compute
from columnservice.delivery.tasks import CheckTask
from columnservice.delivery.tools import Tools
from columnservice.errors import AlignmentError, FileError
from columnservice.formats import apply
from columnservice.model import (
    REFERENCE_PREFIX,
    Derivation,
    FileLocation,
    OfferedColumn,
    Ragged,
)
from columnservice.reader import read_rows

Rows = NDArray[np.int64]
_EVIDENCE = (MATCH_INDEX, MATCH_AMBIGUOUS, MATCH_DISTANCE)


def neighbours(index: TakeIndex, most: int) -> tuple[int, Rows]:
    """Local rows next to each other whose events stand in one parent file, from its middle.

    Args:
        index: the join.
        most: how many rows.

    Returns:
        The parent file that holds most events, and rows; none where no event has a parent.
    """
    files, counts = np.unique(index.file[index.present], return_counts=True)
    if not len(files):
        return -1, np.zeros(0, np.int64)
    number = int(files[np.argmax(counts)])
    rows = np.flatnonzero(index.file == number).astype(np.int64)
    first = max(0, (len(rows) - most) // 2)
    return number, rows[first : first + most]


def _read(
    tools: Tools, location: FileLocation, offered: Sequence[OfferedColumn], rows: Rows
) -> dict[str, Ragged]:
    recipes = [o.recipe for o in offered if o.recipe is not None]
    reads = [read for recipe in recipes for read in recipe.reads]
    found = read_rows(tools.pool, location, reads, rows, tools.threads).arrays
    arrays = dict(zip(reads, found, strict=True))
    return {recipe.column: apply(recipe, [arrays[r] for r in recipe.reads]) for recipe in recipes}


def _values(tools: Tools, task: CheckTask, index: TakeIndex, wanted: set[str]) -> dict[str, Ragged]:
    """The local and parent Columns of these names, for the sampled rows."""
    number, rows = neighbours(index, task.match_events)
    local = [o for o in task.local_columns if o.column.name in wanted]
    mine = {o.column.name for o in local}
    theirs = {name.removeprefix(REFERENCE_PREFIX): name for name in wanted - mine}
    parent = [o for o in task.parent_columns[number] if o.column.name in theirs]
    row = index.row[rows]
    above = np.unique(row)
    values = _read(tools, task.join.parents[number], parent, above)
    position, part = np.searchsorted(above, row).astype(np.int64), np.zeros(len(rows), np.int32)
    gathered = {theirs[name]: gather([ragged], part, position) for name, ragged in values.items()}
    return gathered | _read(tools, task.join.local, local, rows)


def count_matches(tools: Tools, task: CheckTask, index: TakeIndex) -> tuple[MatchCounts, ...]:
    """Counts for each local collection that is matched with one of the parent's.

    Raises:
        TransportError: a file cannot be reached.
    """
    number, rows = neighbours(index, task.match_events)
    if not len(rows) or task.uploaded:
        return ()
    formats = (task.join.local_format, task.join.parent_format)
    offered = derived_columns(formats, task.local_columns, task.parent_columns[number])
    known = {o.column.name: o for o in offered}
    evidence: dict[tuple[str, str], dict[str, Derivation]] = {}
    for o in offered:
        if o.derivation and o.derivation.compute in _EVIDENCE:
            evidence.setdefault(matched_with(o, known), {})[o.derivation.compute] = o.derivation
    evidence = {sides: d for sides, d in evidence.items() if len(d) == len(_EVIDENCE)}
    made = {d[MATCH_INDEX].column for d in evidence.values()}
    inputs = {name for one in evidence.values() for d in one.values() for name in d.inputs} - made
    if not inputs:
        return ()
    try:
        values = _values(tools, task, index, inputs)
        return tuple(_count(*sides, derivations, values) for sides, derivations in evidence.items())
    except (FileError, AlignmentError) as error:
        return tuple(MatchCounts(*sides, 0, 0, 0, (), error.message) for sides in evidence)


def _count(
    local: str, parent: str, derivations: dict[str, Derivation], values: dict[str, Ragged]
) -> MatchCounts:
    found = dict(values)
    for name in _EVIDENCE:
        derivation = derivations[name]
        made = compute(derivation, [found[i] for i in derivation.inputs])
        found[derivation.column] = found[name] = made
    return count(local, parent, found[MATCH_INDEX], found[MATCH_AMBIGUOUS], found[MATCH_DISTANCE])
