"""RNTuples offer what TTrees of the same events offer, value by value; the rest has a reason."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from columnservice.errors import DamagedFile, NoTree
from columnservice.formats import find_tree, format_named, layout_digest, ragged_from_layout
from columnservice.formats.decode import apply
from columnservice.formats.discovery import Refused
from columnservice.formats.ntuple import NTuple
from columnservice.model import FileLocation
from columnservice.reader import FilePool, read_rows
from tests.support.ntuples import write_ntuple
from tests.support.truth import Parent

# RNTuple, the TTree of the same events in the same order, format.
TWINS = (
    ("rntuple/pfnano_rntuple.root", "cms/pfnano.root", "nanoaod"),
    ("rntuple/nano_dy_rntuple.root", "cms/nano_dy.root", "nanoaod"),
    ("rntuple/nano_dimuon_rntuple.root", "cms/nano_dimuon.root", "nanoaod"),
    (
        "cms_demo_mini/local_nano_like_8ev_rntuple.root",
        "cms_demo_mini/local_nano_like_8ev.root",
        "nanoaod",
    ),
    (
        "atlas_demo_derived/local_60ev_rntuple.root",
        "atlas_demo_derived/local_60ev.root",
        "physlite",
    ),
)
# No TTree of these events is at hand: the schema is compared with one of other events.
COUSINS = (
    (
        "rntuple/cmsopendata2015_ttbar_19980_NANOAOD_RNTupleImporter_rntuple_v1-0-0-1.root",
        "cms/nanoAOD_2015_CMS_Open_Data_ttbar.root",
        "nanoaod",
    ),
)
# Reading all of a real file takes seconds.
FAST = ("cms_demo_mini/", "atlas_demo_derived/")


def each(pairs):
    return [pytest.param(*one, marks=[pytest.mark.fast] * one[0].startswith(FAST)) for one in pairs]


PHYSLITE = "rntuple/uproot-physlite-rntuple_v1-0-0-0.root"


class Opened:
    """An RNTuple file, read by the reader."""

    def __init__(self, path, format_name: str) -> None:
        self.format = format_named(format_name)
        self.pool = FilePool()
        self.location = FileLocation(path.name, (str(path),), self.format.trees[0])
        with self.pool.tree(self.location) as opened:
            self.tree = find_tree(opened.directory, self.format)
        self.location = replace(self.location, tree=self.tree.name)
        self.offered = {o.column.name: o for o in self.format.offer(self.tree)}
        self.ok = [n for n, o in self.offered.items() if o.recipe is not None]

    def columns(self, names):
        """All rows of columns."""
        recipes = {n: self.offered[n].recipe for n in names}
        reads = [read for recipe in recipes.values() for read in recipe.reads]
        rows = np.arange(self.tree.num_entries)
        found = dict(
            zip(reads, read_rows(self.pool, self.location, reads, rows).arrays, strict=True)
        )
        return {n: apply(recipe, [found[r] for r in recipe.reads]) for n, recipe in recipes.items()}


def told(offered):
    """All of a Column that must not depend on how it is stored."""
    return replace(offered.column, doc="", source="")


@pytest.mark.parametrize(("ntuple", "tree", "name"), each([*TWINS, *COUSINS]))
def test_names_types_shapes_and_counts_are_those_of_the_tree(data_dir, ntuple, tree, name):
    here, there = Opened(data_dir / ntuple, name), Parent(data_dir / tree, name)
    assert here.offered.keys() == there.columns.keys()
    assert {n: told(o) for n, o in here.offered.items()} == {
        n: told(o) for n, o in there.columns.items()
    }


@pytest.mark.parametrize(("ntuple", "tree", "name"), each(TWINS))
def test_all_values_are_those_of_the_tree(data_dir, ntuple, tree, name):
    here, there = Opened(data_dir / ntuple, name), Parent(data_dir / tree, name)
    found = here.columns(here.ok)
    assert len(found) == len(there.columns)
    wrong = []
    for column, values in found.items():
        wanted = there.ragged(column)
        same = all(map(np.array_equal, values.offsets, wanted.offsets)) and all(
            values.content[m].dtype == w.dtype and values.content[m].tobytes() == w.tobytes()
            for m, w in wanted.content.items()
        )
        if not same or len(values.offsets) != len(wanted.offsets):
            wrong.append(column)
    assert wrong == []


def test_every_column_of_a_real_physlite_is_what_uproot_reads(data_dir):
    here = Opened(data_dir / PHYSLITE, "physlite")
    plain = uproot.open(data_dir / PHYSLITE)["EventData"]
    assert len(here.ok) > 800
    for name, values in here.columns(here.ok).items():
        (read,) = here.offered[name].recipe.reads
        wanted = ragged_from_layout(plain[read.path].array().layout)
        assert all(map(np.array_equal, values.offsets, wanted.offsets)), name
        for member, flat in wanted.content.items():
            # uproot shows C++'s char as unsigned in an RNTuple, and as signed in a TTree
            assert np.array_equal(values.content[member].view(flat.dtype), flat), name


def test_types_of_a_real_physlite_are_those_of_a_tree_of_a_neighbouring_release(data_dir):
    here = Opened(data_dir / PHYSLITE, "physlite").offered
    there = Parent(data_dir / "atlas/physlite_24.0.2_50ev.root", "physlite").columns
    both = [n for n in there if n in here]
    assert len(both) > 600
    assert {n for n in both if here[n].column.type != there[n].column.type} == {
        "index_ref",  # these three changed between the releases
        "AnalysisElectronsAuxDyn.DFCommonElectronsECIDSResult",
        "HLTNav_Summary_DAODSlimmedAuxDyn.linkColIndices",
    }
    link = here["EventInfoAuxDyn.hardScatterVertexLink"].column
    assert link.type == "{m_persKey: uint32, m_persIndex: uint32}"
    assert here["AnalysisMuonsAuxDyn.truthParticleLink.m_persKey"].column.type == "var * uint32"
    assert here["AnalysisJetsAuxDyn.isJvtHS"].column.type == "var * int8"
    assert here["xTrigDecisionAux.tav"].column.collection == "xTrigDecision"


@pytest.mark.fast
def test_what_is_not_read_has_a_reason(data_dir):
    offered = Opened(data_dir / PHYSLITE, "physlite").offered.values()
    reasons = {o.column.reason for o in offered if o.recipe is None}
    assert reasons == {
        "text: only numbers are delivered",
        "nothing is stored: an object without members",
    }
    assert not any(o.column.members for o in offered if o.recipe is None)


@pytest.mark.fast
def test_keys_are_found_in_every_spelling(tmp_path, data_dir):
    for spelling in ("EventInfoAuxDyn:{}", "EventInfoAux:{}", "EventInfoAuxDyn.{}"):
        fields = {
            spelling.format(part): np.arange(3, dtype=np.uint32)
            for part in ("runNumber", "lumiBlock", "eventNumber")
        }
        here = Opened(write_ntuple(tmp_path / "keys.root", "EventData", fields), "physlite")
        assert [r.path for r in here.format.key_reads(here.tree)] == list(fields)
        assert set(here.offered) >= {f.replace(":", ".") for f in fields}


@pytest.mark.fast
def test_records_become_columns_of_their_collection(tmp_path):
    hits = ak.Array([[[1, 2], []], [], [[3]]])
    muons = ak.zip({"pt": ak.Array([[1.0, 2.0], [], [3.0]]), "hits": hits}, depth_limit=2)
    fields = {"Muon": muons, "MET": ak.zip({"pt": np.arange(3), "phi": np.zeros(3)}), "x": hits}
    here = Opened(write_ntuple(tmp_path / "records.root", "Events", fields), "nanoaod")
    kinds = {n: (o.column.type, o.column.shape, o.column.field) for n, o in here.offered.items()}
    assert kinds == {
        "nMuon": ("int32", None, None),
        "Muon_pt": ("var * float64", "Muon", "pt"),
        "Muon_hits": ("var * var * int64", "Muon", "hits"),
        "MET_pt": ("int64", None, "pt"),
        "MET_phi": ("float64", None, "phi"),
        "nx": ("int32", None, None),
        "x": ("var * var * int64", "x", None),
    }
    found = here.columns(here.ok)
    assert found["nMuon"].values.tolist() == [2, 0, 1]
    assert found["Muon_hits"].values.tolist() == [1, 2, 3]
    assert found["Muon_hits"].offsets[1].tolist() == [0, 2, 2, 3]


@pytest.mark.fast
def test_the_layout_names_what_is_offered(data_dir, tmp_path):
    nano = format_named("nanoaod")
    one, two, three = (
        Opened(write_ntuple(tmp_path / f"{n}.root", "Events", fields, rows), "nanoaod")
        for n, (fields, rows) in enumerate(
            [({"x": np.arange(4)}, 4), ({"x": np.arange(9)}, 2), ({"x": np.arange(4.0)}, 4)]
        )
    )
    assert layout_digest(one.tree, nano) == layout_digest(two.tree, nano)
    assert layout_digest(one.tree, nano) != layout_digest(three.tree, nano)


@pytest.mark.fast
def test_a_schema_with_unknown_features_is_not_read(data_dir, monkeypatch):
    with uproot.open(data_dir / TWINS[0][0]) as file:
        model = file["Events"]
        monkeypatch.setitem(model.header.__dict__["_fields"], "feature_flag", 2)
        with pytest.raises(NoTree, match=r"features \(flags 0x2\) that are not known"):
            NTuple(model)


@pytest.mark.fast
def test_two_fields_with_one_path_are_both_refused(data_dir):
    with uproot.open(data_dir / TWINS[3][0]) as file:
        model = file["Events"]
        names = [r.field_name for r in model.field_records]
        model.field_records[names.index("MET_pt")].field_name = "event"
        fields = NTuple(model).fields
    assert isinstance(fields["event"].found, Refused)
    assert re.search("two fields", fields["event"].found.reason)


@pytest.mark.fast
def test_a_damaged_list_of_pages_is_damage(data_dir, tmp_path):
    source = data_dir / TWINS[1][0]
    with uproot.open(source) as file:
        ((start, stop),) = NTuple(file["Events"]).page_lists
    data = bytearray(source.read_bytes())
    data[(start + stop) // 2] ^= 1
    (tmp_path / "bad.root").write_bytes(data)
    here = FileLocation("bad", (str(tmp_path / "bad.root"),), "Events")
    with pytest.raises(DamagedFile):
        FilePool().serve(here, lambda opened: opened.tree.num_entries)


@pytest.mark.fast
def test_importers_files_offer_what_the_tree_does_but_for_the_type_of_counts():
    """The importer shows every counter as uint32: of a tree that counts in int32, others differ."""
    folder = Path(__file__).parent / "data"
    here = Opened(folder / "imported_ntuple.root", "nanoaod")
    there = Parent(folder / "imported_tree.root", "nanoaod")
    assert len(here.tree.cluster_starts) > 3
    assert here.offered["nJet"].column.type == "uint32"
    assert there.columns["nJet"].column.type == "int32"
    assert {n: told(o) for n, o in here.offered.items() if n != "nJet"} == {
        n: told(o) for n, o in there.columns.items() if n != "nJet"
    }
    assert here.offered["Tau_pt"].column.shape == "Tau"
    for name, values in here.columns(here.ok).items():
        wanted = there.ragged(name)
        assert all(map(np.array_equal, values.offsets, wanted.offsets)), name
        assert np.array_equal(values.values, wanted.values), name
