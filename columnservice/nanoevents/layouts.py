"""How coffea groups the branches of a local file, and which remote Columns fit into that.

A remote Column must never change what coffea makes of the local branches. coffea groups branches by
their names (``coffea.nanoevents.schemas.nanoaod`` and ``.physlite``, 2026.9): a branch of another
shape under a local group's name would turn the group into something else, so it is refused here,
with the reason. Knows names and kinds of branches; neither files nor arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from columnservice.errors import NoEventKeys
from columnservice.model import Column
from columnservice.nanoevents.links import REASON as LINKS
from columnservice.nanoevents.links import goals_of, is_link
from columnservice.nanoevents.objects import REASON, is_of_local_objects, local_name, telling

Kind = Literal["value", "list", "record"]
"""What coffea sees of a branch: one number per event, a list per event, or a record of such."""

KindsOf = Callable[[str], Mapping[str, Kind]]
"""Group → kinds of its local branches, by branch name, in file order."""


@dataclass(frozen=True)
class Reference:
    """Where the number of objects per event must agree with.

    Attributes:
        branch: a local branch, or the remote Column that coffea takes the offsets from.
        origin: ``counter`` (local, holds counts), ``list`` (local, jagged) or ``remote``.
    """

    branch: str
    origin: Literal["counter", "list", "remote"]


@dataclass
class Selection:
    """What a file is offered: Columns in branch order, and why others are not.

    Attributes:
        offered: by name; counts stand before the fields of their collection.
        refused: name → reason.
        references: group → what its counts are compared with; absent where nothing is needed.
        shown_by: group of local lists → the parent's version of local Columns, by which objects
            are recognised.
        leads: name of a link → groups of local lists that it leads into, whose objects must be
            recognised before it may be followed.
    """

    offered: dict[str, Column] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)
    shown_by: dict[str, tuple[Column, ...]] = field(default_factory=dict)
    leads: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A kind of local file.

    Attributes:
        trees: names of the tree that holds one entry per event.
        keys: for run, luminosity block and event: branch names, the first that exists counts.
        group_of: the group that coffea puts a branch into.
        select: fits remote Columns into the local groups.
    """

    trees: tuple[str, ...]
    keys: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    group_of: Callable[[str], str]
    select: Callable[[Iterable[Column], Collection[str], KindsOf, Iterable[Column]], Selection]


def key_branches(layout: Layout, names: Collection[str], path: str) -> tuple[str, ...]:
    """The branches that hold run, luminosity block and event.

    Args:
        layout: of the file.
        names: of its branches.
        path: of the file, for the message.

    Raises:
        NoEventKeys: one of them is missing.
    """
    found = []
    for candidates in layout.keys:
        name = next((c for c in candidates if c in names), None)
        if name is None:
            raise NoEventKeys(f"{path} has no branch {candidates[0]}: nothing can be joined.")
        found.append(name)
    return tuple(found)


def nanoaod_group(branch: str) -> str:
    """``Muon_pt`` → ``Muon``."""
    return branch.partition("_")[0]


def physlite_group(branch: str) -> str:
    """``AnalysisMuonsAuxDyn.pt`` → ``Muons``, and likewise for a path of branches."""
    top = branch.rpartition("/")[2].partition(".")[0]
    return top.replace("Analysis", "").replace("AuxDyn", "").replace("Aux", "")


def container_of(name: str) -> str:
    """``AnalysisMuonsAuxDyn.pt`` → ``AnalysisMuons``, which coffea does not tell from ``Muons``."""
    top = name.rpartition("/")[2].partition(".")[0]
    return top.removesuffix("AuxDyn").removesuffix("Aux")


def _container(column: Column) -> str:
    return container_of(column.collection or column.name)


def _lists(kinds: Mapping[str, Kind]) -> set[str]:
    """The branches that hold a list per event, without the path that leads to them."""
    return {name.rpartition("/")[2] for name, kind in kinds.items() if kind == "list"}


