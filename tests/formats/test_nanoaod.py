"""NanoAOD: collections, counters, key branches."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot

from columnservice.errors import NoEventKeys
from columnservice.model import LumiRange
from tests.formats.support import Opened

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("name", "collection", "field", "shape", "counts_of"),
    [
        ("Jet_pt", "Jet", "pt", "Jet", None),
        ("nJet", None, None, None, "Jet"),
        ("LHEPdfWeight", "LHEPdfWeight", None, "LHEPdfWeight", None),
        ("nLHEPdfWeight", None, None, None, "LHEPdfWeight"),
        ("MET_pt", "MET", "pt", None, None),
        ("HLT_IsoMu24", "HLT", "IsoMu24", None, None),
        ("genWeight", None, None, None, None),
        ("PFCands_pt", "PFCands", "pt", "PFCands", None),
    ],
)
def test_branches_belong_to_the_collections_that_their_counters_name(
    opened_file, name, collection, field, shape, counts_of
):
    path = "cms/pfnano.root" if name.startswith("PFC") else "cms/NanoAODv5_sample.root"
    column = opened_file(path, "nanoaod").offered[name].column
    assert column.name == name
    assert (column.collection, column.field) == (collection, field)
    assert (column.shape, column.counts_of) == (shape, counts_of)


def test_titles_become_descriptions(opened_file):
    offered = opened_file("cms/pfnano.root", "nanoaod").offered
    assert offered["PFCands_charge"].column.doc == "electric charge"


def test_a_counter_for_every_branch_is_read_as_one_collection(opened_file):
    """Files rewritten by uproot count Jet_pt by nJet_pt; the collection is Jet all the same."""
    opened = opened_file("cms/nano_tt_v15.root", "nanoaod")
    assert opened.tree["Jet_pt"].count_branch.name == "nJet_pt"
    assert opened.offered["Jet_pt"].column.shape == "Jet"
    assert "nJet_pt" not in opened.offered
    assert opened.offered["nJet"].column.counts_of == "Jet"


def test_lists_without_a_counter_get_counts_of_their_own(tmp_path):
    with uproot.recreate(tmp_path / "f.root") as file:
        tree = file.mktree("Events", {"run": "u4", "weights": "var * float32"})
        tree.extend({"run": np.ones(3, "u4"), "weights": ak.Array([[1.0], [], [2.0, 3.0]])})
    opened = Opened(tmp_path / "f.root", "nanoaod")
    assert opened.column("nweights").values.tolist() == [1, 0, 2]
    assert opened.offered["weights"].column.shape == "weights"


def test_missing_and_jagged_keys_are_named(tmp_path):
    with uproot.recreate(tmp_path / "f.root") as file:
        tree = file.mktree("Events", {"run": "u4", "event": "var * int64"})
        tree.extend({"run": np.ones(1, "u4"), "event": ak.Array([[1, 2]])})
    opened = Opened(tmp_path / "f.root", "nanoaod")
    with pytest.raises(NoEventKeys, match="no branch luminosityBlock, event,"):
        opened.format.key_reads(opened.tree)


def test_luminosity_blocks_come_from_their_tree_where_there_is_one(opened_file):
    early = opened_file("cms/nano-2017-08-31.root", "nanoaod")
    assert early.format.lumi_ranges(early.directory)[:2] == (
        LumiRange(1, 1, 3),
        LumiRange(1, 34, 34),
    )
    without = opened_file("cms/nano_dy.root", "nanoaod")
    assert without.format.lumi_ranges(without.directory) is None
