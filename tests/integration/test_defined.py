"""Columns that users define, through the real service: against loops over what files hold."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory, PHYSLITESchema

import columnservice
from columnservice.errors import (
    BadExpression,
    ColumnExists,
    ColumnInUse,
    ProvenanceChanged,
    UnknownColumn,
)
from tests.integration.test_every_column import from_ids
from tests.support.truth import Parent, expected, truth_of

SYN = "cms_demo_syn/local_NanoAODv5_1000ev.root"
ISOLATION = "sum(PFCands_pt[dR < 0.4]) / Muon_pt"


class Nano(NanoAODSchema):
    """NanoAODSchema without its warnings about what an old file lacks, or has already."""

    warn_missing_crossrefs = False
    full_like_items: ClassVar[dict] = {}


@pytest.fixture(scope="module")
def syn(service, data_dir):
    """The synthetic pair: the client's dataset, and the truth as (parent, row) per local row."""
    files = [data_dir / f"cms_demo_syn/parent_{n}.root" for n in range(4)]
    service.register("defined_mini", "miniaod", files)
    service.register("defined_nano", "nanoaod", [data_dir / SYN], parent="defined_mini")
    tree = uproot.open(data_dir / SYN)["Events"]
    keys = tree.arrays(["run", "luminosityBlock", "event"], library="np")
    local = [tuple(int(v) for v in key) for key in zip(*keys.values(), strict=True)]
    dataset = columnservice.connect(service.url).dataset("defined_nano")
    return dataset, from_ids(data_dir, (), local)


def read_directly(parents, local, take):
    """What the example is about, by plain uproot: one array per local event."""
    found = {}
    for name in ("PFCands_pt", "PFCands_eta", "PFCands_phi"):
        ragged = expected(parents, name, take)
        found[name] = [ragged.values[a:b] for a, b in pairwise(ragged.offsets[0])]
    tree = uproot.open(local)["Events"]
    for name in ("Muon_pt", "Muon_eta", "Muon_phi"):
        found[name] = [np.asarray(event) for event in tree[name].array()]
    return found


@pytest.fixture(scope="module")
def direct(data_dir, syn):
    parents = [Parent(data_dir / f"cms_demo_syn/parent_{n}.root", "miniaod") for n in range(4)]
    return read_directly(parents, data_dir / SYN, syn[1])


def isolations(direct, take, cone=0.4):
    """The example, one muon and one candidate after the other; None without a parent."""
    values = []
    for event, (parent, _) in enumerate(take):
        if parent < 0:
            values.append(None)
            continue
        mine = []
        for pt, eta, phi in zip(
            *(direct[f"Muon_{f}"][event] for f in ("pt", "eta", "phi")), strict=True
        ):
            total = 0.0
            candidates = (direct[f"PFCands_{f}"][event] for f in ("pt", "eta", "phi"))
            for other_pt, other_eta, other_phi in zip(*candidates, strict=True):
                around = abs(float(phi) - float(other_phi))
                around = min(around, 2 * np.pi - around)
                if np.hypot(float(eta) - float(other_eta), around) < cone:
                    total += float(other_pt)
            mine.append(total / float(pt))
        values.append(mine)
    return values


def same(got, want):
    assert len(got) == len(want)
    for mine, right in zip(got, want, strict=True):
        assert np.allclose(np.asarray(mine), np.asarray(right or []), rtol=1e-5, equal_nan=True)


def events_of(service, data_dir, mode="virtual", **options):
    told = columnservice.connect(service.url).nanoevents(
        Nano, dataset="defined_nano", missing="mask", **options
    )
    factory = NanoEventsFactory.from_root({str(data_dir / SYN): "Events"}, mode=mode, **told)
    return factory.events()


def test_the_isolation_of_muons_in_coffea_is_that_of_a_loop(service, syn, direct, data_dir):
    dataset, take = syn
    made = dataset.define("Muon_pfIso", ISOLATION, doc="PF isolation")
    assert made.type == "var * float32"
    assert made.expression == "sum(PFCands_pt[dR(Muon, PFCands) < 0.4]) / Muon_pt"
    assert (made.version, made.author) == (1, "local")
    right = isolations(direct, take)
    assert sum(len(r or ()) for r in right) > 50
    assert sum(bool(np.sum(r or 0)) for r in right) > 50
    virtual = events_of(service, data_dir)
    eager = events_of(service, data_dir, "eager", columns=["Muon_pfIso"])
    for events in (virtual, eager):
        there = np.asarray(events.hasParent)
        assert there.tolist() == [parent >= 0 for parent, _ in take]
        same(events.Muon.pfIso[there].to_list(), [r for r in right if r is not None])
        assert np.isnan(np.asarray(ak.flatten(events.Muon.pfIso[~there]))).all()
        assert ak.all(ak.num(events.Muon.pfIso) == ak.num(events.Muon.pt))