def _by_group(columns: Iterable[Column], group_of: Callable[[str], str]) -> dict[str, list[Column]]:
    groups: dict[str, list[Column]] = {}
    for column in columns:
        groups.setdefault(group_of(local_name(column)), []).append(column)
    return groups


def select_nanoaod(
    columns: Iterable[Column],
    local: Collection[str],
    kinds_of: KindsOf,
    references: Iterable[Column] = (),
) -> Selection:
    """Remote Columns beside NanoAOD branches: ``n<Group>`` makes ``<Group>_*`` a list per event."""
    showing = _by_group(references, nanoaod_group)
    candidates = [c for c in columns if c.name not in local]
    counts = {c.name[1:]: c for c in candidates if c.counts_of and c.name.startswith("n")}
    groups = _by_group([c for c in candidates if not c.counts_of], nanoaod_group)
    selection = Selection()
    for group, members in groups.items():
        kinds = kinds_of(group)
        counter = f"n{group}" in local
        if kinds_of(f"n{group}").keys() - {f"n{group}"}:
            reason = f"the local file has a collection named n{group}"
            selection.refused.update((c.name, reason) for c in members)
        elif kinds:
            selection.shown_by[group] = telling(showing.get(group, ()), _lists(kinds))
            _extend_nanoaod(selection, group, members, kinds, counter)
        else:
            _add_nanoaod(selection, group, members, counts.get(group), counter)
    for group in {*groups, *map(nanoaod_group, local)}:
        taken = selection.offered.get(f"n{group}")
        if taken is not None and not taken.counts_of:
            selection.refused[taken.name] = f"coffea would take it for the counts of {group}"
            del selection.offered[taken.name]
    return selection


def _extend_nanoaod(
    selection: Selection,
    group: str,
    members: list[Column],
    kinds: Mapping[str, Kind],
    counter: bool,
) -> None:
    """More fields for a group that the local file has."""
    jagged = counter or all(kind == "list" for kind in kinds.values())
    for column in members:
        if group in kinds:
            selection.refused[column.name] = f"the local file has a branch named {group}"
        elif jagged and not column.depth:
            selection.refused[column.name] = f"the local {group} is a list per event, this is not"
        elif column.depth and not jagged:
            selection.refused[column.name] = f"the local {group} is one object per event"
        elif jagged and not (
            is_of_local_objects(column)
            or column.shape in {r.shape for r in selection.shown_by[group]}
        ):
            selection.refused[column.name] = REASON
        else:
            selection.offered[column.name] = column
    if counter:
        selection.references[group] = Reference(f"n{group}", "counter")
    elif jagged:
        selection.references[group] = Reference(next(iter(kinds)), "list")


def _add_nanoaod(
    selection: Selection,
    group: str,
    members: list[Column],
    counts: Column | None,
    counter: bool,
) -> None:
    """A group that the local file lacks, but for perhaps its counter."""
    whole = [c for c in members if c.name == group]
    shape = counts.counts_of if counts else next((c.shape for c in members if c.shape), None)
    fitting = []
    for column in members:
        if whole and column is not whole[0]:
            selection.refused[column.name] = f"{group} is itself a column"
        elif column.shape != shape or (counter and not column.depth):
            selection.refused[column.name] = f"it does not hold the same objects as {group}"
        else:
            fitting.append(column)
    if counts and fitting and not counter:
        selection.offered[counts.name] = counts
    if counter and shape:
        selection.references[group] = Reference(f"n{group}", "counter")
    selection.offered.update((c.name, c) for c in fitting)


