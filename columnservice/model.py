"""The words of the house as immutable values: Columns, Recipes, Files, Partitions, ragged arrays.

Knows NumPy and nothing else of ours: no file, no server, no database.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

FormatName = Literal["nanoaod", "miniaod", "aod", "physlite", "daod"]
EXPERIMENTS: Mapping[FormatName, str] = {
    "nanoaod": "CMS",
    "miniaod": "CMS",
    "aod": "CMS",
    "physlite": "ATLAS",
    "daod": "ATLAS",
}
Origin = Literal["local", "parent", "reference", "derived", "servicex"]
Support = Literal["ok", "unsupported"]

Offsets: TypeAlias = NDArray[np.int64]


REFERENCE_PREFIX = "parent:"
"""Begins the name of a Column that local Files hold too, as the parent has it: not to be used but
to show, value by value, that both hold the same objects in the same order."""


BY_LABEL = "offered label by label"
"""Begins the reason of a store of values under labels, each of which is a Column of its own."""


LOCAL_PREFIX = "local:"
"""Begins the name of the shape of derived Columns that hold one item for each object of a local
collection: never the parent's shape, whatever the collection is called there."""


def local_shape(collection: str) -> str:
    """``Muon`` → ``local:Muon``."""
    return LOCAL_PREFIX + collection


@dataclass(frozen=True)
class Member:
    """One member of an item: ``("", "float32")`` for a plain number, several for a record."""

    name: str
    dtype: str


@dataclass(frozen=True)
class Column:
    """One named field of a Dataset: an event scalar, a field of a collection, or its counts.

    Attributes:
        name: what a user writes, and the branch name that coffea sees (``PFCands_pt``).
        members: the item's type; one unnamed Member for a plain number.
        depth: how many jagged axes lie between event and item; 0 for an event scalar.
        collection: the group that a user sees it in; None for an event scalar without one.
        field: its name within the collection; None where the collection is the values themselves.
        shape: name of the offsets of the outermost jagged axis. Columns with the same shape hold
            the same objects by construction of the file format; None for depth 0.
        counts_of: the shape whose counts this event scalar holds, else None.
        doc: a description, with the unit where there is one.
        origin: where it comes from.
        source: the branch path(s) or the expression that it is made from.
        support, reason: whether it can be delivered, and if not, why.
        cost_bytes: compressed bytes per event of all that it is read from, as in the first file of
            its layout that was registered; None where that is not known.
    """

    name: str
    members: tuple[Member, ...]
    depth: int
    collection: str | None = None
    field: str | None = None
    shape: str | None = None
    counts_of: str | None = None
    doc: str = ""
    origin: Origin = "parent"
    source: str = ""
    support: Support = "ok"
    reason: str = ""
    cost_bytes: float | None = None

    @property
    def type(self) -> str:
        """The type as a user reads it: ``float32``, ``var * {a: uint32, b: uint32}``."""
        if len(self.members) == 1 and not self.members[0].name:
            item = self.members[0].dtype
        else:
            item = "{" + ", ".join(f"{m.name}: {m.dtype}" for m in self.members) + "}"
        return "var * " * self.depth + item


@dataclass(frozen=True)
class BranchRead:
    """One branch as the reader shall read it.

    Attributes:
        path: the branch's full path inside the tree, parts joined by ``/``.
        raw: read each entry's bytes as they are (jagged uint8), whatever uproot thinks of the type.
    """

    path: str
    raw: bool = False


@dataclass(frozen=True)
class Recipe:
    """How a Column is made from branches of its file.

    Attributes:
        column: name of the Column.
        reads: the branches, in the order in which the decoder takes them.
        decode: name of the decoder in ``formats.decode`` (``as_is``, ``half``, …).
        parameters: the decoder's numbers, by name.
        version: counted up when the same inputs would give another result.
    """

    column: str
    reads: tuple[BranchRead, ...]
    decode: str = "as_is"
    parameters: tuple[tuple[str, float], ...] = ()
    version: int = 1

    @cached_property
    def digest(self) -> str:
        """A hash of all that decides the values (the name does not)."""
        parts = (self.reads, self.decode, self.parameters, self.version)
        return digest_of([dataclasses.asdict(r) for r in parts[0]], *parts[1:])


