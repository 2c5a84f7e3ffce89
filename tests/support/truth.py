"""What a parent's columns are, by plain uproot: read whole, put into local order by a known truth.

Nothing here uses our reader, our join, our gather or our wire; only the decoding of packed numbers
is ``formats.apply``, which tests/formats holds to formulas of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from columnservice.formats import apply, find_tree, format_named
from columnservice.formats.ntuple import NTuple
from columnservice.formats.ragged import ragged_from_layout
from columnservice.model import BranchRead, Ragged

RAW = uproot.AsJagged(uproot.AsDtype("u1"))


class Parent:
    """A parent file, read by plain uproot."""

    def __init__(self, path: Path, format_name: str) -> None:
        self.form = format_named(format_name)
        self.file = uproot.open(path)
        self.tree = find_tree(self.file, self.form)
        offered = self.form.offer(self.tree)
        self.columns = {o.column.name: o for o in offered if o.recipe is not None}
        self._read: dict[BranchRead, ak.Array] = {}

    def branch(self, read: BranchRead) -> ak.Array:
        if read not in self._read:
            tree = self.tree.model if isinstance(self.tree, NTuple) else self.tree
            branch = tree[read.path]
            self._read[read] = branch.array(RAW) if read.raw else branch.array()
        return self._read[read]

    def ragged(self, name: str) -> Ragged:
        """A column of all rows, decoded."""
        recipe = self.columns[name].recipe
        assert recipe is not None
        return apply(recipe, [ragged_from_layout(self.branch(r).layout) for r in recipe.reads])

    def keys(self) -> list[tuple[int, int, int]]:
        """(run, lumi, event) of every row, read by ``formats`` from whole branches."""
        reads = self.form.key_reads(self.tree)
        keys = self.form.keys([ragged_from_layout(self.branch(r).layout) for r in reads])
        return list(zip(keys.run.tolist(), keys.lumi.tolist(), keys.event.tolist(), strict=True))


def expected(parents: Sequence[Parent], name: str, take: Sequence[tuple[int, int]]) -> Ragged:
    """A column in local order: rows ``(parent, row)``, or (-1, -1) where absent (empty or 0)."""
    arrays = [as_awkward(parent.ragged(name)) for parent in parents]
    starts = np.cumsum([0, *(len(a) for a in arrays)])
    whole = ak.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    rows = np.array([starts[p] + r if p >= 0 else 0 for p, r in take], np.int64)
    picked = whole[rows]
    present = np.array([p >= 0 for p, _ in take])
    if present.all():
        return ragged_from_layout(picked.layout)
    if not arrays[0].layout.is_list:
        numbers = np.asarray(picked)
        return Ragged((), {"": np.where(present, numbers, numbers.dtype.type(0))})
    filled = ak.fill_none(ak.mask(picked, present), [], axis=0)
    return ragged_from_layout(filled.layout)


def as_awkward(ragged: Ragged) -> ak.Array:
    """Values as an array."""
    members = {k: ak.contents.NumpyArray(v) for k, v in ragged.content.items()}
    if list(members) == [""]:
        layout: ak.contents.Content = members[""]
    else:
        layout = ak.contents.RecordArray(list(members.values()), list(members))
    for offsets in reversed(ragged.offsets):
        layout = ak.contents.ListOffsetArray(ak.index.Index64(offsets), layout)
    return ak.Array(layout)


def brute_force(
    local: Sequence[tuple[int, int, int]], parents: Sequence[Sequence[tuple[int, int, int]]]
) -> list[tuple[int, int]]:
    """(parent, row) of each local key, (-1, -1) where absent; by a dictionary."""
    places = {key: (p, r) for p, keys in enumerate(parents) for r, key in enumerate(keys)}
    return [places.get(key, (-1, -1)) for key in local]


def truth_of(folder: Path) -> dict[str, object]:
    """The folder's truth.json."""
    found: dict[str, object] = json.loads((folder / "truth.json").read_text())
    return found
