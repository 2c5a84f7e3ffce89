"""A local file's own columns and fetched ones together, as an RNTuple that needs no service.

The fetched columns come as branches of the local file, as in coffea: the plugin proves them,
compares objects and fills events without a parent, so that all columns of a collection have the
same lists. Knows files and the client; nothing of how columns are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot

from columnservice import wire
from columnservice.cli.fields import field_form, field_name, layout_of, ntuple_named, with_counts
from columnservice.cli.writing import whole_file
from columnservice.errors import UnknownColumn, UnsupportedColumn, nearest
from columnservice.formats import apply, find_tree, format_named
from columnservice.model import Column, FileLocation, OfferedColumn
from columnservice.reader import FilePool, read_rows

if TYPE_CHECKING:
    from columnservice.client import Service


@dataclass(frozen=True)
class Own:
    """Columns of a local file.

    Attributes:
        taken: those that are written, with their Recipes.
        lost: those that were meant too and cannot be, with the reason.
    """

    taken: tuple[OfferedColumn, ...]
    lost: tuple[Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those that are written."""
        return tuple(offered.column for offered in self.taken)


def own_columns(
    pool: FilePool, location: FileLocation, format_name: str, names: Sequence[str]
) -> Own:
    """The Columns of a local file of these names and patterns.

    Raises:
        UnknownColumn: there is none of a name, or nothing fits a pattern.
        UnsupportedColumn: one that was named cannot be read; says why.
    """
    fmt = format_named(format_name)
    with pool.tree(location) as opened:
        offered = fmt.offer(find_tree(opened.directory, fmt))
    known = {o.column.name: o for o in offered}
    found: dict[str, OfferedColumn] = {}
    for name in (n.strip() for n in names if n.strip()):
        fitting = [known[name]] if name in known else _like(name, offered)
        if not fitting:
            near = nearest(name, known)
            raise UnknownColumn(
                f"{location.lfn} has no column {name!r}" + (f"; {near}" if near else "."),
                "Name columns of the local file, or patterns: --with-local 'Muon_*,MET_*'.",
            )
        if name in known and known[name].recipe is None:
            reason = known[name].column.reason
            raise UnsupportedColumn(f"{name} of {location.lfn} cannot be read: {reason}.")
        found.update((o.column.name, o) for o in fitting)
    taken = tuple(o for o in found.values() if o.recipe is not None)
    return Own(taken, tuple(o.column for o in found.values() if o.recipe is None))


def _like(pattern: str, offered: Iterable[OfferedColumn]) -> list[OfferedColumn]:
    return [o for o in offered if fnmatchcase(o.column.name, pattern)]


def write_together(
    path: Path,
    service: Service,
    dataset: str,
    pool: FilePool,
    location: FileLocation,
    own: Own,
    fetched: Sequence[Column],
    ranges: Iterable[tuple[int, int]],
) -> int:
    """Write a file with columns of both kinds, row by row as in the local file.

    Args:
        path: where; an older file there is replaced at the end.
        service, dataset: who has the fetched Columns.
        pool, location: of the local file.
        own: its Columns.
        fetched: Columns that it lacks.
        ranges: rows, some at a time.

    Returns:
        How many events have no parent.

    Raises:
        UnsupportedColumn: a fetched Column does not fit beside the local ones.
        CountsMismatch, ProofMismatch: it belongs to other objects or events.
        SetupError: the file cannot be written.
    """
    columns = [*own.columns, *fetched]
    tree = _with_remote(service, dataset, location, [c.name for c in fetched])
    missing = 0
    with (
        whole_file(path) as beside,
        uproot.recreate(beside, compression=uproot.ZSTD(5)) as file,
    ):
        made = file.mkrntuple(ntuple_named(location.tree), field_form(columns))
        for start, stop in ranges:
            present = np.asarray(tree[wire.HAS_PARENT].array(entry_start=start, entry_stop=stop))
            found = _read_own(pool, location, own, start, stop)
            for column in fetched:
                array = tree[_branch(tree, column)].array(entry_start=start, entry_stop=stop)
                found[field_name(column)] = ak.to_packed(array).layout
            if stop > start:
                made.extend(with_counts(columns, found, present))
            missing += int((~present).sum())
    return missing


def _with_remote(service: Service, dataset: str, location: FileLocation, names: list[str]) -> Any:
    """The local file's tree, in which these Columns are branches."""
    from coffea.nanoevents import BaseSchema

    options = service.nanoevents(
        BaseSchema, dataset=dataset, columns=names, missing="mask", prefetch=names
    )
    return uproot.open({location.replicas[0]: location.tree}, **options["uproot_options"])


def _branch(tree: Any, column: Column) -> str:
    """What a Column is called there: RNTuples have colons where TTrees have dots."""
    return column.name if column.name in tree else field_name(column)


def _read_own(
    pool: FilePool, location: FileLocation, own: Own, start: int, stop: int
) -> dict[str, Any]:
    """The values of a local file's Columns, by the names of their fields."""
    recipes = [o.recipe for o in own.taken if o.recipe is not None]
    reads = list(dict.fromkeys(read for recipe in recipes for read in recipe.reads))
    rows = np.arange(start, stop, dtype=np.int64)
    arrays = dict(zip(reads, read_rows(pool, location, reads, rows).arrays, strict=True))
    return {
        field_name(column): layout_of(apply(recipe, [arrays[read] for read in recipe.reads]))
        for column, recipe in zip(own.columns, recipes, strict=True)
    }
