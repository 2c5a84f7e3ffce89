"""Reading with plain uproot, so that the formats are tested without the reader room."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import uproot

from columnservice.formats import Format, apply, find_tree, format_named, ragged_from_layout
from columnservice.model import BranchRead, OfferedColumn, Ragged

RAW = uproot.AsJagged(uproot.AsDtype("u1"))

# Every TTree file at hand: path, format.
FILES = (
    ("cms/NanoAODv5_sample.root", "nanoaod"),
    ("cms/miniaodsim_2018_schema_0ev.root", "miniaod"),
    ("cms/miniaodsim_phys14_10ev.root", "miniaod"),
    ("cms/missing_luminosityBlock.root", "nanoaod"),
    ("cms/nano-2017-08-31.root", "nanoaod"),
    ("cms/nanoAOD_2015_CMS_Open_Data_ttbar.root", "nanoaod"),
    ("cms/nano_dimuon.root", "nanoaod"),
    ("cms/nano_dy.root", "nanoaod"),
    ("cms/nano_tt_v15.root", "nanoaod"),
    ("cms/pfnano.root", "nanoaod"),
    ("cms/scouting_nano.root", "nanoaod"),
    ("cms_demo_mini/local_nano_like_8ev.root", "nanoaod"),
    ("cms_demo_syn/local_NanoAODv5_1000ev.root", "nanoaod"),
    ("cms_demo_syn/parent_0.root", "miniaod"),
    ("cms_demo_syn/parent_1.root", "miniaod"),
    ("cms_demo_syn/parent_2.root", "miniaod"),
    ("cms_demo_syn/parent_3.root", "miniaod"),
    ("edm_unit/SchemaEvolutionTestOLD15_1_0_pre5_splitLevel99.root", "aod"),
    ("edm_unit/complex_old_format_CMSSW_2_2_13.root", "aod"),
    ("edm_unit/complex_old_format_CMSSW_4_2_8.root", "aod"),
    ("edm_unit/run3scouting_14_0_split_0.root", "aod"),
    ("edm_unit/run3scouting_14_0_split_99.root", "aod"),
    ("atlas/PHYSLITE_example.root", "physlite"),
    ("atlas/daod_exot15_10ev.root", "daod"),
    ("atlas/physlite_24.0.2_50ev.root", "physlite"),
    ("atlas/xaod_jets_10ev.root", "daod"),
    ("atlas_demo_derived/local_60ev.root", "physlite"),
    ("atlas_demo_pair/local_physlite_21.2.108_40ev.root", "physlite"),
    ("atlas_demo_pair/parent_physlite_100ev.root", "physlite"),
)


class Opened:
    """One file with its format, opened by uproot; each branch is read once."""

    def __init__(self, path: Path, name: str) -> None:
        self.format: Format = format_named(name)
        self.directory = uproot.open(path)
        self.tree = find_tree(self.directory, self.format)
        self.offered = {o.column.name: o for o in self.format.offer(self.tree)}
        self._read: dict[BranchRead, Ragged] = {}

    def read(self, read: BranchRead) -> Ragged:
        """What a branch holds, as the reader room gives it."""
        if read not in self._read:
            array = self.tree[read.path].array(RAW if read.raw else None)
            self._read[read] = ragged_from_layout(array.layout)
        return self._read[read]

    def inputs(self, reads: Sequence[BranchRead]) -> list[Ragged]:
        return [self.read(read) for read in reads]

    def column(self, name: str) -> Ragged:
        """A Column's values by its recipe."""
        recipe = self.offered[name].recipe
        assert recipe is not None, self.offered[name].column.reason
        return apply(recipe, self.inputs(recipe.reads))

    def readable(self) -> list[OfferedColumn]:
        return [o for o in self.offered.values() if o.column.support == "ok"]


def lists(ragged: Ragged) -> list[np.ndarray]:
    """The rows of a singly jagged column of numbers."""
    return np.split(ragged.values, ragged.offsets[0][1:-1])