def test_what_is_defined_is_listed_with_expression_author_and_inputs(service, syn):
    dataset, _ = syn
    dataset.define("Muon_listed", "PFCands_pt[0] * Muon_pt", doc="a product", unit="GeV^2")
    column = dataset.columns()["Muon_listed"]
    assert (column.origin, column.support, column.type) == ("derived", "ok", "var * float32")
    assert column.source == "PFCands_pt[0] * Muon_pt"
    assert column.doc == "a product in GeV^2 (by local, version 1)"
    [one] = [d for d in dataset.definitions() if d.name == "Muon_listed"]
    assert (one.expression, one.unit, one.version) == (column.source, "GeV^2", 1)
    assert "Muon_listed" in dataset.definitions()._repr_html_()
    uuid = service.uuids("defined_nano")[0]
    reply = columnservice.connect(service.url).fetch("defined_nano", uuid, 0, 5, ["Muon_listed"])
    assert set(reply.provenance["derived"]["Muon_listed"]) == {"PFCands_pt", "Muon_pt"}


def test_events_without_a_parent_are_null_on_the_wire(service, syn):
    dataset, take = syn
    dataset.define("nCandidate", "count(PFCands[PFCands_pt > 1])")
    names = ["nCandidate", "Muon_pfIso"]
    dataset.define("Muon_pfIso", ISOLATION)
    absent = [parent < 0 for parent, _ in take]
    stream = service.data("defined_nano", service.uuids("defined_nano")[0], 0, 1000, names)
    table = pa.ipc.open_stream(stream).read_all()
    assert absent.count(True) == 25
    for name in ("nCandidate", "local:Muon"):
        assert [v is None for v in table.column(name).to_pylist()] == absent, name


def test_a_changed_definition_gives_new_values_and_never_old_pieces(service, syn, direct, data_dir):
    dataset, take = syn
    narrow = dataset.define("Muon_changed", ISOLATION)
    first = events_of(service, data_dir).Muon.changed.to_list()
    wide = dataset.define("Muon_changed", ISOLATION.replace("0.4", "0.8"))
    assert (narrow.version, wide.version) == (1, 2)
    there = np.array([parent >= 0 for parent, _ in take])
    second = events_of(service, data_dir).Muon.changed
    same(second[there].to_list(), [r for r in isolations(direct, take, 0.8) if r is not None])
    assert dataset.define("Muon_changed", ISOLATION).version == 3
    again = events_of(service, data_dir).Muon.changed
    same(again[there].to_list(), [r for r, t in zip(first, there, strict=True) if t])
    assert dataset.define("Muon_changed", ISOLATION, doc="the same").version == 3


def test_it_is_computed_once_for_everybody(service, syn):
    dataset, _ = syn
    dataset.define("Muon_once", "min(dR(Muon, PFCands))")
    uuid, before = service.uuids("defined_nano")[0], read_bytes(service)
    first = service.data("defined_nano", uuid, 0, 1000, ["Muon_once"])
    between = read_bytes(service)
    assert between > before
    assert service.data("defined_nano", uuid, 0, 1000, ["Muon_once"]) == first
    assert read_bytes(service) == between


def read_bytes(service):
    return service.counter("columnservice_source_bytes_total")


