"""Other kinds of files and schemas: scouting, a user's subclass, RNTuples."""

from __future__ import annotations

import awkward as ak
import dask
import pytest
import uproot
from coffea.nanoevents import (
    NanoAODSchema,
    NanoEventsFactory,
    ScoutingNanoAODSchema,
)

from .files import same, serve_nanoaod, write_nanoaod

pytestmark = [
    pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Branch .* already exists:RuntimeWarning"),
]


def events(path, **options):
    return NanoEventsFactory.from_root({str(path): "Events"}, **options).events()


def lacking(full, path, server, gone):
    """A local file without some branches, and a dataset that adds them."""
    names = [k for k in uproot.open(full)["Events"].keys() if gone(k)]  # noqa: SIM118
    uuid = write_nanoaod(full, path, gone)
    server.add(serve_nanoaod("d", full, uuid, names))
    return path


@pytest.fixture
def scouting(data_dir, tmp_path, server):
    full = data_dir / "cms" / "scouting_nano.root"

    def gone(name):
        group = name.partition("_")[0]
        photons = {"ScoutingPhoton", "nScoutingPhoton"}
        return group in photons or name in ("ScoutingMuon_trk_dxy", "ScoutingRho_fixedGridRhoAll")

    return full, lacking(full, tmp_path / "local.root", server, gone)


def test_scouting_collections_come_back_as_what_they_are(scouting, service):
    full, local = scouting
    found = events(local, **service.nanoevents(ScoutingNanoAODSchema, dataset="d"))
    truth = events(full, schemaclass=ScoutingNanoAODSchema)
    assert type(found.ScoutingPhoton) is type(truth.ScoutingPhoton)
    assert set(found.ScoutingPhoton.fields) == set(truth.ScoutingPhoton.fields)
    for field in truth.ScoutingPhoton.fields:
        assert same(found.ScoutingPhoton[field], truth.ScoutingPhoton[field]), field
    assert same(
        (found.ScoutingPhoton + found.ScoutingPhoton).mass,
        (truth.ScoutingPhoton + truth.ScoutingPhoton).mass,
    )


class Mine(NanoAODSchema):
    """A user's own: a mixin of their own choice, and an event id less."""

    mixins = {**NanoAODSchema.mixins, "PFCands": "PtEtaPhiMCandidate"}  # noqa: RUF012
    warn_missing_crossrefs = False


def test_a_users_own_subclass_has_the_last_word(nano, nano_served, full_nano, service):
    found = events(nano[0], **service.nanoevents(Mine, dataset="nano"))
    truth = events(full_nano, schemaclass=Mine)
    assert type(found.PFCands) is type(truth.PFCands)
    assert type(found.PFCands).__name__ == "PtEtaPhiMCandidateArray"
    assert same(found.PFCands.pt, truth.PFCands.pt)


def test_results_of_chunks_and_masks_concatenate(nano, nano_served, full_nano, service):
    options = service.nanoevents(Mine, dataset="nano")
    truth = events(full_nano, schemaclass=Mine)
    chunks = []
    for start, stop in ((0, 3), (3, 6), (6, 10)):
        some = events(nano[0], entry_start=start, entry_stop=stop, **options)
        chosen = some[ak.num(some.Muon) > 0]
        chunks.append(chosen.PFCands[chosen.PFCands.pt > 2][:, ::2])
    wanted = truth[ak.num(truth.Muon) > 0]
    wanted = wanted.PFCands[wanted.PFCands.pt > 2][:, ::2]
    found = ak.concatenate(chunks)
    assert found.pt.to_list() == wanted.pt.to_list()
    assert ak.to_packed(found.charge).to_list() == wanted.charge.to_list()


@pytest.mark.parametrize("mode", ["virtual", "eager", "dask"])
def test_nested_lists_and_links_are_fields_of_local_objects(small, service, mode):
    options = service.nanoevents(
        NanoAODSchema, dataset="small", columns=["Muon_times", "Muon_link"]
    )
    found = NanoEventsFactory.from_root({str(small.path): "Events"}, mode=mode, **options).events()
    chosen = found[ak.num(found.Muon) > 1].Muon
    times, links = chosen.times[:, 1], chosen.link.index
    if mode == "dask":
        times, links = dask.compute(times, links, scheduler="synchronous")
    tree = small.tree(options)
    mask = ak.num(tree["Muon_pt"].array()) > 1
    assert times.to_list() == tree["Muon_times"].array()[mask][:, 1].to_list()
    assert links.to_list() == tree["Muon_link"].array()["index"][mask].to_list()
