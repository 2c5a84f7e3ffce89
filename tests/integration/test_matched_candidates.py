"""Local packed candidates under the parent's name, through the real service: a selection, or all.

The parent's numbers of candidates mean its own collection; in coffea's events that name is the
local one.
"""

from __future__ import annotations

from typing import ClassVar

import awkward as ak
import numpy as np
import pytest
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import columnservice
from tests.support.selected import write_selected
from tests.support.truth import Parent, as_awkward

MINI = "cms/miniaodsim_phys14_10ev.root"
ROWS = [4, 9, 0, 7, 2]
COLLECTIONS = {"Jet": "slimmedJets", "PFCands": "PFCands"}


class PFNano(PFNanoAODSchema):
    """PFNanoAODSchema without its warnings about what a small file lacks."""

    warn_missing_crossrefs = False
    full_like_items: ClassVar[dict] = {}


def register(service, data_dir, folder, name, **options):
    parent = Parent(data_dir / MINI, "miniaod")
    truth = write_selected(folder / f"{name}.root", parent, ROWS, COLLECTIONS, **options)
    service.register(f"{name}_mini", "miniaod", [data_dir / MINI])
    service.register(name, "nanoaod", [truth.path], parent=f"{name}_mini")
    told = columnservice.connect(service.url).nanoevents(
        PFNano, dataset=name, columns=["PFCands_*", "Jet*"]
    )
    return parent, truth, NanoEventsFactory.from_root({str(truth.path): "Events"}, **told).events()


@pytest.fixture(scope="module")
def selected(service, data_dir, tmp_path_factory):
    return register(service, data_dir, tmp_path_factory.mktemp("some"), "some_candidates")


def test_selected_candidates_carry_the_parents_fields_of_the_very_same_ones(selected):
    parent, truth, events = selected
    dz = as_awkward(parent.ragged("PFCands_dz"))
    index, got = events.PFCands.parentPFCandsIdx, events.PFCands.dz
    known = 0
    for row, right, found, values in zip(
        ROWS, truth.index["PFCands"], index.to_list(), got.to_list(), strict=True
    ):
        for wanted, place, value in zip(right, found, values, strict=True):
            assert place in (wanted, -1)
            assert np.isnan(value) if place < 0 else value == dz[row][wanted]
            known += place >= 0
    assert known > 0.995 * ak.count(index)
    assert ak.all(events.PFCands.hasMatch == (index >= 0))


def test_constituents_of_local_jets_are_local_candidates(selected):
    parent, truth, events = selected
    lists = as_awkward(parent.ragged("slimmedJets_pfCandIdx"))
    pt = as_awkward(parent.ragged("PFCands_pt"))
    jets, candidates = events.JetPFCands.jetIdx, events.JetPFCands.pFCandsIdx
    momenta = events.PFCands._apply_global_index(events.JetPFCands.pFCandsIdxG).pt
    matched = events.PFCands.hasMatch.to_list()
    seen = 0
    for n, row in enumerate(ROWS):
        here = {place: i for i, place in enumerate(truth.index["PFCands"][n])}
        right = [
            (j, here[k], pt[row][k])
            for j, jet in enumerate(truth.index["Jet"][n])
            for k in lists[row][jet]
            if k in here and matched[n][here[k]]
        ]
        assert jets[n].to_list() == [j for j, _, _ in right]
        assert candidates[n].to_list() == [k for _, k, _ in right]
        assert np.allclose(momenta[n].to_list(), [p for _, _, p in right], rtol=1e-3)
        seen += len(right)
    assert seen > 50


def test_all_candidates_in_the_parents_order_have_the_parents_very_values(
    service, data_dir, tmp_path
):
    name = "all_candidates"
    parent, _, events = register(service, data_dir, tmp_path, name, keep=1.0, shuffled=False)
    for field in ("dz", "covDxyDxy", "charge"):
        whole = as_awkward(parent.ragged(f"PFCands_{field}"))[ROWS]
        got, right = (ak.to_numpy(ak.flatten(a)) for a in (events.PFCands[field], whole))
        assert np.array_equal(got, right, equal_nan=got.dtype.kind == "f")
    assert ak.all(events.PFCands.hasMatch)
    told = {c["name"]: c for c in service.columns(name)}
    assert told["slimmedJets_pfCandIdx"]["support"] == "unsupported"
    assert told["PFCands_dz"]["match"]["parent"] == "PFCands"
