"""Which Columns a Dataset offers: its own and its parent's, merged over the layouts of its Files.

Asks the catalogue; opens no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from columnservice.catalogue.costs import mean_cost, with_costs
from columnservice.catalogue.defined import defined_columns
from columnservice.catalogue.derived import derived_columns
from columnservice.catalogue.layouts import layouts_of
from columnservice.catalogue.store import Catalogue
from columnservice.model import (
    REFERENCE_PREFIX,
    Column,
    ColumnSet,
    Member,
    OfferedColumn,
    Origin,
)
from columnservice.selection.installed import installed

RECOGNISED_BY = ("eta", "phi", "pt", "mass", "m")
_FIT_INT64 = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")


def columns_of(catalogue: Catalogue, dataset: str) -> tuple[OfferedColumn, ...]:
    """Every Column of a Dataset: local ones, then those of the parent whose name is not local, then
    those that are computed from both.

    A Column that cannot be delivered for every File is unsupported, with the reason. Its Recipe is
    the first layout's: what reads a File asks for the Recipe in that File's own ColumnSet.

    Raises:
        UnknownDataset: there is none of that name.
    """
    here = catalogue.dataset(dataset)
    names = (here.name,) if here.parent is None else (here.name, here.parent)

    def offer() -> tuple[OfferedColumn, ...]:
        layouts = layouts_of(catalogue, here.name)
        local = merged(layouts, "local")
        if here.parent is None:
            return local
        remote = merged(layouts_of(catalogue, here.parent), "parent")
        formats = (here.format, catalogue.dataset(here.parent).format)
        kinds = [layout.columns for layout, _ in layouts]
        derived = derived_columns(formats, local, remote, kinds)
        # The local one wins, then what was computed for the local objects.
        taken = {offered.column.name for offered in (*local, *derived)}
        added = tuple(o for o in remote if o.column.name not in taken)
        known = (*local, *added, *references(local, remote, derived), *derived)
        users = catalogue.definitions(here.name)
        return with_costs((*known, *defined_columns(here.format, known, installed()[0], users)))

    return catalogue.derived("columns", names, offer)


def references(
    local: Sequence[OfferedColumn],
    remote: Sequence[OfferedColumn],
    derived: Sequence[OfferedColumn] = (),
) -> tuple[OfferedColumn, ...]:
    """The parent's version of Columns that local Files hold too, by which objects are recognised.

    For each collection that both hold: its directions and momenta, else its first float; and what
    derived Columns are computed from.
    """
    mine = {o.column.name: o.column for o in local if o.column.support == "ok"}
    shared: dict[str, list[OfferedColumn]] = {}
    for offered in remote:
        column = offered.column
        here = mine.get(column.name)
        if here is None or offered.recipe is None or column.collection is None:
            continue
        if here.depth == column.depth == 1 and _is_float(here) and _is_float(column):
            shared.setdefault(column.collection, []).append(offered)
    found = []
    for candidates in shared.values():
        found += [o for o in candidates if o.column.field in RECOGNISED_BY] or candidates[:1]
    told = {o.column.name for o in found}
    needed = {name for o in derived if o.derivation for name in o.derivation.inputs}
    needed -= {REFERENCE_PREFIX + name for name in told}
    found += [o for o in remote if REFERENCE_PREFIX + o.column.name in needed]
    return tuple(_reference(offered) for offered in found)


def _is_float(column: Column) -> bool:
    return len(column.members) == 1 and column.members[0].dtype in ("float32", "float64")


def _reference(offered: OfferedColumn) -> OfferedColumn:
    column = offered.column
    name = REFERENCE_PREFIX + column.name
    shape = name if column.shape == column.name else column.shape
    doc = "As the parent has it, to show that both hold the same objects in the same order."
    made = replace(column, name=name, shape=shape, origin="reference", doc=doc)
    return OfferedColumn(made, offered.recipe)


def merged(layouts: Sequence[tuple[ColumnSet, int]], origin: Origin) -> tuple[OfferedColumn, ...]:
    """The Columns of several layouts as one list, in order of first appearance.

    Args:
        layouts: ColumnSets, each with the number of Files that have it.
        origin: what the Columns' ``origin`` becomes.
    """
    total = sum(count for _, count in layouts)
    versions: dict[str, list[tuple[OfferedColumn, int]]] = {}
    for columnset, count in layouts:
        for offered in columnset.columns:
            versions.setdefault(offered.column.name, []).append((offered, count))
    return tuple(_one(found, total, origin) for found in versions.values())


def _one(found: Sequence[tuple[OfferedColumn, int]], total: int, origin: Origin) -> OfferedColumn:
    """One Column from its versions in those layouts that have it."""
    offered = [o for o, _ in found]
    columns = _reconciled([o.column for o in offered])
    reason = _hindrance(columns, sum(count for _, count in found), total)
    column = replace(columns[0], origin=origin, cost_bytes=mean_cost(found))
    if not reason:
        return OfferedColumn(column, offered[0].recipe)
    return OfferedColumn(replace(column, support="unsupported", reason=reason), None)


def _reconciled(columns: Sequence[Column]) -> list[Column]:
    """Counts that Files store as different integers, all as int64.

    NanoAOD counts in uint32 until v11 and in int32 since, ROOT's importer of RNTuples in uint32.
    """
    differ = len({c.type for c in columns}) > 1
    if differ and all(c.counts_of is not None and c.type in _FIT_INT64 for c in columns):
        return [replace(c, members=(Member("", "int64"),)) for c in columns]
    return list(columns)


def _hindrance(columns: Sequence[Column], files: int, total: int) -> str:
    """Why a Column cannot be delivered for all Files, or an empty text."""
    unsupported = next((c for c in columns if c.support != "ok"), None)
    if unsupported is not None:
        return unsupported.reason
    if files < total:
        return f"absent from {total - files} of {total} files"
    if len({c.type for c in columns}) > 1:
        kinds = ", ".join(dict.fromkeys(c.type for c in columns))
        return f"its type differs between files: {kinds}"
    if len({(c.shape, c.counts_of) for c in columns}) > 1:
        return "it belongs to different collections in different files"
    return ""
