"""The whole way: coffea, the plugin, the client and a real service, on the experiments' files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import ClassVar

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory, PHYSLITESchema

import columnservice
from columnservice.alignment.takeindex import open_takeindex, write_takeindex
from columnservice.errors import MissingParent, ProofMismatch
from tests.integration.test_every_column import from_ids
from tests.support.service import running_service
from tests.support.truth import truth_of

SYN = "cms_demo_syn/local_NanoAODv5_1000ev.root"


class Nano(NanoAODSchema):
    """NanoAODSchema without its warnings about what an old file lacks, or has already."""

    warn_missing_crossrefs = False
    full_like_items: ClassVar[dict] = {}


class SumPt(processor.ProcessorABC):
    """Sums a remote column, and counts events."""

    def process(self, events):
        return {"events": len(events), "sum": float(ak.sum(events.PFCands.pt))}

    def postprocess(self, accumulator):
        return accumulator


@pytest.fixture(scope="module")
def syn(service, data_dir):
    """The synthetic pair: dataset name and the truth as (parent, row) per local row."""
    service.register(
        "coffea_mini", "miniaod", [data_dir / f"cms_demo_syn/parent_{n}.root" for n in range(4)]
    )
    service.register("coffea_nano", "nanoaod", [data_dir / SYN], parent="coffea_mini")
    tree = uproot.open(data_dir / SYN)["Events"]
    keys = tree.arrays(["run", "luminosityBlock", "event"], library="np")
    local = [tuple(int(v) for v in key) for key in zip(*keys.values(), strict=True)]
    return "coffea_nano", from_ids(data_dir, (), local)


def events_of(service, path, schema, tree, **options):
    told = columnservice.connect(service.url).nanoevents(schema, **options)
    return NanoEventsFactory.from_root({str(path): tree}, **told).events()


def pdg_ids(data_dir, take):
    """The candidates' pdgId by plain uproot, in true local order; empty where absent."""
    name = "patPackedCandidates_packedPFCandidates__PAT."
    arrays = [
        uproot.open(data_dir / f"cms_demo_syn/parent_{n}.root")[
            f"Events/{name}/{name}obj/{name}obj.pdgId_"
        ].array()
        for n in range(4)
    ]
    return [arrays[p][r].to_list() if p >= 0 else [] for p, r in take]


def test_events_without_a_parent_are_an_error_by_default(service, syn, data_dir):
    events = events_of(service, data_dir / SYN, Nano, "Events", dataset=syn[0])
    with pytest.raises(MissingParent, match="25 of 1000 events"):
        ak.sum(events.PFCands.pt)
    assert ak.sum(events.Muon.pt) > 0


def test_masked_events_are_empty_and_the_others_are_never_shifted(service, syn, data_dir):
    name, take = syn
    events = events_of(service, data_dir / SYN, Nano, "Events", dataset=name, missing="mask")
    assert events.PFCands.pdgId.to_list() == pdg_ids(data_dir, take)
    assert events.hasParent.to_list() == [p >= 0 for p, _ in take]
    missing = truth_of(data_dir / "cms_demo_syn")["local_rows_missing_in_parent"]
    assert np.flatnonzero(~ak.to_numpy(events.hasParent)).tolist() == sorted(missing)


def test_remote_vectors_work_beside_local_ones_and_after_a_mask(service, syn, data_dir):
    name, take = syn
    events = events_of(service, data_dir / SYN, Nano, "Events", dataset=name, missing="mask")
    chosen = events[events.hasParent & (ak.num(events.Muon) > 0)]
    rows = np.flatnonzero([p >= 0 for p, _ in take] & (ak.num(events.Muon) > 0).to_numpy())
    expected = pdg_ids(data_dir, take)
    assert chosen.PFCands.pdgId.to_list() == [expected[r] for r in rows]
    near = chosen.Muon.nearest(chosen.PFCands)
    by_hand = chosen.Muon.metric_table(chosen.PFCands)
    assert ak.all(abs(near.delta_r(chosen.Muon) - ak.min(by_hand, axis=2)) < 1e-6)


COUNT_CANDIDATES = """
import sys, warnings
warnings.simplefilter("ignore")
import awkward as ak, columnservice
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
service = columnservice.connect(sys.argv[1])
options = service.nanoevents(NanoAODSchema, dataset="coffea_nano", missing="mask")
events = NanoEventsFactory.from_root({sys.argv[2]: "Events"}, **options).events()
print(int(ak.sum(ak.num(events.PFCands.dz))))
"""


