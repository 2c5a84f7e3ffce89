"""The PHYSLITE and DAOD Formats of ATLAS: xAOD stores as flat branches of ``CollectionTree``.

Files with RNTuples hold the same as fields of ``EventData``.

Columns keep their branch names (``AnalysisElectronsAuxDyn.pt``; characters that no name may have
become ``_``). Decorated variables of one container can differ in length from event to event, so
every jagged Column is a shape of its own, and the container is its collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from columnservice.formats.decode import LINK_MEMBERS
from columnservice.formats.discovery import Readable, Refused, discover, is_element_link
from columnservice.formats.format import Format, Witness, keys_of_scalars, scalar_key_reads
from columnservice.formats.ntuple import NTuple
from columnservice.model import (
    BranchRead,
    Column,
    FormatName,
    LumiRange,
    OfferedColumn,
    Recipe,
)

if TYPE_CHECKING:
    from uproot import ReadOnlyDirectory, TTree

KEYS = ("runNumber", "lumiBlock", "eventNumber")
_STORES = re.compile(r"Aux(Dyn)?$")
_UNNAMABLE = re.compile(r"[^A-Za-z0-9_.]")
# What becomes what: the variables that xAOD::EventAuxInfo_v1 declares stand in ``EventInfoAux.`` in
# files of release 21, and in ``EventInfoAuxDyn.`` in PHYSLITE of release 22 and later. Each is
# offered under both names, so that one Column holds for files of all releases; to xAOD they are the
# same variable. Source: Athena Event/xAOD/xAODEventInfo/versions/EventAuxInfo_v1.h. Variables of
# containers are not moved: coffea zips all that a container has, and would find them twice.
EVENT_STORES = {"EventInfoAux": "EventInfoAuxDyn", "EventInfoAuxDyn": "EventInfoAux"}
EVENT_VARIABLES = frozenset(
    {
        "runNumber",
        "eventNumber",
        "lumiBlock",
        "timeStamp",
        "timeStampNSOffset",
        "bcid",
        "detectorMask0",
        "detectorMask1",
        "detectorMask2",
        "detectorMask3",
        "eventTypeBitmask",
        "statusElement",
        "extendedLevel1ID",
        "level1TriggerType",
        "streamTagObeysLumiblock",
        "actualInteractionsPerCrossing",
        "averageInteractionsPerCrossing",
        "pixelFlags",
        "sctFlags",
        "trtFlags",
        "larFlags",
        "tileFlags",
        "muonFlags",
        "forwardDetFlags",
        "coreFlags",
        "backgroundFlags",
        "lumiFlags",
        "beamPosX",
        "beamPosY",
        "beamPosZ",
        "beamPosSigmaX",
        "beamPosSigmaY",
        "beamPosSigmaZ",
        "beamPosSigmaXY",
        "beamTiltXZ",
        "beamTiltYZ",
        "beamStatus",
    }
)


def _column_name(path: str) -> str:
    """A Column's name: the branch's own name, behind its store's where it lacks that."""
    first, last = path.partition("/")[0].rstrip("."), path.rpartition("/")[2].rstrip(".")
    name = last if last.startswith(first) else f"{first}.{last}"
    return _UNNAMABLE.sub("_", name)


