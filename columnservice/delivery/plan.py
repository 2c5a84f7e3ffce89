"""What a request means: which Columns, Partitions and Pieces, and the tasks that make them.

Asks the catalogue, touches no file, cache or worker: the same catalogue gives the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.partitions import partitions_of
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.pieces import content_name, offsets_name, proof_name
from columnservice.delivery.tasks import ColumnWork, JoinTask, KeysTask, MaterialiseTask
from columnservice.errors import (
    OutOfRange,
    RequestError,
    UnknownColumn,
    UnsupportedColumn,
    nearest,
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
        task: what makes all of its Pieces.
    """

    start: int
    stop: int
    task: MaterialiseTask

    @property
    def offsets(self) -> dict[str, str]:
        """Shape → key of its offsets Piece."""
        return dict(self.task.offsets)

    def pieces(self) -> tuple[str, ...]:
        """Keys of all Pieces that the reply needs."""
        contents = (work.piece for work in self.task.columns)
        return (self.task.proof, *self.offsets.values(), *contents)

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
            near = nearest(name, known)
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
    catalogue: Catalogue, records: Sequence[FileRecord], columns: Sequence[Column]
) -> dict[str, tuple[Recipe, ...]]:
    """Column name → its Recipe in each parent File."""
    layouts: dict[str, dict[str, Recipe]] = {}
    for record in records:
        if record.columnset not in layouts:
            offered = catalogue.columnset(record.columnset).columns
            layouts[record.columnset] = {o.column.name: o.recipe for o in offered if o.recipe}
    found = {}
    for column in columns:
        for record in records:
            if _plain(column.name) not in layouts[record.columnset]:
                raise UnsupportedColumn(f"{column.name} is absent from {record.lfn}.")
        found[column.name] = tuple(layouts[r.columnset][_plain(column.name)] for r in records)
    return found


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
    columns = choose(columns_of(catalogue, dataset.name), request.columns, dataset.name)
    parents = parents_of(catalogue, parent.name, record, xcaches)
    recipes = _recipes(catalogue, parents.records, columns)
    join, keys = join_task(dataset, parent, parents, location_of(record, xcaches))
    shapes = list(dict.fromkeys(c.shape for c in columns if c.shape is not None))

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
                for c in columns
            ),
            offsets=tuple((s, offsets_name(local, partition, take, s)) for s in shapes),
            proof=proof_name(local, partition, take),
        )

    parts = tuple(
        PartPlan(max(p.start, request.start), min(p.stop, request.stop), task(p))
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
