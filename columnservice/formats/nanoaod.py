"""The NanoAOD Format of CMS: a flat tree whose branch names are the Column names.

A jagged branch ``Jet_pt`` is counted by ``nJet``; the counter names the collection. Some writers
(uproot) give every branch a counter of its own, ``nJet_pt``: there the name's prefix does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnservice.errors import DamagedFile
from columnservice.formats.discovery import Readable, Refused, discover
from columnservice.formats.format import (
    Format,
    Witness,
    keys_of_scalars,
    merge_lumis,
    scalar_key_reads,
    tree_named,
)
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


def _prefix(name: str) -> str:
    return name.partition("_")[0]


def _shape(branch: Any, tree: TTree) -> str:
    """Which collection a jagged branch belongs to; its own name where it is alone."""
    counter = branch.count_branch
    name: str = branch.name
    if counter is not None and counter.name != "n" + name and counter.name.startswith("n"):
        return str(counter.name[1:])
    return _prefix(name) if "n" + _prefix(name) in tree else name


def _field(name: str, collection: str) -> str | None:
    return name[len(collection) + 1 :] if name.startswith(collection + "_") else None


def _column(branch: Any, found: Readable | Refused, shape: str | None) -> OfferedColumn:
    """The Column of one branch."""
    name, doc = branch.name, branch.title if branch.title != branch.name else ""
    collection = shape or (_prefix(name) if "_" in name else None)
    field = None if collection is None else _field(name, collection)
    if isinstance(found, Refused):
        column = Column(
            name, (), 0, collection, field, None, None, doc, source=name,
            support="unsupported", reason=found.reason,
        )  # fmt: skip
        return OfferedColumn(column, None)
    column = Column(
        name, found.members, found.depth, collection, field, shape, None, doc, source=name
    )
    return OfferedColumn(column, Recipe(name, (BranchRead(name),)))


def _counts(shape: str, first: str, tree: TTree) -> OfferedColumn:
    """The counts of a collection: its counter where there is one, else from a jagged branch."""
    name = "n" + shape
    if name in tree:
        found = discover(tree[name])
        if isinstance(found, Refused) or found.depth:
            raise DamagedFile(f"branch {name!r} does not count {shape!r}.")
        members, recipe, doc = found.members, Recipe(name, (BranchRead(name),)), tree[name].title
    else:
        members, doc = (Member("", "int32"),), f"number of {shape}"
        recipe = Recipe(name, (BranchRead(first),), "counts")
    column = Column(name, members, 0, counts_of=shape, doc=doc, source=recipe.reads[0].path)
    return OfferedColumn(column, recipe)


def offer(tree: TTree) -> tuple[OfferedColumn, ...]:
    """Every branch of the tree as a Column, a collection's counts before its first field."""
    branches = [branch for branch in tree.branches if not branch.branches]
    found = {branch.name: discover(branch) for branch in branches}
    jagged = [b for b in branches if isinstance(f := found[b.name], Readable) and f.depth]
    shapes = {branch.name: _shape(branch, tree) for branch in jagged}
    counters = {"n" + shape for shape in shapes.values()}
    # counters of one branch only, as uproot writes them, say nothing that the shape's do not
    counters |= {"n" + b.name for b in jagged if b.count_branch is not None}
    offered: list[OfferedColumn] = []
    counted: set[str] = set()
    for branch in branches:
        if branch.name in counters:
            continue
        shape = shapes.get(branch.name)
        if shape is not None and shape not in counted:
            counted.add(shape)
            offered.append(_counts(shape, branch.name, tree))
        offered.append(_column(branch, found[branch.name], shape))
    return tuple(offered)


def key_reads(tree: TTree) -> tuple[BranchRead, ...]:
    """The three key branches; NoEventKeys names those that are missing."""
    return scalar_key_reads(tree, {name: (name,) for name in KEYS})


def lumi_ranges(directory: ReadOnlyDirectory) -> tuple[LumiRange, ...] | None:
    """The luminosity blocks that the file's ``LuminosityBlocks`` tree lists; None without any."""
    tree = tree_named(directory, "LuminosityBlocks")
    if tree is None or not tree.num_entries or any(name not in tree for name in KEYS[:2]):
        return None
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
)
