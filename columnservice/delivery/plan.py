"""What a request means: which Columns, Partitions and Pieces, and the tasks that make them.

Asks the catalogue, touches no file, cache or worker: the same catalogue gives the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.layouts import recipes_of
from columnservice.catalogue.partitions import partitions_of
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.derivation import derive_task, digests_of, needs_of
from columnservice.delivery.pieces import content_name, offsets_name, proof_name
from columnservice.delivery.tasks import (
    ColumnWork,
    DerivedWork,
    DeriveTask,
    JoinTask,
    KeysTask,
    MaterialiseTask,
)
from columnservice.errors import (
    OutOfRange,
    RequestError,
    UnknownColumn,
    UnsupportedColumn,
)
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
class ColumnRequest:
    """What a client asks for: Columns of rows ``start`` to ``stop`` of a File of a Dataset."""

    dataset: str
    file: str
    start: int
    stop: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class PartPlan:
    """The part of a request that lies in one Partition.

    Attributes:
        start, stop: the rows of the local File that were asked for.
        task: what makes all Pieces that are read from the parents, for the reply or to compute
            others from.
        derive: what computes the others; None where there are none.
        asked: names of the Columns of the reply, in order; None for all of ``task``.
    """

    start: int
    stop: int
    task: MaterialiseTask
    derive: DeriveTask | None = None
    asked: tuple[str, ...] | None = None

    @cached_property
    def works(self) -> tuple[ColumnWork | DerivedWork, ...]:
        """The Columns of the reply, in order."""
        if self.asked is None:
            return self.task.columns
        derived = self.derive.columns if self.derive else ()
        works: dict[str, ColumnWork | DerivedWork] = {w.column.name: w for w in self.task.columns}
        works |= {w.column.name: w for w in derived}
        return tuple(works[name] for name in self.asked)

    @cached_property
    def offsets(self) -> dict[str, str]:
        """Shape → key of its offsets Piece, for the shapes of the reply."""
        shapes = {work.column.shape for work in self.works}
        known = (*self.task.offsets, *(self.derive.offsets if self.derive else ()))
        return {shape: piece for shape, piece in known if shape in shapes}

    def pieces(self) -> tuple[str, ...]:
        """Keys of all Pieces that the reply needs."""
        contents = (work.piece for work in self.works)
        return (self.task.proof, *self.offsets.values(), *contents)

    def computed(self) -> frozenset[str]:
        """Keys of all Pieces that are computed from others."""
        if self.derive is None:
            return frozenset()
        contents = (work.piece for work in self.derive.columns)
        return frozenset((*contents, *(piece for _, piece in self.derive.offsets)))

    def derived(self, missing: Sequence[str]) -> DeriveTask | None:
        """The task that computes some of the Pieces; None where none of them is computed.

        An offsets Piece needs a Column of its shape, so one such Column is computed with it.
        """
        if self.derive is None:
            return None
        pieces = set(missing)
        wanted = {w.piece: w.column.shape for w in self.derive.columns if w.piece in pieces}
        for shape, piece in self.derive.offsets:
            if piece in pieces and shape not in wanted.values():
                first = next(w for w in self.derive.columns if w.column.shape == shape)
                wanted[first.piece] = shape
        return replace(self.derive, wanted=tuple(wanted)) if wanted else None

    def sources(self, names: Iterable[str]) -> tuple[str, ...]:
        """Keys of the Pieces of Columns that are read from the parents, with their offsets."""
        wanted = set(names)
        works = [work for work in self.task.columns if work.column.name in wanted]
        shapes = {work.column.shape for work in works}
        offsets = (piece for shape, piece in self.task.offsets if shape in shapes)
        return (*offsets, *(work.piece for work in works))

    def only(self, missing: Sequence[str]) -> MaterialiseTask:
        """The task that makes some of the Pieces.

        An offsets Piece needs a Column of its shape, so one such Column is made with it.
        """
        wanted = set(missing)
        shapes = {shape for shape, piece in self.task.offsets if piece in wanted}
        kept = [work for work in self.task.columns if work.piece in wanted]
        for shape in shapes - {work.column.shape for work in kept}:
            kept.append(next(w for w in self.task.columns if w.column.shape == shape))
        made = {work.column.shape for work in kept}
        offsets = tuple((s, piece) for s, piece in self.task.offsets if s in made)
        return replace(self.task, columns=tuple(kept), offsets=offsets)


@dataclass(frozen=True)
class Plan:
    """A request, worked out.

    Attributes:
        request: as asked.
        columns: the Columns, in the order asked.
        join: makes the TakeIndex.
        keys: make the EventIndexes that the join needs.
        parts: the Partitions touched, in row order.
        record: the local File.
        parents: the candidate parent Files.
        unusable_parents: Files of the parent Dataset that cannot be used at present.
    """

    request: ColumnRequest
    columns: tuple[Column, ...]
    join: JoinTask
    keys: tuple[KeysTask, ...]
    parts: tuple[PartPlan, ...]
    record: FileRecord
    parents: tuple[FileRecord, ...]
    unusable_parents: int


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


def _demand_range(request: ColumnRequest, record: FileRecord) -> None:
    if not 0 <= request.start <= request.stop <= record.entries:
        raise OutOfRange(
            f"Entries {request.start} to {request.stop} of {record.lfn}, which has "
            f"{record.entries}."
        )


def plan(
    catalogue: Catalogue,
    request: ColumnRequest,
    record: FileRecord,
    partition_events: int,
    xcaches: Mapping[str, str],
) -> Plan:
    """Work out a request.

    Args:
        catalogue: what is registered.
        request: what is asked for.
        record: the local File that the request names.
        partition_events: target size of a Partition.
        xcaches: origin prefix → cache prefix.

    Raises:
        UnknownDataset, UnknownColumn, UnsupportedColumn, OutOfRange, RequestError.
    """
    dataset = catalogue.dataset(request.dataset)
    if dataset.parent is None:
        raise RequestError(
            f"{dataset.name} has no parent dataset, so there is nothing to add to its files.",
            "Register it with --parent.",
        )
    parent = catalogue.dataset(dataset.parent)
    _demand_range(request, record)
    offered = columns_of(catalogue, dataset.name)
    columns = choose(offered, request.columns, dataset.name)
    needs = needs_of({o.column.name: o for o in offered}, columns)
    parents = parents_of(catalogue, parent.name, record, xcaches)
    recipes = _recipes(catalogue, parent.name, parents.records, needs.parent)
    local_recipes = _local_recipes(catalogue, record, needs.local)
    digests = digests_of(needs, recipes, local_recipes)
    location = location_of(record, xcaches)
    join, keys = join_task(dataset, parent, parents, location)
    shapes = list(dict.fromkeys(c.shape for c in needs.parent if c.shape is not None))
    asked = tuple(c.name for c in columns)

    def task(partition: Partition) -> MaterialiseTask:
        local, take = record.identity, parents.take
        return MaterialiseTask(
            local=local,
            lfn=record.lfn,
            partition=partition,
            parents=parents.locations,
            parent_format=parent.format,
            take=take,
            columns=tuple(
                ColumnWork(
                    c,
                    recipes[c.name],
                    content_name(local, partition, take, c, recipes[c.name]),
                )
                for c in needs.parent
            ),
            offsets=tuple((s, offsets_name(local, partition, take, s)) for s in shapes),
            proof=proof_name(local, partition, take),
        )

    def part(partition: Partition) -> PartPlan:
        start, stop = max(partition.start, request.start), min(partition.stop, request.stop)
        source = task(partition)
        derive = derive_task(source, needs, digests, location, local_recipes)
        return PartPlan(start, stop, source, derive, asked)

    parts = tuple(
        part(p)
        for p in partitions_of(record, partition_events)
        if p.start < request.stop and request.start < p.stop
    )

    def unusable() -> int:
        counts = catalogue.counts(parent.name)
        return counts.failed + counts.pending

    return Plan(
        request,
        tuple(columns),
        join,
        keys,
        parts,
        record,
        parents.records,
        catalogue.derived("unusable", (parent.name,), unusable),
    )
