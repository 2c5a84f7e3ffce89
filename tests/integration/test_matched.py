"""Parent fields on local objects, through the real service: objects selected, shuffled, rounded."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import ClassVar

import awkward as ak
import dask
import numpy as np
import pyarrow as pa
import pytest
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory, PFNanoAODSchema

import columnservice
from columnservice import wire
from columnservice.alignment.taken import nothing
from columnservice.model import Keys
from tests.integration.test_every_column import same
from tests.integration.test_uploads import put, stream_of
from tests.support.selected import write_selected
from tests.support.service import running_service
from tests.support.truth import Parent, as_awkward, expected

MINI = "cms/miniaodsim_phys14_10ev.root"
COLLECTIONS = {
    "Muon": "slimmedMuons",
    "Electron": "slimmedElectrons",
    "Jet": "slimmedJets",
    "Tau": "slimmedTaus",
    "Photon": "slimmedPhotons",
    "FatJet": "slimmedJetsAK8",
    "GenJet": "slimmedGenJets",
    "GenPart": "prunedGenParticles",
    "SV": "slimmedSecondaryVertices",
    "PFCand": "PFCands",
}
# Particles along the beam, whose eta no half can hold (19), and copies of one particle whose
# directions 8 bits, which NanoAOD keeps at least, could not tell apart (8): none is wrong.
UNMATCHED = {"GenPart": 27, "PFCand": 0}
ROWS = [4, 9, -1, 0, 7, 2, 5, 1, 8]


@pytest.fixture(scope="module")
def made(service, data_dir, tmp_path_factory):
    """A registered file of selected objects, the truth, and the parent by plain uproot."""
    parent = Parent(data_dir / MINI, "miniaod")
    path = tmp_path_factory.mktemp("matched") / "local.root"
    smear = {"Jet": 0.05, "FatJet": 0.05, "Electron": 0.03}
    truth = write_selected(path, parent, ROWS, COLLECTIONS, smear=smear)
    service.register("matched_mini", "miniaod", [data_dir / MINI])
    summary = service.register("matched", "nanoaod", [path], parent="matched_mini")
    assert summary["coverage"] == {"events": len(ROWS), "with_parent": len(ROWS) - 1}, summary
    return parent, truth


def answer(service, names, start=0, stop=9):
    """Columns by name, and the batch."""
    told = {c["name"]: wire.column_from_json(c) for c in service.columns("matched")}
    data = service.data("matched", service.uuids("matched")[0], start, stop, names)
    [batch] = pa.ipc.open_stream(data).read_all().to_batches()
    return {name: wire.decode_column(told[name], batch) for name in names}, batch


def lists(ragged):
    """Values as one list per event."""
    (offsets,) = ragged.offsets
    return [ragged.values[a:b].tolist() for a, b in pairwise(offsets)]


@pytest.mark.parametrize("local", COLLECTIONS)
def test_selected_shuffled_rounded_objects_find_what_they_were_made_from(service, made, local):
    _, truth = made
    index, wrong = f"{local}_{COLLECTIONS[local]}Idx", 0
    found, batch = answer(service, [index, f"{local}_hasMatch", f"{local}_matchAmbiguous"])
    assert batch.column("hasParent").to_pylist() == [row >= 0 for row in ROWS]
    right = [i if row >= 0 else [] for i, row in zip(truth.index[local], ROWS, strict=True)]
    for got, want in zip(lists(found[index]), right, strict=True):
        assert len(got) == len(want)
        wrong += sum(g not in (w, -1) for g, w in zip(got, want, strict=True))
    flat = found[index].values
    assert wrong == 0
    assert np.array_equal(found[f"{local}_hasMatch"].values, flat >= 0)
    assert (flat < 0).sum() <= UNMATCHED.get(local, 0)


@pytest.mark.parametrize("local", COLLECTIONS)
def test_every_parent_field_stands_on_the_local_objects(service, made, local):
    parent, _ = made
    index = f"{local}_{COLLECTIONS[local]}Idx"
    prefix = f"{COLLECTIONS[local]}_"
    columns = [wire.column_from_json(c) for c in service.columns("matched")]
    fields = {
        c.name: c.source.partition(" through ")[0]
        for c in columns
        if c.collection == local and c.source.endswith(f" through {index}")
    }
    depths = {c.name: c.depth for c in columns}
    assert fields
    assert all(source.startswith(prefix) for source in fields.values())
    found, _ = answer(service, [index, *fields])
    places = np.array([i for event in lists(found[index]) for i in event])
    events = np.repeat(np.arange(len(ROWS)), np.diff(found[index].offsets[0]))
    for name, source in fields.items():
        if depths[name] > 1:
            continue
        want = expected([parent], source, [(0, row) if row >= 0 else (-1, -1) for row in ROWS])
        where = want.offsets[0][events] + places
        for member, values in want.content.items():
            right = np.full(len(places), nothing(values.dtype), values.dtype)
            right[places >= 0] = values[where[places >= 0]]
            assert found[name].content[member].tobytes() == right.tobytes(), name


def test_a_part_of_the_rows_is_a_part_of_the_whole(service, made):
    names = ["Muon_hasMatch", "Muon_slimmedMuonsIdx", "Jet_matchDR"]
    whole, _ = answer(service, names)
    for start, stop in [(0, 1), (2, 4), (3, 9)]:
        part, _ = answer(service, names, start, stop)
        for name in names:
            offsets = whole[name].offsets[0]
            cut = whole[name].values[offsets[start] : offsets[stop]]
            assert part[name].values.tobytes() == cut.tobytes()


def test_how_well_objects_match_is_told_by_summary_columns_and_command(service, made):
    _, info = service.ask("GET", "/v1/datasets/matched")
    told = {m["local"]: m for m in info["matches"]}
    assert {m["local"]: m["parent"] for m in info["matches"]} == COLLECTIONS
    for local, found in told.items():
        index = answer(service, [f"{local}_{COLLECTIONS[local]}Idx"])[0].popitem()[1].values
        assert found["objects"] == len(index)
        assert found["matched"] == np.count_nonzero(index >= 0)
        assert list(found["dr"]) == ["50%", "90%", "99%"]
        assert 0 <= found["dr"]["50%"] <= found["dr"]["99%"] <= 0.01
    columns = {c["name"]: c for c in service.columns("matched")}
    assert columns["Jet_matchDR"]["match"] == told["Jet"]
    assert columns["Jet_hasMatch"]["doc"].endswith(told["Jet"]["told"])
    assert "match" not in columns["slimmedJets_pt"]
    command = [sys.executable, "-m", "columnservice.cli", "dataset", "check", "matched"]
    done = subprocess.run(
        [*command, "--url", service.url], capture_output=True, text=True, check=True
    )
    assert f"match of Jet with slimmedJets: {told['Jet']['told']}" in done.stdout


def test_objects_of_events_without_a_parent_are_null(service, made):
    _, batch = answer(service, ["Muon_hasMatch", "slimmedMuons_pt"])
    absent = [row < 0 for row in ROWS]
    assert any(absent)
    assert batch.column("local:Muon").is_null().to_pylist() == absent
    assert batch.column("slimmedMuons").is_null().to_pylist() == absent


def test_a_file_known_by_its_keys_only_is_told_to_be_registered(service, made):
    _, truth = made
    with uproot.open(truth.path) as file:
        found = file["Events"].arrays(["run", "luminosityBlock", "event"], library="np")
    keys = Keys(*(np.ascontiguousarray(v[:5]) for v in found.values()))
    digest = wire.keys_digest(keys)
    status, _ = put(service, "matched", digest, stream_of(keys))
    assert status == 201
    body = {"file": digest, "start": 0, "stop": 5, "columns": ["Muon_hasMatch"]}
    status, problem = service.ask("POST", "/v1/datasets/matched/columns/query", body)
    assert (status, problem["title"]) == (422, "UnsupportedColumn")
    assert "columnservice dataset add" in problem["remedy"]
    assert service.data("matched", digest, 0, 5, ["slimmedMuons_pt"])


def test_a_cache_that_keeps_nothing_changes_no_value(service, made, data_dir, tmp_path):
    _, truth = made
    names = ["Muon_slimmedMuonsIdx", "Muon_qx3", "slimmedMuons_pt", "PFCand_dz", "Jet_matchDR"]
    right, _ = answer(service, names)
    small = {"COLUMNSERVICE_CACHE_LIMIT_BYTES": "10000"}
    with running_service(tmp_path / "home", [data_dir, truth.path.parent], small) as other:
        other.register("matched_mini", "miniaod", [data_dir / MINI])
        other.register("matched", "nanoaod", [truth.path], parent="matched_mini")
        for _ in range(2):
            found, _ = answer(other, names)
            assert all(same(found[name], right[name]) for name in names)


def test_the_report_names_what_a_column_was_computed_from(service, made):
    _, truth = made
    columns = columnservice.connect(service.url)
    columns.report(clear=True)
    events = events_of(columns, truth, "virtual", columns=["Muon_*"])
    assert ak.sum(events.Muon.hasMatch) > 0
    [told] = columns.report(clear=True).record["datasets"].values()
    assert {"Muon_hasMatch", "Muon_slimmedMuonsIdx", "Muon_eta", "slimmedMuons_eta"} <= set(
        told["recipes"]
    )
    assert told["derived"]["Muon_hasMatch"] == ["Muon_slimmedMuonsIdx"]


def test_events_without_a_parent_are_an_error_by_default(service, made):
    _, truth = made
    columns = columnservice.connect(service.url)
    told = columns.nanoevents(Nano, dataset="matched", columns=["Muon_*"])
    events = NanoEventsFactory.from_root({str(truth.path): "Events"}, **told).events()
    with pytest.raises(Exception, match="1 of 9 events"):
        ak.to_list(events.Muon.qx3)


class PFNano(PFNanoAODSchema):
    """PFNanoAODSchema without its warnings about what a small file lacks."""

    warn_missing_crossrefs = False
    full_like_items: ClassVar[dict] = {}


def test_coffea_finds_the_packed_candidates_of_local_jets(service, made):
    parent, truth = made
    told = columnservice.connect(service.url).nanoevents(
        PFNano, dataset="matched", columns=["JetPFCands_*", "PFCands_*"], missing="mask"
    )
    events = NanoEventsFactory.from_root({str(truth.path): "Events"}, **told).events()
    lists = as_awkward(parent.ragged("slimmedJets_pfCandIdx"))
    pt = as_awkward(parent.ragged("PFCands_pt"))
    jets, candidates = events.JetPFCands.jetIdx, events.JetPFCands.pFCandsIdx
    momenta = events.PFCands._apply_global_index(events.JetPFCands.pFCandsIdxG).pt
    for n, (row, index) in enumerate(zip(ROWS, truth.index["Jet"], strict=True)):
        right = [] if row < 0 else [(j, k) for j, i in enumerate(index) for k in lists[row][i]]
        assert jets[n].to_list() == [j for j, _ in right]
        assert candidates[n].to_list() == [k for _, k in right]
        assert momenta[n].to_list() == [pt[row][k] for _, k in right]


class Nano(NanoAODSchema):
    """NanoAODSchema without its warnings about what a small file lacks."""

    warn_missing_crossrefs = False
    full_like_items: ClassVar[dict] = {}
    all_cross_references: ClassVar[dict] = {}
    mixins: ClassVar[dict] = {
        **NanoAODSchema.mixins,
        **dict.fromkeys(("Muon", "Electron", "Tau", "Photon", "Jet"), "PtEtaPhiMCollection"),
    }


def events_of(connected, truth, mode, **options):
    told = connected.nanoevents(Nano, dataset="matched", missing="mask", **options)
    return NanoEventsFactory.from_root({str(truth.path): "Events"}, mode=mode, **told).events()


@pytest.mark.parametrize("mode", ["virtual", "eager", "dask"])
def test_coffea_has_parent_fields_on_local_muons_in_every_mode(service, made, mode):
    parent, truth = made
    columns = ["Muon_*", "Jet_matchDR", "slimmedMuons_p*"]
    events = events_of(columnservice.connect(service.url), truth, mode, columns=columns)
    arrays = [
        events.Muon.pt,
        events.Muon.qx3,
        events.slimmedMuons._apply_global_index(events.Muon.slimmedMuonsIdxG).pt,
        events.Jet.matchDR,
    ]
    if mode == "dask":
        arrays = dask.compute(*arrays)
    mine, charge, theirs, far = arrays
    want = parent.branch(parent.columns["slimmedMuons_pt"].recipe.reads[0])
    for row, numbers, other, index in zip(ROWS, mine, theirs, truth.index["Muon"], strict=True):
        if row < 0:
            assert ak.all(ak.is_none(other))
            continue
        assert other.to_list() == want[row][index].to_list()
        assert np.allclose(other.to_list(), numbers.to_list(), rtol=1e-3)
    assert ak.num(charge).to_list() == [len(i) for i in truth.index["Muon"]]
    present = np.array(ROWS) >= 0
    assert ak.all(np.isnan(far[~present]))
    assert ak.max(far[present]) < 0.01
