"""What is the same for all rows of a File: its parents, how they are joined, and the Recipes.

Asks the catalogue, touches no file, cache or worker: the same catalogue gives the same outline.
Knows nothing of rows; the Plan of a request is cut out of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.layouts import recipes_of
from columnservice.catalogue.partitions import partitions_of
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.derivation import Needs, digests_of, needs_of
from columnservice.delivery.tasks import JoinTask, KeysTask
from columnservice.errors import RequestError, UnknownColumn, UnsupportedColumn
from columnservice.model import (
    REFERENCE_PREFIX,
    Column,
    Dataset,
    FileLocation,
    FileRecord,
    OfferedColumn,
    Partition,
    Recipe,
    digest_of,
)
from columnservice.reader import location_of
from columnservice.search import unknown_text


@dataclass(frozen=True)
class Outline:
    """Some Columns of a local File, worked out for all its rows.

    Attributes:
        parent: name of the parent Dataset.
        columns: the Columns, in the order asked.
        join: makes the TakeIndex.
        keys: make the EventIndexes that the join needs.
        record: the local File.
        location: where it is read.
        partitions: of it, in row order.
        parents: the candidate parent Files.
        unusable_parents: Files of the parent Dataset that cannot be used at present.
        needs: all that the Columns are made from.
        recipes: Column name → its Recipe in each parent File.
        local_recipes: Column name → its Recipe in the local File.
        digests: of the Columns that are computed.
    """

    parent: str
    columns: tuple[Column, ...]
    join: JoinTask
    keys: tuple[KeysTask, ...]
    record: FileRecord
    location: FileLocation
    partitions: tuple[Partition, ...]
    parents: tuple[FileRecord, ...]
    unusable_parents: int
    needs: Needs
    recipes: Mapping[str, tuple[Recipe, ...]]
    local_recipes: Mapping[str, Recipe]
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Parents:
    """The candidate parent Files of a local File, in an order of their own.

    Attributes:
        records: every File that may hold its events.
        locations: where to read them.
        take: digest of the TakeIndex that joins with exactly these.
    """

    records: tuple[FileRecord, ...]
    locations: tuple[FileLocation, ...]
    take: str


def parents_of(
    catalogue: Catalogue, parent: str, record: FileRecord, xcaches: Mapping[str, str]
) -> Parents:
    """The candidate parents of a local File, by luminosity blocks where these are known."""
    found = catalogue.candidates(parent, record.lumis) if record.entries else ()
    records = tuple(sorted(found, key=lambda r: (r.identity.uuid, r.identity.size_bytes)))
    # The time of change too: an in-place update may keep UUID and size.
    identities = [(asdict(r.identity), r.mtime_seconds, r.columnset, r.tree) for r in records]
    take = digest_of("take", 2, asdict(record.identity), record.mtime_seconds, identities)
    return Parents(records, tuple(location_of(r, xcaches) for r in records), take)


def join_task(
    dataset: Dataset, parent: Dataset, parents: Parents, local: FileLocation
) -> tuple[JoinTask, tuple[KeysTask, ...]]:
    """The task that joins a local File, and those that must come before it."""
    join = JoinTask(local, dataset.format, parents.locations, parent.format, parents.take)
    keys = (
        KeysTask(local, dataset.format),
        *(KeysTask(location, parent.format) for location in parents.locations),
    )
    return join, keys


def choose(offered: Sequence[OfferedColumn], names: Sequence[str], dataset: str) -> list[Column]:
    """The Columns of these names that the parents can deliver.

    Raises:
        UnknownColumn, UnsupportedColumn: as they say; RequestError: a local Column was asked for.
    """
    known = {o.column.name: o.column for o in offered}
    chosen = []
    for name in dict.fromkeys(names):
        column = known.get(name)
        if column is None:
            near = unknown_text(name, known.values())
            raise UnknownColumn(f"No column {name!r} in {dataset}" + (f"; {near}" if near else "."))
        if column.support != "ok":
            raise UnsupportedColumn(f"{name} of {dataset} cannot be delivered: {column.reason}.")
        if column.origin == "local":
            raise RequestError(f"{name} stands in the local files of {dataset} already.")
        chosen.append(column)
    return chosen


def _plain(name: str) -> str:
    """The name of a Column in its own file."""
    return name.removeprefix(REFERENCE_PREFIX)


def _recipes(
    catalogue: Catalogue, parent: str, records: Sequence[FileRecord], columns: Sequence[Column]
) -> dict[str, tuple[Recipe, ...]]:
    """Column name → its Recipe in each parent File."""
    layouts = recipes_of(catalogue, parent)
    found = {}
    for column in columns:
        for record in records:
            if _plain(column.name) not in layouts.get(record.columnset, {}):
                raise UnsupportedColumn(f"{column.name} is absent from {record.lfn}.")
        found[column.name] = tuple(layouts[r.columnset][_plain(column.name)] for r in records)
    return found


def _local_recipes(
    catalogue: Catalogue, record: FileRecord, columns: Sequence[Column]
) -> dict[str, Recipe]:
    """Column name → its Recipe in the local File.

    Raises:
        UnsupportedColumn: the File lacks one, or the service knows its EventKeys only.
    """
    if not columns:
        return {}
    if not record.columnset:
        raise UnsupportedColumn(
            f"{columns[0].name} of the local file is needed to compute what was asked for, and the "
            "service knows the file by its EventKeys only.",
            "Register the file with `columnservice dataset add`.",
        )
    offered = catalogue.columnset(record.columnset).columns
    recipes = {o.column.name: o.recipe for o in offered if o.recipe}
    for column in columns:
        if column.name not in recipes:
            raise UnsupportedColumn(f"{column.name} is absent from {record.lfn}.")
    return {column.name: recipes[column.name] for column in columns}


def outline_of(
    catalogue: Catalogue,
    dataset_name: str,
    names: Sequence[str],
    record: FileRecord,
    partition_events: int,
    xcaches: Mapping[str, str],
) -> Outline:
    """Work out some Columns of a local File.

    Args:
        catalogue: what is registered.
        dataset_name: of the local File.
        names: of the Columns.
        record: the local File.
        partition_events: target size of a Partition.
        xcaches: origin prefix → cache prefix.

    Raises:
        UnknownDataset, UnknownColumn, UnsupportedColumn, RequestError.
    """
    dataset = catalogue.dataset(dataset_name)
    if dataset.parent is None:
        raise RequestError(
            f"{dataset.name} has no parent dataset, so there is nothing to add to its files.",
            "Register it with --parent.",
        )
    parent = catalogue.dataset(dataset.parent)
    offered = columns_of(catalogue, dataset.name)
    columns = choose(offered, names, dataset.name)
    needs = needs_of({o.column.name: o for o in offered}, columns)
    parents = parents_of(catalogue, parent.name, record, xcaches)
    recipes = _recipes(catalogue, parent.name, parents.records, needs.parent)
    local_recipes = _local_recipes(catalogue, record, needs.local)
    location = location_of(record, xcaches)
    join, keys = join_task(dataset, parent, parents, location)

    def unusable() -> int:
        counts = catalogue.counts(parent.name)
        return counts.failed + counts.pending

    return Outline(
        parent=parent.name,
        columns=tuple(columns),
        join=join,
        keys=keys,
        record=record,
        location=location,
        partitions=partitions_of(record, partition_events),
        parents=parents.records,
        unusable_parents=catalogue.derived("unusable", (parent.name,), unusable),
        needs=needs,
        recipes=recipes,
        local_recipes=local_recipes,
        digests=digests_of(needs, recipes, local_recipes),
    )
