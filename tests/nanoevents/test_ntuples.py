"""Local RNTuples: remote columns in every mode, beside the same analysis of the full TTree."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import dask
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory, PFNanoAODSchema, PHYSLITESchema

from columnservice.errors import RequestError, UnsupportedColumn

from ..support.ntuples import as_ntuple
from .conftest import atlas_is_remote, nano_is_remote
from .files import same, serve_nanoaod, serve_physlite

pytestmark = [
    pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Branch .* already exists:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Skipping .* as it is:UserWarning"),
]
NANO_KEPT = ("run", "luminosityBlock", "event", "Muon_", "nMuon", "Jet_", "nJet", "PV_")
KEPT = ("AnalysisMuons", "AnalysisJets", "EventInfo")
MODES = ["virtual", "eager", "dask"]


class PFNano(PFNanoAODSchema):
    """Without coffea's warnings about what the old file lacks."""

    warn_missing_crossrefs = False


@pytest.fixture(scope="session")
def nano_ntuple(full_nano, tmp_path_factory):
    """A local RNTuple of lists without PF candidates."""
    path = tmp_path_factory.mktemp("ntuple") / "nano.root"
    return as_ntuple(
        full_nano,
        "nanoaod",
        path,
        cluster_rows=4,
        keep=lambda c: (
            c.name in NANO_KEPT or (c.name.startswith(NANO_KEPT) and not nano_is_remote(c.name))
        ),
    )


@pytest.fixture(scope="session")
def atlas_ntuple(full_atlas, tmp_path_factory):
    """A local RNTuple with ATLAS's colons in its names, without some containers."""
    path = tmp_path_factory.mktemp("ntuple") / "physlite.root"
    return as_ntuple(
        full_atlas,
        "physlite",
        path,
        cluster_rows=30,
        keep=lambda c: c.collection in KEPT and not atlas_is_remote(c.name),
    )


def uuid_of(path) -> str:
    return str(uproot.open(path).file.uuid)


@pytest.fixture
def served_nano(server, nano_ntuple, nano, full_nano):
    return server.add(serve_nanoaod("nano", full_nano, uuid_of(nano_ntuple), nano[2]))


@pytest.fixture
def served_atlas(server, atlas_ntuple, atlas, full_atlas):
    return server.add(serve_physlite("atlas", full_atlas, uuid_of(atlas_ntuple), atlas[2]))


def loaded(path, tree, mode, options):
    return NanoEventsFactory.from_root({str(path): tree}, mode=mode, **options).events()


def computed(mode, *arrays):
    return dask.compute(*arrays, scheduler="synchronous") if mode == "dask" else arrays


@pytest.mark.parametrize("mode", MODES)
def test_remote_collections_join_a_local_rntuple(
    nano_ntuple, served_nano, service, full_nano, mode
):
    columns = ["PFCands_*", "Muon_dxy", "PV_npvs"]
    options = service.nanoevents(PFNano, dataset="nano", columns=columns)
    events = loaded(nano_ntuple, "Events", mode, options)
    full = NanoEventsFactory.from_root({str(full_nano): "Events"}, schemaclass=PFNano).events()

    def look(e):
        pair = e.PFCands[:, 0] + e.PFCands[:, 1]
        return e.PFCands.pt, pair.mass, e.Muon.dxy, e.Jet.pt, e.PV.npvs, e.Jet.delta_r(e.Jet)

    for found, wanted in zip(computed(mode, *look(events)), look(full), strict=True):
        assert same(found, wanted)


@pytest.mark.parametrize("mode", MODES)
def test_physlite_rntuples_have_the_collections_of_ttrees(
    atlas_ntuple, served_atlas, service, full_atlas, mode
):
    columns = ["AnalysisElectronsAuxDyn.*", "GSFTrackParticlesAuxDyn.*", "*mcEventWeights"]
    options = service.nanoevents(PHYSLITESchema, dataset="atlas", columns=columns)
    events = loaded(atlas_ntuple, "EventData", mode, options)
    full = NanoEventsFactory.from_root(
        {str(full_atlas): "CollectionTree"}, schemaclass=PHYSLITESchema
    ).events()

    def look(e):
        return (
            e.Electrons.pt,
            e.Electrons.trackParticles.z0,
            e.Jets.pt,
            (e.Jets + e.Jets).mass,
            e.Muons.eta,
            e.EventInfo.mcEventWeights,
        )

    for found, wanted in zip(computed(mode, *look(events)), look(full), strict=True):
        assert same(found, wanted)


class Sums(processor.ProcessorABC):
    def process(self, events):
        return {"pt": float(ak.sum(events.PFCands.pt)), "jets": int(ak.sum(ak.num(events.Jet)))}

    def postprocess(self, accumulator):
        return accumulator


@pytest.mark.parametrize("align_clusters", [False, True])
def test_the_runner_reads_rntuples_chunk_by_chunk(
    nano_ntuple, served_nano, service, full_nano, align_clusters
):
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False),
        schema=PFNano,
        chunksize=3,
        align_clusters=align_clusters,
    )
    fileset = {"a": {"files": {str(nano_ntuple): "Events"}, "metadata": {"columnservice": "nano"}}}
    found = service.run(runner, fileset, Sums())
    tree = uproot.open(full_nano)["Events"]
    assert found["pt"] == pytest.approx(float(ak.sum(tree["PFCands_pt"].array())), rel=1e-6)
    assert found["jets"] == int(ak.sum(tree["nJet"].array()))