def test_a_second_process_is_served_from_the_cache(service, syn, data_dir):
    service.ask("POST", "/v1/cache/evict")  # other tests use the same files
    misses = []
    for _ in range(2):
        before = service.counter("columnservice_piece_misses_total")
        command = [sys.executable, "-c", COUNT_CANDIDATES, service.url, str(data_dir / SYN)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert int(done.stdout) == sum(map(len, pdg_ids(data_dir, syn[1])))
        misses.append(service.counter("columnservice_piece_misses_total") - before)
    assert misses[0] > 0
    assert misses[1] == 0


@pytest.mark.parametrize("skip", [False, True])
def test_runner_gives_the_sum_of_a_direct_read_for_any_chunks(service, syn, data_dir, skip):
    name, take = syn
    options = columnservice.connect(service.url).nanoevents(Nano, dataset=name, missing="mask")
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False),
        schema=options["schemaclass"],
        chunksize=333,
        skipbadfiles=skip,
    )
    fileset = {"d": {"treename": "Events", "files": [str(data_dir / SYN)]}}
    out = runner(fileset, SumPt(), uproot_options=options["uproot_options"])
    half = "patPackedCandidates_packedPFCandidates__PAT."
    truth = 0.0
    for n in range(4):
        tree = uproot.open(data_dir / f"cms_demo_syn/parent_{n}.root")["Events"]
        codes = tree[f"{half}/{half}obj/{half}obj.packedPt_"].array()
        rows = [r for p, r in take if p == n]
        flat = np.asarray(ak.flatten(codes[rows]), np.uint16).view(np.float16)
        truth += float(flat.astype(np.float64).sum())
    assert out["events"] == 1000
    assert out["sum"] == pytest.approx(truth, rel=1e-6)


def shift(index):
    """Every present row gets the next present row's parent."""
    present = np.flatnonzero(index.present)
    file, row = np.array(index.file), np.array(index.row)
    file[present], row[present] = np.roll(file[present], 1), np.roll(row[present], 1)
    return replace(index, file=file, row=row)


def swap_two(index):
    """Two rows exchanged."""
    a, b = np.flatnonzero(index.present)[[3, 700]]
    file, row = np.array(index.file), np.array(index.row)
    file[[a, b]], row[[a, b]] = file[[b, a]], row[[b, a]]
    return replace(index, file=file, row=row)


@pytest.mark.parametrize("damage", [shift, swap_two])
def test_a_deliberately_wrong_take_index_is_caught_at_the_client(data_dir, tmp_path, damage):
    with running_service(tmp_path / "home", [data_dir]) as service:
        parents = [data_dir / f"cms_demo_syn/parent_{n}.root" for n in range(4)]
        service.register("mini", "miniaod", parents)
        service.register("nano", "nanoaod", [data_dir / SYN], parent="mini")
        [path] = (service.home / "indexes" / "takes").rglob("*.arrow")
        write_takeindex(path, damage(open_takeindex(path)))
        options = columnservice.connect(service.url).nanoevents(
            Nano, dataset="nano", missing="mask"
        )
        events = NanoEventsFactory.from_root({str(data_dir / SYN): "Events"}, **options).events()
        with pytest.raises(ProofMismatch, match="other events"):
            ak.sum(events.PFCands.pt)
        for skip in (False, True):
            runner = processor.Runner(
                executor=processor.IterativeExecutor(status=False, retries=0),
                schema=options["schemaclass"],
                chunksize=500,
                skipbadfiles=skip,
            )
            fileset = {"d": {"treename": "Events", "files": [str(data_dir / SYN)]}}
            with pytest.raises(Exception, match="ProofMismatch"):  # coffea wraps what it raises
                runner(fileset, SumPt(), uproot_options=options["uproot_options"])


def test_physlite_gets_what_its_parent_has(service, data_dir):
    service.register("coffea_daod", "daod", [data_dir / "atlas/PHYSLITE_example.root"])
    path = data_dir / "atlas_demo_derived/local_60ev.root"
    service.register("coffea_lite", "physlite", [path], parent="coffea_daod")
    events = events_of(service, path, PHYSLITESchema, "CollectionTree", dataset="coffea_lite")
    rows = truth_of(data_dir / "atlas_demo_derived")["local_row_to_parent_row"]
    parent = uproot.open(data_dir / "atlas/PHYSLITE_example.root")["CollectionTree"]
    charge = parent["AnalysisElectronsAuxDyn.charge"].array()[rows]
    assert events.Electrons.charge.to_list() == charge.to_list()
    assert events.Electrons[:, :1].charge.to_list() == charge[:, :1].to_list()
    jets = parent["AnalysisJetsAuxDyn.Timing"].array()[rows]
    assert events.Jets.Timing.to_list() == jets.to_list()
    links = parent["AnalysisElectronsAuxDyn.trackParticleLinks"].array()[rows]
    got = events.Electrons.trackParticleLinks
    assert got.m_persIndex.to_list() == links.m_persIndex.to_list()


def test_importing_the_client_loads_neither_server_nor_uproot(service):
    heavy = ["uproot", "awkward", "coffea", "numba", "sqlalchemy", "fastapi", "pydantic", "XRootD"]
    code = (
        "import json, sys, columnservice; s = columnservice.connect(sys.argv[1]); s.datasets();"
        f"print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, service.url], check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == []
