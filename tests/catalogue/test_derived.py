"""Which derived Columns are offered, and which are refused with a reason; real layouts mixed."""

from __future__ import annotations

import pytest

from columnservice.catalogue.columns import columns_of, merged
from columnservice.catalogue.derived import derived_columns, matched_with
from columnservice.catalogue.matchwords import (
    MATCH_COMPUTES,
    MATCH_INDEX,
    TAKE_MATCHED,
    TAKE_RENUMBERED,
)
from columnservice.delivery.compute import COMPUTES
from columnservice.delivery.derivation import needs_of
from columnservice.formats.matches import COMPARABLE
from columnservice.model import ColumnSet, Dataset
from tests.catalogue.conftest import offered, record

MINI, MODERN = "cms/miniaodsim_phys14_10ev.root", "cms/miniaodsim_2018_schema_0ev.root"
CHS, PUPPI = "cms/pfnano.root", "cms/nano_tt_v15.root"


@pytest.fixture
def layout(indexed):
    return lambda name, form: indexed(name, form)[1]


def objects(collection, *more, doc=""):
    """Columns of a collection with directions and momenta."""
    shape = {"depth": 1, "shape": collection, "collection": collection}
    return [
        offered(f"n{collection}", "int32", counts_of=collection, doc=doc),
        *(offered(f"{collection}_{f}", field=f, **shape) for f in ("pt", "eta", "phi", *more)),
    ]


def derived(local, remote, layouts=(), formats=("nanoaod", "miniaod")):
    return {o.column.name: o for o in derived_columns(formats, local, remote, layouts)}


def test_local_files_with_jets_of_two_kinds_have_no_match_of_jets(layout):
    chs, puppi = layout(CHS, "nanoaod"), layout(PUPPI, "nanoaod")
    remote = merged([(layout(MODERN, "miniaod"), 1)], "parent")
    for kinds, parent in [([chs], "slimmedJets"), ([puppi], "slimmedJetsPuppi")]:
        found = derived(
            merged([(k, 1) for k in kinds], "local"), remote, [k.columns for k in kinds]
        )
        assert found[f"Jet_{parent}Idx"].column.support == "ok"
        assert matched_with(found["Jet_hasMatch"], found) == ("Jet", parent)
    for kinds in ([chs, puppi], [puppi, chs]):
        local = merged([(k, 1) for k in kinds], "local")
        found = derived(local, remote, [k.columns for k in kinds])
        jets = [o.column for o in found.values() if o.column.collection == "Jet"]
        assert {"Jet_hasMatch", "Jet_slimmedJetsIdx", "Jet_slimmedJetsPuppiIdx"} <= {
            c.name for c in jets
        }
        for column in jets:
            assert column.support == "unsupported"
            assert column.reason.startswith("the local files differ: objects of slimmedJets")
        assert found["GenPart_hasMatch"].column.support == "ok"


@pytest.mark.fast
def test_a_dataset_asks_each_of_its_layouts(catalogue):
    catalogue.add_dataset(Dataset("mini", "miniaod"))
    catalogue.add_dataset(Dataset("nano", "nanoaod", "mini"))
    parents = ColumnSet("a" * 32, (*objects("slimmedJets", "area"), *objects("slimmedJetsPuppi")))
    catalogue.record_file("mini", record(0, columnset=parents), parents)
    for number, source in enumerate(["slimmedJets, i.e.", "slimmedJets, again"], 1):
        local = ColumnSet(f"{number}" * 32, tuple(objects("Jet", doc=source)))
        catalogue.record_file("nano", record(number, columnset=local), local)
    told = {o.column.name: o.column for o in columns_of(catalogue, "nano")}
    assert told["Jet_area"].support == "ok"
    local = ColumnSet("3" * 32, tuple(objects("Jet", doc="slimmedJetsPuppi, i.e.")))
    catalogue.record_file("nano", record(3, columnset=local), local)
    told = {o.column.name: o.column for o in columns_of(catalogue, "nano")}
    assert (told["Jet_area"].support, told["Jet_hasMatch"].support) == ("unsupported",) * 2


@pytest.mark.fast
def test_all_that_decides_a_match_stands_in_its_derivation():
    found = derived(objects("Muon"), objects("slimmedMuons", "dxy"))
    told = dict(found["Muon_slimmedMuonsIdx"].derivation.parameters)
    assert told["comparable"] == COMPARABLE
    assert {"max_dr", "pt_low", "pt_high", "resolution"} <= told.keys()
    assert {*MATCH_COMPUTES} <= COMPUTES.keys()


def test_the_parents_fields_on_local_candidates_come_through_a_match(layout):
    local = merged([(layout(CHS, "nanoaod"), 1)], "local")
    remote = merged([(layout(MINI, "miniaod"), 1)], "parent")
    names = {o.column.name for o in local}
    found = derived(local, remote)
    mine = {n: o for n, o in found.items() if o.column.collection == "PFCands"}
    fields = {n for n, o in mine.items() if o.derivation.compute == TAKE_MATCHED}
    raw = {o.column.name for o in remote if o.column.collection == "PFCands" and o.recipe}
    assert fields == raw - names
    assert "PFCands_covDxyDxy" in fields
    assert mine["PFCands_hasMatch"].column.support == "ok"
    index = mine["PFCands_parentPFCandsIdx"]
    assert index.derivation.compute == MATCH_INDEX
    assert {"PFCands_eta", "parent:PFCands_eta", "parent:PFCands_pdgId"} <= {
        *index.derivation.inputs
    }
    assert matched_with(mine["PFCands_covDxyDxy"], found) == ("PFCands", "PFCands")


def test_places_of_constituents_become_local_ones_where_candidates_are_local(catalogue, layout):
    catalogue.add_dataset(Dataset("mini", "miniaod"))
    catalogue.add_dataset(Dataset("nano", "nanoaod", "mini"))
    mini, whole = layout(MINI, "miniaod"), layout(CHS, "nanoaod")
    told = tuple(o for o in whole.columns if "JetPFCands" not in o.column.name)
    catalogue.record_file("mini", record(0, columnset=mini), mini)
    catalogue.record_file("nano", record(1, columnset=whole), ColumnSet(whole.digest, told))
    found = {o.column.name: o for o in columns_of(catalogue, "nano")}
    for name in ("Jet_pfCandIdx", "FatJet_pfCandIdx", "SV_pfCandIdx", "Muon_pfCandIdx"):
        derivation = found[name].derivation
        assert derivation.compute == TAKE_RENUMBERED
        assert derivation.inputs[-1] == "PFCands_parentPFCandsIdx"
    assert found["slimmedJets_pfCandIdx"].column.support == "unsupported"
    assert "of their own" in found["slimmedJets_pfCandIdx"].column.reason
    assert found["JetPFCands_pFCandsIdx"].column.support == "ok"
    # All that anything is computed from is known.
    usable = [o.column for o in found.values() if o.column.origin == "derived" and o.derivation]
    assert needs_of(found, usable)


def test_without_a_match_of_local_candidates_their_places_are_refused(layout):
    remote = merged([(layout(MINI, "miniaod"), 1)], "parent")
    local = [*objects("Jet"), *objects("PFCands")[:2]]
    found = derived(local, remote)
    for name in ("Jet_pfCandIdx", "JetPFCands_pFCandsIdx", "nJetPFCands", "slimmedJets_pfCandIdx"):
        assert found[name].column.support == "unsupported"
        assert "the local files have PFCands of their own" in found[name].column.reason
    found = derived(objects("Jet"), remote)
    assert found["Jet_pfCandIdx"].derivation.compute == TAKE_MATCHED
    assert found["JetPFCands_pFCandsIdx"].column.support == "ok"
    assert "slimmedJets_pfCandIdx" not in found


@pytest.mark.fast
def test_a_container_of_another_algorithm_is_refused_with_the_reason():
    def jets(container):
        shape = {"depth": 1, "shape": container, "collection": container}
        return [offered(f"{container}AuxDyn.{f}", field=f, **shape) for f in ("pt", "eta", "phi")]

    found = derived(jets("AnalysisJets"), jets("AntiKt4EMTopoJets"), (), ("physlite", "daod"))
    assert {o.column.support for o in found.values()} == {"unsupported"}
    assert "AntiKt4EMPFlowJets" in found["AnalysisJetsAuxDyn.hasMatch"].column.reason
    found = derived(jets("AnalysisJets"), jets("AntiKt4EMPFlowJets"), (), ("physlite", "daod"))
    assert {o.column.support for o in found.values()} == {"ok"}