def _leaves(branches: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Path and branch of every leaf, in tree order."""
    for branch in branches:
        below = f"{path}/{branch.name}" if path else branch.name
        if branch.branches and not _is_whole_link(branch):
            yield from _leaves(branch.branches, below)
        else:
            yield below, branch


def _is_whole_link(branch: Any) -> bool:
    """Whether a branch is one ElementLink per event, whose only sub-branch holds its bytes."""
    return is_element_link(branch.typename) and len(branch.branches) == 1


def _offered(path: str, branch: Any) -> OfferedColumn:
    """The Column of one leaf."""
    name = _column_name(path)
    if branch.branches:
        read = BranchRead(f"{path}/{branch.branches[0].name}", raw=True)
        return _column(name, path, Readable(LINK_MEMBERS, 0), read, "element_link")
    return _column(name, path, discover(branch), BranchRead(path))


def _fields(ntuple: NTuple) -> Iterator[OfferedColumn]:
    """The Columns of an RNTuple, as a TTree has them: ``:`` stands in its names for a dot.

    The members of a store are Columns of their own, and so are those of records that stand in one
    list, which ROOT splits in a TTree. Links without a list, and records within lists of lists, are
    one Column each.
    """
    whole: set[tuple[str, ...]] = set()
    for path, field in ntuple.fields.items():
        if any(field.parts[:n] in whole for n in range(1, len(field.parts))):
            continue
        if field.is_record:
            members = field.found.members if isinstance(field.found, Readable) else ()
            one = len(field.axes) > 1 or (not field.axes and members == LINK_MEMBERS)
            if not one or not members:
                continue
            whole.add(field.parts)
        yield _column(_name_of_parts(field.parts), path, field.found, BranchRead(path))


def _name_of_parts(parts: tuple[str, ...]) -> str:
    """``EventInfoAux:``, ``runNumber`` → ``EventInfoAux.runNumber``."""
    name = re.sub(r"\.+", ".", ".".join(parts).replace(":", "."))
    return _UNNAMABLE.sub("_", name.rstrip("."))


def _column(
    name: str, path: str, found: Readable | Refused, read: BranchRead, decode: str = "as_is"
) -> OfferedColumn:
    store, _, variable = name.partition(".")
    collection, field = (_STORES.sub("", store), variable) if variable else (None, None)
    if isinstance(found, Refused):
        column = Column(
            name, (), 0, collection, field, source=path, support="unsupported", reason=found.reason
        )
        return OfferedColumn(column, None)
    shape = name if found.depth else None
    column = Column(name, found.members, found.depth, collection, field, shape, source=path)
    return OfferedColumn(column, Recipe(name, (read,), decode))


def _moved(offered: OfferedColumn) -> Iterator[OfferedColumn]:
    """The same variable of the event under the name that it has in files of other releases."""
    store, _, variable = offered.column.name.partition(".")
    if store not in EVENT_STORES or variable not in EVENT_VARIABLES or offered.recipe is None:
        return
    name = f"{EVENT_STORES[store]}.{variable}"
    shape = name if offered.column.depth else None
    column = replace(offered.column, name=name, shape=shape)
    yield OfferedColumn(column, replace(offered.recipe, column=name))


def _branches(tree: TTree) -> Iterator[OfferedColumn]:
    """The Columns of a TTree."""
    counters = {"n" + b.name for b in tree.branches if b.count_branch is not None}
    for path, branch in _leaves(tree.branches, ""):
        if path not in counters:
            yield _offered(path, branch)


def offer(tree: TTree | NTuple) -> tuple[OfferedColumn, ...]:
    """Every leaf of the tree as a Column; of two with one name the first counts."""
    offered: dict[str, OfferedColumn] = {}
    for one in _fields(tree) if isinstance(tree, NTuple) else _branches(tree):
        offered.setdefault(one.column.name, one)
    for one in tuple(offered.values()):
        for moved in _moved(one):
            offered.setdefault(moved.column.name, moved)
    return tuple(offered.values())


def key_reads(tree: TTree | NTuple) -> tuple[BranchRead, ...]:
    """The three key branches: decorations in newer files, members of the static store in older.

    In an RNTuple colons stand for dots.
    """
    paths = {
        part: (
            f"EventInfoAuxDyn.{part}",
            f"EventInfoAux./EventInfoAux.{part}",
            f"EventInfoAux.{part}",
            f"EventInfoAuxDyn:{part}",
            f"EventInfoAux:.{part}",
            f"EventInfoAux:{part}",
        )
        for part in KEYS
    }
    return scalar_key_reads(tree, paths)


def lumi_ranges(_: ReadOnlyDirectory) -> tuple[LumiRange, ...] | None:
    """None: an ATLAS file has no tree of its luminosity blocks."""
    return None


def _format(name: FormatName) -> Format:
    return Format(
        name=name,
        trees=("CollectionTree", "EventData"),
        offer=offer,
        key_reads=key_reads,
        keys=keys_of_scalars,
        witnesses=tuple(
            Witness(scalar, f"{store}.{scalar}")
            for scalar in ("mcChannelNumber", "averageInteractionsPerCrossing", "mcEventNumber")
            for store in ("EventInfoAuxDyn", "EventInfoAux")
        ),
        lumi_ranges=lumi_ranges,
        common_scalars=True,
        ntuples=True,
    )


PHYSLITE = _format("physlite")
DAOD = _format("daod")