def test_a_record_of_lists_takes_no_more_fields_and_says_why(
    tmp_path, full_nano, nano, server, service
):
    names = ["Muon_pt", "Muon_eta", "run", "luminosityBlock", "event"]
    tree = uproot.open(full_nano)["Events"]
    arrays = {n: tree[n].array() for n in names}
    muons = ak.zip({"pt": arrays.pop("Muon_pt"), "eta": arrays.pop("Muon_eta")})
    path = tmp_path / "records.root"
    with uproot.recreate(path) as file:
        file["Events"] = {"Muon": muons, **arrays}
    server.add(serve_nanoaod("nano", full_nano, uuid_of(path), nano[2]))
    options = service.nanoevents(NanoAODSchema, dataset="nano")
    local = uproot.open({str(path): "Events"}, **options["uproot_options"])
    with pytest.raises(UnsupportedColumn, match="the local file has a branch named Muon"):
        local["Muon_dxy"]
    events = loaded(path, "Events", "virtual", options)
    assert events.Muon.pt.to_list() == muons.pt.to_list()
    assert events.PFCands.pt.to_list() == tree["PFCands_pt"].array().to_list()


def test_uproot_reads_local_and_remote_fields_together(
    nano_ntuple, served_nano, server, service, full_nano
):
    options = service.nanoevents(PFNano, dataset="nano")["uproot_options"]
    local = uproot.open({str(nano_ntuple): "Events"}, **options)
    tree = uproot.open(full_nano)["Events"]
    names = ["Muon_pt", "PFCands_pt", "nPFCands"]
    asked = len(server.data_requests)
    found = local.arrays(names, entry_start=2, entry_stop=9)
    assert len(server.data_requests) == asked + 1
    assert sorted(found.fields) == sorted(names)
    for name in names:
        assert found[name].to_list() == tree[name].array()[2:9].to_list()
    parts = list(local.iterate(filter_name=["PFCands_pt", "event"], step_size=4))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert ak.concatenate(parts).PFCands_pt.to_list() == tree["PFCands_pt"].array().to_list()
    (whole,) = local.iterate(["PFCands_pt", "Jet_pt"])
    assert sorted(whole.fields) == ["Jet_pt", "PFCands_pt"]
    virtual = local.arrays(filter_name=["Jet_pt"], virtual=True)
    assert virtual.Jet_pt.to_list() == tree["Jet_pt"].array().to_list()
    assert "PFCands_pt" in local
    assert "PFCands_ptt" not in local
    with pytest.raises(RequestError, match="every column"):
        local.arrays()
    with pytest.raises(RequestError, match="library='np'"):
        local.arrays(["PFCands_pt"], library="np")


def test_what_uproot_would_leave_out_of_an_rntuple_in_silence_is_an_error(
    nano_ntuple, served_nano, server, service, full_nano
):
    options = service.nanoevents(PFNano, dataset="nano")["uproot_options"]
    local = uproot.open({str(nano_ntuple): "Events"}, **options)
    for call in (local.arrays, lambda *a, **k: list(local.iterate(*a, **k))):
        with pytest.raises(RequestError, match="virtual=True: PFCands_pt") as caught:
            call(filter_name=["Jet_pt", "PFCands_pt"], virtual=True)
        assert "filter_name" in caught.value.remedy
        for asked in (
            {"expressions": ["PFCands_pt"], "cut": "nJet > 2"},
            {"expressions": ["Jet_pt"], "cut": "nPFCands > 100"},
            {"expressions": ["PFCands_pt * 2"]},
            {"expressions": ["PFCands_pt"], "aliases": {"twice": "Jet_pt * 2"}},
        ):
            with pytest.raises(RequestError, match="not computed for RNTuples") as caught:
                call(**asked)
            assert "awkward" in caught.value.remedy
    with pytest.raises(RequestError, match="virtual=True"):
        local.arrays(virtual=True)
    assert server.data_requests == []
    tree = uproot.open(full_nano)["Events"]
    found = local.arrays(["PFCands_pt*", "Jet_pt"])
    assert sorted(found.fields) == ["Jet_pt", "PFCands_pt"]
    assert found.Jet_pt.to_list() == tree["Jet_pt"].array().to_list()


def test_names_are_found_as_in_trees(nano_ntuple, served_nano, service):
    options = service.nanoevents(PFNano, dataset="nano")["uproot_options"]
    local = uproot.open({str(nano_ntuple): "Events"}, **options)
    for name in ("Jet_pt", "/Jet_pt", "PFCands_pt", "/PFCands_pt"):
        assert name in local
        assert local[name].name == name.removeprefix("/")
    assert "PFCands_ptt" not in local
    with pytest.raises(KeyError):
        local["PFCands_ptt"]


def test_a_file_without_a_uuid_is_refused(served_nano, service):
    path = Path(__file__).parents[1] / "reader" / "data" / "root_ntuple.root"
    options = service.nanoevents(PFNano, dataset="nano")["uproot_options"]
    local = uproot.open({str(path): "Events"}, **options)
    with pytest.raises(RequestError, match="has no UUID"):
        local.keys()


def test_a_file_that_the_service_does_not_know_is_as_without_it(data_dir, served_nano, service):
    path = data_dir / "rntuple" / "nano_dy_rntuple.root"
    options = service.nanoevents(PFNano)
    with pytest.warns(UserWarning, match="does not know"):
        events = loaded(path, "Events", "virtual", options)
    plain = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=PFNano).events()
    assert events.fields == plain.fields
    assert same(events.Jet.pt, plain.Jet.pt)


def test_a_real_physlite_rntuple_opens(data_dir, served_atlas, service):
    path = data_dir / "rntuple" / "uproot-physlite-rntuple_v1-0-0-0.root"
    options = service.nanoevents(PHYSLITESchema)
    with pytest.warns(UserWarning, match="does not know"):
        events = loaded(path, "EventData", "virtual", options)
    tree = uproot.open(path)["EventData"]
    assert same(events.Electrons.pt, tree["AnalysisElectronsAuxDyn:pt"].array())