def select_physlite(
    columns: Iterable[Column],
    local: Collection[str],
    kinds_of: KindsOf,
    references: Iterable[Column] = (),
) -> Selection:
    """Remote Columns beside PHYSLITE branches: lists of one container are zipped with the first."""
    showing = _by_group(references, physlite_group)
    selection = Selection()
    groups = _by_group((c for c in columns if c.name not in local), physlite_group)
    _hold_links(selection, groups, showing, kinds_of)
    for group, found in groups.items():
        listed = [c for c in found if c.name not in selection.refused]
        if not listed:
            continue
        kinds = kinds_of(group)
        members = _of_one_container(selection, listed, kinds)
        ordered = sorted(members, key=_worth_of_reference)
        if not kinds:
            if all(c.depth for c in ordered):
                selection.references[group] = Reference(ordered[0].name, "remote")
            selection.offered.update((c.name, c) for c in ordered)
            continue
        jagged = all(kind == "list" for kind in kinds.values())
        if jagged:
            selection.shown_by[group] = _showing(showing.get(group, ()), kinds)
        for column in members:
            if len(kinds) == 1 and not jagged:
                reason = f"the local {group} is a single value per event"
                selection.refused[column.name] = reason
            elif jagged and not column.depth:
                reason = f"the local {group} is a list per event, this is not"
                selection.refused[column.name] = reason
            elif jagged and not (is_of_local_objects(column) or selection.shown_by[group]):
                selection.refused[column.name] = REASON
            else:
                selection.offered[column.name] = column
        if jagged:
            selection.references[group] = Reference(next(iter(kinds)), "list")
    return selection


def _hold_links(
    selection: Selection,
    groups: Mapping[str, list[Column]],
    showing: Mapping[str, list[Column]],
    kinds_of: KindsOf,
) -> None:
    """Refuse the parent's links where they would be followed to other objects than the parent's.

    Kept are those into containers that the local file lacks, and into those whose objects can be
    recognised, which is then done whenever such a link is read.
    """
    for group, members in groups.items():
        for link in filter(is_link, members):
            goals = goals_of(group, link.name)
            here = {g: k for g in goals or () if (k := kinds_of(g))}
            shown_by = {g: _showing(showing.get(g, ()), k) for g, k in here.items()}
            if (goals is None and kinds_of(group)) or not all(shown_by.values()):
                selection.refused[link.name] = LINKS
            selection.shown_by.update(shown_by)
            selection.leads[link.name] = tuple(here)


def _showing(references: Iterable[Column], kinds: Mapping[str, Kind]) -> tuple[Column, ...]:
    """The parent's version of Columns of a local container, by which its objects are recognised."""
    own = container_of(next(iter(kinds)))
    known = [r for r in references if container_of(local_name(r)) == own]
    return telling(known, _lists(kinds))


def _of_one_container(
    selection: Selection, members: list[Column], kinds: Mapping[str, Kind]
) -> list[Column]:
    """The Columns of the local container; of a remote group, those of the Analysis container."""
    if kinds:
        own = container_of(next(iter(kinds)))
    else:
        found = sorted({_container(c) for c in members})
        own = next((f for f in found if f.startswith("Analysis")), found[0])
    for column in members:
        if _container(column) != own:
            selection.refused[column.name] = (
                f"it is of {_container(column)}, which coffea does not tell from {own}"
            )
    return [c for c in members if _container(c) == own]


def _worth_of_reference(column: Column) -> tuple[bool, bool, bool]:
    """First comes what everybody reads anyway: coffea takes a new container's offsets from it."""
    return (
        column.depth != 1,
        len(column.members) > 1,
        not column.name.endswith((".pt", ".x", ".px")),
    )


_NANOAOD = Layout(
    trees=("Events",),
    keys=(("run",), ("luminosityBlock",), ("event",)),
    group_of=nanoaod_group,
    select=select_nanoaod,
)
_ATLAS = Layout(
    trees=("CollectionTree", "EventData"),
    keys=(
        ("EventInfoAuxDyn.runNumber", "EventInfoAux.runNumber"),
        ("EventInfoAuxDyn.lumiBlock", "EventInfoAux.lumiBlock"),
        ("EventInfoAuxDyn.eventNumber", "EventInfoAux.eventNumber"),
    ),
    group_of=physlite_group,
    select=select_physlite,
)
LAYOUTS: Mapping[str, Layout] = {"nanoaod": _NANOAOD, "physlite": _ATLAS, "daod": _ATLAS}
"""Format of the local Dataset → its layout; coffea opens no others."""