@dataclass(frozen=True)
class Derivation:
    """How a Column is computed from other Columns of the same local Dataset.

    Attributes:
        column: name of the Column.
        inputs: names of local, parent or derived Columns, in the order in which it is computed.
        compute: name of the computation in ``delivery.compute`` (``take``, …).
        parameters: what it is told, by name.
        version: counted up when the same inputs would give another result.
    """

    column: str
    inputs: tuple[str, ...]
    compute: str
    parameters: tuple[tuple[str, str | float | int | bool], ...] = ()
    version: int = 1

    @cached_property
    def digest(self) -> str:
        """A hash of all that decides the values but the inputs' own (the name does not)."""
        return digest_of(
            "derivation", self.inputs, self.compute, sorted(self.parameters), self.version
        )


@dataclass(frozen=True)
class OfferedColumn:
    """A Column and, where it can be read, its Recipe; or, where it is computed, its Derivation.

    Attributes:
        column: what is offered.
        recipe: how it is read.
        derivation: how it is computed.
        unlisted: of a store of values under names, or of objects whose class its file does not
            describe: how a value is read that only another file names, but for the parameters that
            stand for the name.
    """

    column: Column
    recipe: Recipe | None
    derivation: Derivation | None = None
    unlisted: Recipe | None = None


@dataclass(frozen=True)
class ColumnSet:
    """The Columns of all Files that share one layout; ``digest`` names the layout."""

    digest: str
    columns: tuple[OfferedColumn, ...]


@dataclass(frozen=True)
class FileIdentity:
    """What makes bytes the same bytes: an in-place update keeps the UUID but changes the size."""

    uuid: str
    size_bytes: int


@dataclass(frozen=True)
class LumiRange:
    """Luminosity blocks ``first`` to ``last`` (both included) of one run."""

    run: int
    first: int
    last: int


@dataclass(frozen=True)
class FileRecord:
    """A File as the catalogue knows it.

    Attributes:
        lfn: logical file name; Replicas are derived from it and ``url``.
        url: where it was registered from (a path or a ``root://`` URL).
        identity, entries, tree: as found when indexed.
        columnset: digest of its ColumnSet.
        cluster_stops: last-plus-one rows at which all branches start a new basket, ascending.
        lumis: the luminosity blocks that it holds.
        mtime_seconds: at the origin when indexed; 0 where unknown.
        through_cache: False once the file was replaced under its name: an XCache, which knows files
            by name only, may hold blocks of the old one.
    """

    lfn: str
    url: str
    identity: FileIdentity
    entries: int
    tree: str
    columnset: str
    cluster_stops: tuple[int, ...] = ()
    lumis: tuple[LumiRange, ...] = ()
    mtime_seconds: int = 0
    through_cache: bool = True


@dataclass(frozen=True)
class Partition:
    """Rows ``start`` to ``stop`` of a local File: the unit of work and of the cache."""

    start: int
    stop: int


@dataclass(frozen=True)
class Keys:
    """EventKeys in row order: ``run`` and ``lumi`` uint32, ``event`` uint64, all of one length."""

    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    event: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.event)

    def __getitem__(self, rows: Any) -> Keys:
        return Keys(self.run[rows], self.lumi[rows], self.event[rows])


@dataclass(frozen=True)
class Ragged:
    """A column's values: nested offsets around flat contents, as plain arrays.

    Attributes:
        offsets: one int64 array per jagged axis, outermost first; ``offsets[0]`` has rows + 1
            entries, starts at 0, and its last entry is the length of the next axis.
        content: member name → flat array; one entry named ``""`` for plain numbers.
    """

    offsets: tuple[Offsets, ...]
    content: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Number of jagged axes."""
        return len(self.offsets)

    def __len__(self) -> int:
        if self.offsets:
            return len(self.offsets[0]) - 1
        return len(next(iter(self.content.values())))

    @property
    def values(self) -> NDArray[Any]:
        """The flat values of a plain-number column."""
        return self.content[""]


def plain(values: NDArray[Any], *offsets: Offsets) -> Ragged:
    """A Ragged of plain numbers."""
    return Ragged(tuple(offsets), {"": values})


def digest_of(*parts: Any) -> str:
    """A short stable hash of JSON-able parts: 32 hexadecimal digits (BLAKE2b, 16 bytes)."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=list)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A named set of Files of one Format, with an optional parent Dataset."""

    name: str
    format: FormatName
    parent: str | None = None


@dataclass(frozen=True)
class FileLocation:
    """All that a reader needs to open a File and to know that it is the right one.

    Attributes:
        lfn: for messages and logs.
        replicas: URLs or paths in order of preference (XCache first, then origin).
        tree: name of the event tree.
        identity: what the opened file must be; None while it is being registered.
        mtime_seconds: at the origin when it was registered; 0 where unknown.
    """

    lfn: str
    replicas: tuple[str, ...]
    tree: str
    identity: FileIdentity | None = None
    mtime_seconds: int = 0
