"""Muons and their packed candidates in coffea, through the real service: the same particle."""

from __future__ import annotations

from typing import ClassVar

import awkward as ak
import pytest
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

import columnservice
from tests.support.selected import write_selected
from tests.support.truth import Parent, as_awkward

MINI = "cms/miniaodsim_phys14_10ev.root"
ROWS = [4, 9, -1, 0, 7, 2, 5, 1, 8]


@pytest.fixture(scope="module")
def made(service, data_dir, tmp_path_factory):
    """A registered file of selected, shuffled, rounded muons, and the parent by plain uproot."""
    parent = Parent(data_dir / MINI, "miniaod")
    path = tmp_path_factory.mktemp("muons") / "local.root"
    truth = write_selected(path, parent, ROWS, {"Muon": "slimmedMuons"})
    service.register("muons_mini", "miniaod", [data_dir / MINI])
    service.register("muons", "nanoaod", [path], parent="muons_mini")
    return parent, truth


class Nano(NanoAODSchema):
    """NanoAODSchema without its warnings about what a small file lacks."""

    warn_missing_crossrefs = False
    full_like_items: ClassVar[dict] = {}
    all_cross_references: ClassVar[dict] = {}
    mixins: ClassVar[dict] = {**NanoAODSchema.mixins, "Muon": "PtEtaPhiMCollection"}


def events_of(service, truth, columns):
    told = columnservice.connect(service.url).nanoevents(
        Nano, dataset="muons", columns=columns, missing="mask"
    )
    return NanoEventsFactory.from_root({str(truth.path): "Events"}, **told).events()


def test_coffea_finds_the_packed_candidate_of_local_and_parent_muons(service, made):
    """Through the index the candidate is the muon; what a plain read of the parent says, it is."""
    parent, truth = made
    columns = ["Muon_pfCandIdx", "slimmedMuons_*", "PFCands_*"]
    events = events_of(service, truth, columns)
    places, pt = (as_awkward(parent.ragged(n)) for n in ("slimmedMuons_pfCandIdx", "PFCands_pt"))
    candidates = events.PFCands._apply_global_index(events.Muon.pfCandIdxG)
    theirs = events.PFCands._apply_global_index(events.slimmedMuons.pfCandIdxG)
    linked = 0
    for n, (row, index) in enumerate(zip(ROWS, truth.index["Muon"], strict=True)):
        right = [] if row < 0 else [places[row][i] for i in index]
        assert row < 0 or events.Muon.pfCandIdx[n].to_list() == right
        momenta = [None if place < 0 else pt[row][place] for place in right]
        assert row < 0 or candidates[n].pt.to_list() == momenta
        if row >= 0:
            all_of_them = [None if p < 0 else pt[row][p] for p in places[row]]
            assert theirs[n].pt.to_list() == all_of_them
        linked += sum(place >= 0 for place in right)
    assert linked > 10
    held = ~ak.is_none(candidates.pt, axis=1) & (events.Muon.pfCandIdx >= 0)
    mine, found = events.Muon[held], candidates[held]
    assert ak.all(abs(mine.pt / found.pt - 1) < 0.01)
    assert ak.all(abs(mine.eta - found.eta) < 0.01)
    muons = abs(found.pdgId) == 13
    assert ak.sum(muons) > 10
