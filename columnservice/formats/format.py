"""What a Format is: how a file's branches become Columns, EventKeys and luminosity blocks.

Knows the words of the house; nothing of any experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import NoEventKeys
from columnservice.formats.discovery import Readable, Refused, discover
from columnservice.formats.ntuple import CLASS_NAME, NTuple
from columnservice.model import (
    BranchRead,
    FormatName,
    Keys,
    LumiRange,
    OfferedColumn,
    Ragged,
)

if TYPE_CHECKING:
    from uproot import ReadOnlyDirectory, TTree

    Tree: TypeAlias = TTree | NTuple
    Offer: TypeAlias = Callable[[Any], tuple[OfferedColumn, ...]]
    KeyReads: TypeAlias = Callable[[Any], tuple[BranchRead, ...]]
    LumiRanges: TypeAlias = Callable[[ReadOnlyDirectory], tuple[LumiRange, ...] | None]


@dataclass(frozen=True)
class Witness:
    """A Column that another Format of the same experiment holds too, under the same witness name.

    Attributes:
        name: the witness's name, shared across formats; several columns of one format may bear
            it (older and newer names): the first that a file offers counts.
        column: the Column's name in this format.
        first: compare the first element of each event's list; an event without one is left out.
    """

    name: str
    column: str
    first: bool = False


def _no_data_names(_: TTree) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Format:
    """One experiment format.

    Attributes:
        name: what a user writes.
        trees: names of the event tree (a TTree or, with ``ntuples``, an RNTuple), in order of
            preference.
        offer: every Column of a tree's layout: readable ones with a Recipe, the others with
            ``support="unsupported"`` and a reason. Reads no data but for ``data_names``, and the
            first events of objects that are stored whole, to see that they are what the file says.
        key_reads: the branches that hold the EventKeys; raises NoEventKeys naming what is missing.
        keys: what ``key_reads`` read, as Keys.
        witnesses: Columns to compare with another format's.
        lumi_ranges: the luminosity blocks as the file's own luminosity tree lists them; None where
            there is no such tree (or it is empty).
        data_names: names that decide what is offered and are data, JSON-able: files with the same
            branches can differ in them. Reads the first events, or trees beside the events.
        common_scalars: every event scalar that both formats hold is a Witness, beside those named.
        ntuples: whether the event tree may be an RNTuple; ``offer`` and ``key_reads`` take both.
    """

    name: FormatName
    trees: tuple[str, ...]
    offer: Offer
    key_reads: KeyReads
    keys: Callable[[Sequence[Ragged]], Keys]
    witnesses: tuple[Witness, ...]
    lumi_ranges: LumiRanges
    common_scalars: bool = False
    ntuples: bool = False
    data_names: Callable[[TTree], Mapping[str, Any]] = _no_data_names


def tree_named(directory: ReadOnlyDirectory, name: str) -> TTree | None:
    """The TTree of that name in a ROOT directory; None where there is none (an RNTuple is none)."""
    if name not in directory or directory.classname_of(name) != "TTree":
        return None
    return directory[name]


def event_tree(directory: ReadOnlyDirectory, name: str) -> Tree | None:
    """The TTree or RNTuple of that name in a ROOT directory; None where there is none."""
    if name not in directory or directory.classname_of(name) != CLASS_NAME:
        return tree_named(directory, name)
    return NTuple(directory[name])


def kind_at(tree: Tree, path: str) -> Readable | Refused | None:
    """What stands at a path of the event tree; None where there is nothing."""
    if path not in tree:
        return None
    return tree.fields[path].found if isinstance(tree, NTuple) else discover(tree[path])


def scalar_key_reads(tree: Tree, wanted: Mapping[str, Sequence[str]]) -> tuple[BranchRead, ...]:
    """Reads of three branches with one number per event each: run, luminosity block, event.

    Args:
        tree: the event tree.
        wanted: for each part of the key the paths at which it may stand, in order of preference.

    Raises:
        NoEventKeys: naming every part that stands nowhere.
    """
    found: dict[str, str] = {}
    for part, paths in wanted.items():
        for path in paths:
            kind = kind_at(tree, path)
            if part not in found and isinstance(kind, Readable) and kind.depth == 0:
                found[part] = path
    missing = [part for part in wanted if part not in found]
    if missing:
        raise NoEventKeys(
            f"{tree.name!r} has no branch {', '.join(missing)}, so its events have no EventKeys."
        )
    return tuple(BranchRead(path) for path in found.values())


def keys_of_scalars(inputs: Sequence[Ragged]) -> Keys:
    """Keys from the values of run, luminosity block and event, in that order."""
    run, lumi, event = (read.values for read in inputs)
    return Keys(run.astype(np.uint32), lumi.astype(np.uint32), event.astype(np.uint64))


def merge_lumis(run: NDArray[np.uint32], lumi: NDArray[np.uint32]) -> tuple[LumiRange, ...]:
    """Luminosity blocks as the fewest ranges of consecutive ones, ascending; repeats count once."""
    if not len(run):
        return ()
    packed = np.unique(run.astype(np.uint64) << np.uint64(32) | lumi.astype(np.uint64))
    runs, lumis = packed >> np.uint64(32), packed & np.uint64(0xFFFFFFFF)
    # Two neighbours stand in one range where the lumi counts up by one; a new run makes the
    # packed number jump, unless a run ends with lumi 2**32 - 1.
    new = (np.diff(packed) != 1) | (np.diff(runs) != 0)
    starts = np.concatenate(([0], np.flatnonzero(new) + 1))
    stops = np.append(starts[1:], len(packed)) - 1
    return tuple(
        LumiRange(int(runs[a]), int(lumis[a]), int(lumis[b]))
        for a, b in zip(starts, stops, strict=True)
    )
