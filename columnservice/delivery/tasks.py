"""What is sent to a worker process and what comes back: plain values that pickle.

Knows no database, no cache and no process; a task holds all that a worker needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from columnservice.alignment.matched import MatchCounts
from columnservice.alignment.witness import WitnessResult
from columnservice.model import (
    Column,
    Derivation,
    FileIdentity,
    FileLocation,
    FormatName,
    OfferedColumn,
    Partition,
    Recipe,
)


@dataclass(frozen=True)
class KeysTask:
    """Make the EventIndex of one File."""

    location: FileLocation
    format: FormatName


@dataclass(frozen=True)
class JoinTask:
    """Make the TakeIndex of a local File, from EventIndexes that exist."""

    local: FileLocation
    local_format: FormatName
    parents: tuple[FileLocation, ...]
    parent_format: FormatName
    take: str


@dataclass(frozen=True)
class CheckTask:
    """Compare Witnesses of a local File and its parents on a sample of events.

    Attributes:
        join: the files; its TakeIndex exists.
        local_columns: what the local File holds.
        parent_columns: for each parent File, what it holds.
        sample_events: how many events are compared.
        uploaded: path of an Arrow file with local values, for a File that the service never sees.
        match_events: on how many events objects are matched, to tell how well that goes.
    """

    join: JoinTask
    local_columns: tuple[OfferedColumn, ...]
    parent_columns: tuple[tuple[OfferedColumn, ...], ...]
    sample_events: int
    uploaded: str = ""
    match_events: int = 0


@dataclass(frozen=True)
class CheckResult:
    """What is known of a local File's parents.

    Attributes:
        events, with_parent: the coverage.
        repeated: local events that stand more than once in the parents.
        local_repeats: keys that stand more than once in the local File.
        witnesses: what was compared.
        matches: how well the objects of local collections match the parent's.
    """

    events: int
    with_parent: int
    repeated: int
    local_repeats: int
    witnesses: tuple[WitnessResult, ...]
    matches: tuple[MatchCounts, ...] = ()


@dataclass(frozen=True)
class ColumnWork:
    """One Column to make: its Recipe in each parent File and where its Piece goes."""

    column: Column
    recipes: tuple[Recipe, ...]
    piece: str


@dataclass(frozen=True)
class MaterialiseTask:
    """Make Pieces of one Partition.

    Attributes:
        local: the local File's identity.
        partition: its rows.
        parents: the candidate parent Files, as the TakeIndex counts them.
        parent_format: their Format.
        take: digest of the TakeIndex.
        columns: what is made.
        offsets: shape → the Piece of its offsets.
        proof: the Piece of the row hashes.
    """

    local: FileIdentity
    lfn: str
    partition: Partition
    parents: tuple[FileLocation, ...]
    parent_format: FormatName
    take: str
    columns: tuple[ColumnWork, ...]
    offsets: tuple[tuple[str, str], ...]
    proof: str


@dataclass(frozen=True)
class LocalWork:
    """One Column of the local File that others are computed from, and its Recipe there."""

    column: Column
    recipe: Recipe


@dataclass(frozen=True)
class DerivedWork:
    """One Column to compute: from what, and where its Piece goes."""

    column: Column
    derivation: Derivation
    piece: str


@dataclass(frozen=True)
class DeriveTask:
    """Compute Pieces of one Partition from other Columns.

    Attributes:
        source: names the Partition, the join, and every Column of the parents that is needed, with
            the Pieces that hold them.
        local: where the local File is; None where nothing of it is needed.
        local_columns: what is needed of it.
        columns: what can be computed, inputs before what is made from them.
        wanted: the Pieces that are to be made; others are taken from the cache where they are.
        offsets: shape that no parent Column has → the Piece of its offsets.
    """

    source: MaterialiseTask
    local: FileLocation | None
    local_columns: tuple[LocalWork, ...]
    columns: tuple[DerivedWork, ...]
    wanted: tuple[str, ...]
    offsets: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MaterialiseResult:
    """What was made.

    Attributes:
        source_bytes: replica URL → bytes read from it.
        seconds: time in the worker.
        unkept: Pieces that the cache did not admit, by key, to be served all the same.
    """

    source_bytes: dict[str, int]
    seconds: float
    unkept: dict[str, pa.RecordBatch] = field(default_factory=dict)


Task = KeysTask | JoinTask | CheckTask | MaterialiseTask | DeriveTask


def subject(task: Task) -> str:
    """The file that a task is about, for messages."""
    match task:
        case KeysTask():
            return task.location.lfn
        case JoinTask():
            return task.local.lfn
        case CheckTask():
            return task.join.local.lfn
        case MaterialiseTask():
            parents = ", ".join(p.lfn for p in task.parents[:2])
            more = f" and {len(task.parents) - 2} more" if len(task.parents) > 2 else ""
            return f"{parents}{more}" if parents else task.lfn
        case DeriveTask():
            return f"{task.source.lfn} with {subject(task.source)}"
