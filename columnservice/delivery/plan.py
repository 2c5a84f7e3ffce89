"""What a request means: which Partitions and Pieces, and the tasks that make them.

Pure arithmetic over an Outline: asks nobody, touches no file, cache or worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from columnservice.delivery.derivation import derive_task
from columnservice.delivery.outline import Outline
from columnservice.delivery.partplan import PartPlan
from columnservice.delivery.pieces import content_name, offsets_name, proof_name
from columnservice.delivery.tasks import ColumnWork, MaterialiseTask
from columnservice.errors import OutOfRange
from columnservice.model import FileRecord, Partition


@dataclass(frozen=True)
class ColumnRequest:
    """What a client asks for: Columns of rows ``start`` to ``stop`` of a File of a Dataset."""

    dataset: str
    file: str
    start: int
    stop: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A request, worked out.

    Attributes:
        request: as asked.
        outline: what holds for all rows of the File.
        parts: the Partitions touched, in row order.
    """

    request: ColumnRequest
    outline: Outline
    parts: tuple[PartPlan, ...]


def _demand_range(request: ColumnRequest, record: FileRecord) -> None:
    if not 0 <= request.start <= request.stop <= record.entries:
        raise OutOfRange(
            f"Entries {request.start} to {request.stop} of {record.lfn}, which has "
            f"{record.entries}."
        )


def _touched(outline: Outline, request: ColumnRequest) -> Iterator[Partition]:
    """The Partitions in which rows of a request lie."""
    for partition in outline.partitions:
        if partition.start < request.stop and request.start < partition.stop:
            yield partition


def pieces_to_name(outline: Outline, request: ColumnRequest) -> int:
    """How many contents a Plan must find names for: what it costs to make."""
    columns = len(outline.needs.parent) + len(outline.needs.derived)
    return columns * sum(1 for _ in _touched(outline, request))


def plan(outline: Outline, request: ColumnRequest) -> Plan:
    """Work out a request.

    Args:
        outline: of its Columns and its File.
        request: what is asked for.

    Raises:
        OutOfRange: the File does not have these rows.
    """
    _demand_range(request, outline.record)
    parts = tuple(_part(outline, p, request) for p in _touched(outline, request))
    return Plan(request, outline, parts)


def _part(outline: Outline, partition: Partition, request: ColumnRequest) -> PartPlan:
    """What of a request lies in one Partition."""
    source = _task(outline, partition)
    derive = derive_task(
        source, outline.needs, outline.digests, outline.location, outline.local_recipes
    )
    start, stop = max(partition.start, request.start), min(partition.stop, request.stop)
    return PartPlan(start, stop, source, derive, tuple(c.name for c in outline.columns))


def _task(outline: Outline, partition: Partition) -> MaterialiseTask:
    """What reads all that is needed of the parents for one Partition."""
    record, join, recipes = outline.record, outline.join, outline.recipes
    local, take, columns = record.identity, join.take, outline.needs.parent
    shapes = dict.fromkeys(c.shape for c in columns if c.shape is not None)
    return MaterialiseTask(
        local=local,
        lfn=record.lfn,
        partition=partition,
        parents=join.parents,
        parent_format=join.parent_format,
        take=take,
        columns=tuple(
            ColumnWork(c, recipes[c.name], content_name(local, partition, take, c, recipes[c.name]))
            for c in columns
        ),
        offsets=tuple((s, offsets_name(local, partition, take, s)) for s in shapes),
        proof=proof_name(local, partition, take),
    )
