"""The NanoAOD Format of CMS: a flat tree whose branch names are the Column names.

A jagged branch ``Jet_pt`` is counted by ``nJet``; the counter names the collection. Some writers
(uproot) give every branch a counter of its own, ``nJet_pt``: there the name's prefix does. An
RNTuple of the same data offers the same Columns, whether it holds the branches under their names
(ROOT's importer) or as lists of records (``Jet`` with ``pt``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from columnservice.errors import DamagedFile
from columnservice.formats.discovery import Readable, Refused, discover
from columnservice.formats.format import (
    Format,
    Witness,
    event_tree,
    keys_of_scalars,
    merge_lumis,
    scalar_key_reads,
)
from columnservice.formats.ntuple import NTuple
from columnservice.model import (
    BranchRead,
    Column,
    LumiRange,
    Member,
    OfferedColumn,
    Recipe,
)

if TYPE_CHECKING:
    from uproot import ReadOnlyDirectory, TTree

KEYS = ("run", "luminosityBlock", "event")
# Where ROOT's RNTupleImporter stores lists that are counted together.
_STORE = re.compile(r"_collection[0-9]+")


@dataclass(frozen=True)
class _Source:
    """A branch of a TTree, or a field of an RNTuple.

    Attributes:
        name: as a NanoAOD has it; a field of a record in an RNTuple is ``record_field``.
        path: where it is read.
        doc: its description.
        found: what it holds.
        counter: name of what counts it, where something does; it need not exist.
        own_counter: name of a branch that counts this one only and says nothing else.
    """

    name: str
    path: str
    doc: str
    found: Readable | Refused
    counter: str | None = None
    own_counter: str | None = None

    @property
    def jagged(self) -> bool:
        """Whether it holds a list per event."""
        return isinstance(self.found, Readable) and self.found.depth > 0


def _prefix(name: str) -> str:
    return name.partition("_")[0]


def _branches(tree: TTree) -> Iterator[_Source]:
    for branch in tree.branches:
        if branch.branches:
            continue
        name, counter = branch.name, branch.count_branch
        doc = branch.title if branch.title != name else ""
        counted = None if counter is None else str(counter.name)
        own = None if counted is None else f"n{name}"
        yield _Source(name, name, doc, discover(branch), None if counted == own else counted, own)


def _fields(ntuple: NTuple) -> Iterator[_Source]:
    """What ROOT's RNTupleImporter makes of a NanoAOD, and records of lists as others write them.

    The importer stores the lists that one branch counts together, in a collection of its own name,
    and shows each under its old name, as it shows the counts.
    """
    fields = ntuple.fields
    counters = {field.axes: path for path, field in fields.items() if field.counts}
    for path, field in fields.items():
        inner = isinstance(field.found, Readable) and field.found.members[0].name
        if _STORE.fullmatch(field.parts[0]) or inner or field.is_record:
            continue
        record = None if len(field.parts) == 1 else f"n{field.parts[0]}"
        counter, name = record or counters.get(field.axes[:1]), "_".join(field.parts)
        own = f"n{name}" if counter == f"n{name}" else None
        yield _Source(name, path, field.doc, field.found, None if own else counter, own)


def _shape(source: _Source, tree: TTree | NTuple) -> str:
    """Which collection a jagged branch belongs to; its own name where it is alone."""
    if source.counter is not None and source.counter.startswith("n"):
        return source.counter[1:]
    prefix = _prefix(source.name)
    return prefix if "n" + prefix in tree else source.name


def _field(name: str, collection: str) -> str | None:
    return name[len(collection) + 1 :] if name.startswith(collection + "_") else None


def _column(source: _Source, shape: str | None) -> OfferedColumn:
    """The Column of one branch."""
    name, found, path = source.name, source.found, source.path
    collection = shape or (_prefix(name) if "_" in name else None)
    field = None if collection is None else _field(name, collection)
    if isinstance(found, Refused):
        column = Column(
            name, (), 0, collection, field, None, None, source.doc, source=path,
            support="unsupported", reason=found.reason,
        )  # fmt: skip
        return OfferedColumn(column, None)
    column = Column(
        name, found.members, found.depth, collection, field, shape, None, source.doc, source=path
    )
    return OfferedColumn(column, Recipe(name, (BranchRead(path),)))


def _counts(shape: str, first: str, sources: Mapping[str, _Source]) -> OfferedColumn:
    """The counts of a collection: its counter where there is one, else from a jagged branch."""
    name = "n" + shape
    counter = sources.get(name)
    if counter is not None:
        if isinstance(counter.found, Refused) or counter.found.depth:
            raise DamagedFile(f"branch {name!r} does not count {shape!r}.")
        members, doc = counter.found.members, counter.doc
        recipe = Recipe(name, (BranchRead(name),))
    else:
        members, doc = (Member("", "int32"),), f"number of {shape}"
        recipe = Recipe(name, (BranchRead(first),), "counts")
    column = Column(name, members, 0, counts_of=shape, doc=doc, source=recipe.reads[0].path)
    return OfferedColumn(column, recipe)


def offer(tree: TTree | NTuple) -> tuple[OfferedColumn, ...]:
    """Every branch of the tree as a Column, a collection's counts before its first field."""
    found = _fields(tree) if isinstance(tree, NTuple) else _branches(tree)
    sources = {source.name: source for source in found}
    shapes = {s.name: _shape(s, tree) for s in sources.values() if s.jagged}
    counters = {"n" + shape for shape in shapes.values()}
    # counters of one branch only, as uproot writes them, say nothing that the shape's do not
    counters |= {s.own_counter for s in sources.values() if s.jagged and s.own_counter}
    offered: list[OfferedColumn] = []
    counted: set[str] = set()
    for source in sources.values():
        if source.name in counters:
            continue
        shape = shapes.get(source.name)
        if shape is not None and shape not in counted:
            counted.add(shape)
            offered.append(_counts(shape, source.path, sources))
        offered.append(_column(source, shape))
    return tuple(offered)


def key_reads(tree: TTree | NTuple) -> tuple[BranchRead, ...]:
    """The three key branches; NoEventKeys names those that are missing."""
    return scalar_key_reads(tree, {name: (name,) for name in KEYS})


def lumi_ranges(directory: ReadOnlyDirectory) -> tuple[LumiRange, ...] | None:
    """The luminosity blocks that the file's ``LuminosityBlocks`` tree lists; None without any."""
    found = event_tree(directory, "LuminosityBlocks")
    if found is None or not found.num_entries or any(name not in found for name in KEYS[:2]):
        return None
    tree = found.model if isinstance(found, NTuple) else found
    run, lumi = (tree[name].array(library="np") for name in KEYS[:2])
    return merge_lumis(run.astype(np.uint32), lumi.astype(np.uint32))


NANOAOD = Format(
    name="nanoaod",
    trees=("Events",),
    offer=offer,
    key_reads=key_reads,
    keys=keys_of_scalars,
    witnesses=(
        Witness("fixedGridRhoFastjetAll", "fixedGridRhoFastjetAll"),
        Witness("fixedGridRhoFastjetAll", "Rho_fixedGridRhoFastjetAll"),
        Witness("genWeight", "genWeight"),
        Witness("genWeight", "Generator_weight"),
        Witness("LHEWeight_originalXWGTUP", "LHEWeight_originalXWGTUP"),
        Witness("Pileup_nTrueInt", "Pileup_nTrueInt"),
        Witness("PV_npvs", "PV_npvs"),
    ),
    lumi_ranges=lumi_ranges,
    ntuples=True,
)