def test_definitions_are_made_from_definitions(service, syn, direct, data_dir):
    dataset, take = syn
    dataset.define("Muon_sumPt", "sum(PFCands_pt[dR < 0.4])")
    dataset.define("Muon_relative", "Muon_sumPt / Muon_pt")
    dataset.define("nIsolated", "sum(Muon_relative < 0.5)")
    dataset.define("largestSum", "max(Muon_sumPt)")
    events = events_of(service, data_dir)
    right = isolations(direct, take)
    there = np.array([r is not None for r in right])
    same(events.Muon.relative[there].to_list(), [r for r in right if r is not None])
    counted = [sum(x < 0.5 for x in r) for r in right if r is not None]
    assert np.asarray(events.nIsolated)[there].tolist() == counted
    with pytest.raises(ColumnInUse, match="Muon_relative, largestSum, nIsolated of defined_nano"):
        dataset.undefine("Muon_sumPt")
    with pytest.raises(ColumnInUse, match="largestSum is computed from it and would not fit"):
        dataset.define("Muon_sumPt", "Muon_pt > 5")
    # Changed below, everything above is another thing.
    dataset.define("Muon_sumPt", "2 * sum(PFCands_pt[dR < 0.4])")
    doubled = events_of(service, data_dir).Muon.relative
    same(doubled[there].to_list(), [[2 * x for x in r] for r in right if r is not None])
    for name in ("nIsolated", "largestSum", "Muon_relative", "Muon_sumPt"):
        dataset.undefine(name)
    assert not {"nIsolated", "Muon_relative", "Muon_sumPt"} & {*dataset.columns().names}
    with pytest.raises(UnknownColumn, match="Nobody defined a column 'nIsolated'"):
        dataset.undefine("nIsolated")


def test_values_for_remote_objects_and_for_events_are_shown_by_coffea(service, syn, data_dir):
    dataset, _ = syn
    dataset.define("PFCands_muonDR", "min(dR(PFCands, Muon), default=99)")
    dataset.define("nSoftMuon", "count(Muon[Muon_pt < 10])")
    dataset.define("MET_perCandidate", "MET_pt / count(PFCands)")
    events = events_of(service, data_dir)
    distance = events.PFCands.muonDR
    assert ak.all(ak.num(distance) == ak.num(events.PFCands.pt))
    there = np.asarray(events.hasParent)
    some = there & np.asarray(ak.num(events.Muon) > 0)
    near = events.PFCands[some].metric_table(events.Muon[some])
    assert ak.all(abs(ak.min(near, axis=2) - distance[some]) < 1e-4)
    assert ak.all(distance[there & ~some] == 99)
    soft = ak.sum(events.Muon.pt < 10, axis=1)
    assert ak.all(events.nSoftMuon[there] == soft[there])
    ratio = events.MET.pt[there] / ak.num(events.PFCands)[there]
    assert np.allclose(np.asarray(events.MET.perCandidate[there]), np.asarray(ratio))


def test_what_cannot_be_defined_is_said_by_the_same_errors_here_and_there(service, syn):
    dataset, _ = syn
    with pytest.raises(BadExpression, match=r"Character 1, 'Muon_ptt': no column.*Muon_pt"):
        dataset.define("Muon_wrong", "Muon_ptt")
    with pytest.raises(ColumnExists, match="has a column 'Muon_pt' already"):
        dataset.define("Muon_pt", "Muon_eta")
    with pytest.raises(ColumnExists, match="has a column 'PFCands_pt' already"):
        dataset.define("PFCands_pt", "PFCands_eta")
    with pytest.raises(BadExpression, match="Call it Muon_pf_iso"):
        dataset.define("pf_iso", ISOLATION)
    dataset.define("Muon_one", "Muon_pt + 1")
    dataset.define("Muon_two", "Muon_one + 1")
    with pytest.raises(BadExpression, match="would be computed from itself, through Muon_two"):
        dataset.define("Muon_one", "Muon_two + 1")
    status, problem = service.ask(
        "POST", "/v1/datasets/defined_nano/definitions", {"name": "x", "expression": "__import__"}
    )
    assert (status, problem["title"]) == (400, "BadExpression")
    status, _ = service.ask(
        "POST", "/v1/datasets/defined_mini/definitions", {"name": "x", "expression": "1"}
    )
    assert status == 400


def test_the_real_pair_agrees_with_loops_too(service, data_dir):
    """Eight shuffled events of a real MiniAOD file."""
    mini = data_dir / "cms/miniaodsim_phys14_10ev.root"
    local = data_dir / "cms_demo_mini/local_nano_like_8ev.root"
    service.register("defined_real_mini", "miniaod", [mini])
    service.register("defined_real", "nanoaod", [local], parent="defined_real_mini")
    take = [(0, row) for row in truth_of(data_dir / "cms_demo_mini")["local_row_to_parent_row"]]
    direct = read_directly([Parent(mini, "miniaod")], local, take)
    service_here = columnservice.connect(service.url)
    service_here.dataset("defined_real").define("Muon_pfIso", ISOLATION)
    told = service_here.nanoevents(Nano, dataset="defined_real")
    events = NanoEventsFactory.from_root({str(local): "Events"}, **told).events()
    right = isolations(direct, take)
    assert sum(len(r) for r in right) > 3
    same(events.Muon.pfIso.to_list(), right)


