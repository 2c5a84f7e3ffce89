"""Lines of the matching table that no file here has objects for: parents written as CMSSW names
them, local objects selected, shuffled and rounded to as few bits as NanoAOD keeps."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot

from benchmarks.false_matches import mantissa
from columnservice.catalogue.derived import derived_columns, matched_with
from columnservice.delivery.compute import compute
from columnservice.formats.matches import MINIAOD_MATCHES
from tests.formats.test_matches import KEPT
from tests.support.truth import Parent

pytestmark = pytest.mark.fast
PRODUCTS = {
    "SubJet": "patJets_slimmedJetsAK8PFPuppiSoftDropPacked_SubJets_PAT",
    "IsoTrack": "patIsolatedTracks_isolatedTracks__PAT",
    "boostedTau": "patTaus_slimmedTausBoosted__PAT",
    "LowPtElectron": "patElectrons_slimmedLowPtElectrons__PAT",
    "GenJetAK8": "recoGenJets_slimmedGenJetsAK8__PAT",
    "SubGenJetAK8": "recoGenJets_slimmedGenJetsAK8SoftDropSubJets__PAT",
}
LINES = {line.local: line for line in MINIAOD_MATCHES}
POLAR = "obj.m_state.p4Polar_.fCoordinates.f"
COUNTS = [5, 0, 3, 8, 1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A parent with all these collections, a local file of some objects, and which they are."""
    rng, folder = np.random.default_rng(5), tmp_path_factory.mktemp("lines")
    keys = {"run": np.ones(5, "u4"), "luminosityBlock": np.ones(5, "u4")}
    keys["event"] = np.arange(5, dtype="u8")
    parent: dict[str, object] = {}
    local: dict[str, object] = dict(keys)
    truth = {}
    for name, product in PRODUCTS.items():
        bits, reach = KEPT[name]
        n = sum(COUNTS)
        values = {
            "Pt": 20 + rng.exponential(30, n),
            "Eta": rng.uniform(-reach, reach, n),
            "Phi": rng.uniform(-np.pi, np.pi, n),
            "M": rng.uniform(1, 9, n),
        }
        flat = {k: v.astype("f4") for k, v in values.items()}
        for k, v in flat.items():
            parent[f"{product}.{POLAR}{k}"] = ak.unflatten(v, COUNTS)
        orders = [rng.permutation(c)[: (c + 1) // 2 + 1] for c in COUNTS]
        truth[name] = [int(i) for order in orders for i in order]
        starts = np.cumsum([0, *COUNTS[:-1]])
        taken = np.concatenate([s + o for s, o in zip(starts, orders, strict=True)]).astype(int)
        fields = {
            "pt": flat["Pt"][taken] * np.float32(1.0 if LINES[name].pt_low > 0.9 else 1.1),
            "eta": mantissa(flat["Eta"][taken], bits),
            "phi": mantissa(flat["Phi"][taken], bits),
        }
        lengths = [len(order) for order in orders]
        local[name] = ak.zip({k: ak.unflatten(v, lengths) for k, v in fields.items()})
    for path, tree in (("parent.root", parent), ("local.root", local)):
        with uproot.recreate(folder / path) as file:
            kinds = {
                k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in tree.items()
            }
            file.mktree("Events", kinds)
            file["Events"].extend(tree)
    return folder, truth


@pytest.mark.parametrize("name", PRODUCTS)
def test_objects_of_every_line_find_what_they_were_made_from(made, name):
    folder, truth = made
    sides = {
        form: Parent(folder / f"{side}.root", form)
        for side, form in (("local", "nanoaod"), ("parent", "miniaod"))
    }
    mine, theirs = (tuple(s.columns.values()) for s in (sides["nanoaod"], sides["miniaod"]))
    found = {o.column.name: o for o in derived_columns(("nanoaod", "miniaod"), mine, theirs)}
    line = LINES[name]
    [index] = [
        o
        for o in found.values()
        if o.column.collection == name and o.derivation and o.derivation.compute == "match_index"
    ]
    assert matched_with(index, found)[1] in line.parents
    inputs = [
        sides["nanoaod" if i in sides["nanoaod"].columns else "miniaod"].ragged(i)
        for i in index.derivation.inputs
    ]
    assert compute(index.derivation, inputs).values.tolist() == truth[name]