@pytest.mark.filterwarnings("ignore:Skipping .* as it is:UserWarning")
def test_atlas_columns_stand_in_their_containers(service, data_dir):
    pair = data_dir / "atlas_demo_pair"
    local = pair / "local_physlite_21.2.108_40ev.root"
    service.register("defined_daod", "physlite", [pair / "parent_physlite_100ev.root"])
    service.register("defined_lite", "physlite", [local], parent="defined_daod")
    here = columnservice.connect(service.url)
    dataset = here.dataset("defined_lite")
    dataset.define(
        "AnalysisElectronsAuxDyn.nearJet", "min(dR(AnalysisElectrons, AnalysisJets), default=9)"
    )
    dataset.define("nHardJets", "count(AnalysisJets[AnalysisJetsAuxDyn.pt > 5e4])")
    dataset.define("EventInfoAuxDyn.ht", "sum(AnalysisJetsAuxDyn.pt)")
    with pytest.raises(BadExpression, match=r"Call it AnalysisJetsAuxDyn\.x"):
        dataset.define("AnalysisMuonsAuxDyn.x", "AnalysisJetsAuxDyn.pt")
    told = here.nanoevents(PHYSLITESchema, dataset="defined_lite")
    events = NanoEventsFactory.from_root({str(local): "CollectionTree"}, **told).events()
    tree = uproot.open(local)["CollectionTree"]
    jet, electron = (
        {f: tree[f"Analysis{name}AuxDyn.{f}"].array() for f in ("pt", "eta", "phi")}
        for name in ("Jets", "Electrons")
    )
    assert np.asarray(events.nHardJets).tolist() == ak.sum(jet["pt"] > 5e4, axis=1).to_list()
    assert np.allclose(np.asarray(events.EventInfo.ht), ak.sum(jet["pt"], axis=1), rtol=1e-5)
    for event in range(40):
        near = events.Electrons.nearJet[event].to_list()
        assert len(near) == len(electron["pt"][event])
        for number, found in enumerate(near):
            around = jet["phi"][event] - electron["phi"][event][number]
            around = (around + np.pi) % (2 * np.pi) - np.pi
            apart = np.hypot(jet["eta"][event] - electron["eta"][event][number], around)
            assert abs(found - ak.min(apart)) < 1e-4


@pytest.fixture
def whole(service, data_dir):
    """A dataset in which every event has a parent, so that values are remembered: its options."""
    mini = data_dir / "cms/miniaodsim_phys14_10ev.root"
    local = data_dir / "cms_demo_mini/local_nano_like_8ev.root"
    service.register("defined_whole_mini", "miniaod", [mini])
    service.register("defined_whole", "nanoaod", [local], parent="defined_whole_mini")
    here = columnservice.connect(service.url)

    def build(dataset=None):
        told = here.nanoevents(Nano, dataset=dataset, columns=["Muon_*", "nAll*"])
        return NanoEventsFactory.from_root({str(local): "Events"}, **told).events()

    return here.dataset("defined_whole"), build


def test_in_one_notebook_a_changed_definition_is_seen_at_once(whole):
    dataset, build = whole
    for dataset_named in ("defined_whole", ["defined_whole"]):
        for factor in (1, 2, 3):
            dataset.define("Muon_scaled", f"Muon_pt * {factor}")
            dataset.define("nAllScaled", "sum(Muon_scaled)")
            events = build(dataset_named)
            assert ak.all(events.Muon.scaled == events.Muon.pt * np.float32(factor))
            total = ak.sum(events.Muon.pt, axis=1) * factor
            assert np.allclose(np.asarray(events.nAllScaled), np.asarray(total), rtol=1e-5)


def test_an_analysis_that_began_before_a_definition_changed_is_told(whole):
    dataset, build = whole
    dataset.define("Muon_told", "Muon_pt * 2")
    dataset.define("Muon_above", "Muon_told + 1")
    events = build("defined_whole")
    dataset.define("Muon_told", "Muon_pt * 3")
    for name in ("told", "above"):
        with pytest.raises(ProvenanceChanged, match="Muon_told is made otherwise now"):
            events.Muon[name].to_list()
    assert build("defined_whole").Muon.told.to_list() == (events.Muon.pt * 3).to_list()
