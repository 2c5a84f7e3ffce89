from __future__ import annotations

from dataclasses import replace

import pytest

from columnservice.model import Column, Member
from columnservice.nanoevents.layouts import (
    LAYOUTS,
    Reference,
    nanoaod_group,
    physlite_group,
    select_nanoaod,
    select_physlite,
)

from ..support.wire_server import as_reference

pytestmark = pytest.mark.fast


NUMBER = (Member("", "float32"),)


def nano(name: str, depth: int = 0, **more) -> Column:
    shape = nanoaod_group(name) if depth else None
    return Column(name, NUMBER, depth, **{"shape": shape, **more})


def chosen(local: dict[str, str], *columns: Column):
    def kinds(group):
        return {n: k for n, k in local.items() if nanoaod_group(n) == group}

    references = [as_reference(nano(n, 1)) for n, kind in local.items() if kind == "list"]
    return select_nanoaod(columns, local.keys(), kinds, references)


def atlas(name: str, depth: int = 1, members=NUMBER) -> Column:
    return Column(name, members, depth, shape=name if depth else None)


def contained(local: dict[str, str], *columns: Column):
    def kinds(group):
        return {n: k for n, k in local.items() if physlite_group(n) == group}

    references = [as_reference(atlas(n)) for n, kind in local.items() if kind == "list"]
    return select_physlite(columns, local.keys(), kinds, references)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("AnalysisMuonsAuxDyn.pt", "Muons"),
        ("EventInfoAux./EventInfoAux.runNumber", "EventInfo"),
        ("A.link/A.link.m_persKey", "A"),
        ("index_ref", "index_ref"),
    ],
)
def test_physlite_groups_are_those_of_coffea(name, group):
    assert physlite_group(name) == group


def test_local_branches_win():
    selection = chosen({"rho": "value"}, nano("rho"), nano("mu"))
    assert list(selection.offered) == ["mu"]
    assert selection.refused == {}


def test_counts_come_before_their_collection():
    counts = nano("nPF", counts_of="PF")
    selection = chosen({}, nano("PF_pt", 1), nano("mu"), counts, nano("PF_eta", 1))
    assert list(selection.offered) == ["nPF", "PF_pt", "PF_eta", "mu"]
    assert selection.references == {}


@pytest.mark.parametrize(
    ("local", "column", "reason"),
    [
        ({"nMuon": "value", "Muon_pt": "list"}, nano("Muon_x"), "list per event"),
        ({"nMuon": "value", "Muon_pt": "list"}, nano("Muon_x", 1, shape="M"), "are the same"),
        ({"Muon_pt": "list"}, nano("Muon_x"), "list per event"),
        ({"MET_pt": "value"}, nano("MET_x", 1), "one object per event"),
        ({"rho": "value"}, nano("rho_x"), "branch named rho"),
        ({"nPF": "value"}, nano("PF_x"), "same objects"),
        ({"nPF_x": "value"}, nano("PF_x", 1), "collection named nPF"),
        ({"Muon_pt": "value"}, nano("nMuon"), "counts of Muon"),
    ],
)
def test_what_would_change_a_local_group_is_refused(local, column, reason):
    selection = chosen(local, column)
    assert reason in selection.refused[column.name]
    assert selection.offered == {}


def test_counts_of_a_local_group_are_not_offered():
    counts = nano("nMET", counts_of="MET")
    assert chosen({"MET_pt": "value"}, counts, nano("MET_y")).offered.keys() == {"MET_y"}


def test_columns_of_other_objects_do_not_enter_a_collection():
    selection = chosen(
        {},
        nano("nPF", counts_of="PF"),
        nano("PF_pt", 1),
        nano("PF_other", 1, shape="elsewhere"),
        nano("PF_single"),
    )
    assert selection.offered.keys() == {"nPF", "PF_pt"}
    assert selection.refused.keys() == {"PF_other", "PF_single"}


def test_a_collection_of_plain_values_is_taken_whole():
    counts = nano("nweights", counts_of="weights")
    selection = chosen({}, counts, nano("weights", 1), nano("weights_x", 1))
    assert list(selection.offered) == ["nweights", "weights"]
    assert "itself a column" in selection.refused["weights_x"]


@pytest.mark.parametrize(
    ("local", "reference"),
    [
        ({"nMuon": "value", "Muon_pt": "list"}, Reference("nMuon", "counter")),
        ({"Muon_pt": "list", "Muon_eta": "list"}, Reference("Muon_pt", "list")),
        ({"nMuon": "value"}, Reference("nMuon", "counter")),
    ],
)
def test_counts_are_compared_with_what_the_local_file_has(local, reference):
    assert chosen(local, nano("Muon_x", 1)).references == {"Muon": reference}


def test_a_local_container_of_lists_is_the_reference():
    selection = contained(
        {"AnalysisMuonsAuxDyn.pt": "list"},
        atlas("AnalysisMuonsAuxDyn.x"),
        atlas("AnalysisMuonsAuxDyn.one", 0),
    )
    assert selection.offered.keys() == {"AnalysisMuonsAuxDyn.x"}
    assert selection.refused.keys() == {"AnalysisMuonsAuxDyn.one"}
    assert selection.references == {"Muons": Reference("AnalysisMuonsAuxDyn.pt", "list")}


def test_a_new_container_is_compared_with_the_column_that_coffea_zips_by():
    links = (Member("m_persKey", "uint32"), Member("m_persIndex", "uint32"))
    selection = contained(
        {},
        atlas("NewAuxDyn.nested", 2),
        atlas("NewAuxDyn.link", 1, links),
        atlas("NewAuxDyn.eta"),
        atlas("NewAuxDyn.pt"),
    )
    assert [n.partition(".")[2] for n in selection.offered] == ["pt", "eta", "link", "nested"]
    assert selection.references == {"New": Reference("NewAuxDyn.pt", "remote")}


def test_a_container_that_only_coffea_takes_for_the_local_one_is_refused():
    local = {"AnalysisElectronsAuxDyn.pt": "list"}
    selection = contained(
        local, atlas("ElectronsAuxDyn.x"), replace(atlas("y.y"), name="ElectronsAux.y")
    )
    assert selection.offered == {}
    assert (
        "it is of Electrons, which coffea does not tell from AnalysisElectrons"
        in (selection.refused["ElectronsAuxDyn.x"])
    )
    assert "ElectronsAux.y" in selection.refused


def test_the_container_is_what_the_service_says_it_is():
    local = {"EventInfoAuxDyn.runNumber": "value", "EventInfoAux.lumiBlock": "value"}
    column = replace(atlas("EventInfoAux.x", 0), collection="EventInfo")
    assert contained(local, column).offered.keys() == {"EventInfoAux.x"}
    column = replace(column, collection="AnalysisEventInfo")
    assert contained(local, column).refused.keys() == {"EventInfoAux.x"}


def test_of_two_remote_containers_that_coffea_mixes_the_analysis_container_wins():
    selection = contained(
        {}, atlas("JetsAuxDyn.pt"), atlas("AnalysisJetsAuxDyn.pt"), atlas("AnalysisJetsAuxDyn.eta")
    )
    assert selection.offered.keys() == {"AnalysisJetsAuxDyn.pt", "AnalysisJetsAuxDyn.eta"}
    assert selection.refused.keys() == {"JetsAuxDyn.pt"}
    assert selection.references == {"Jets": Reference("AnalysisJetsAuxDyn.pt", "remote")}


def test_containers_of_lists_and_values_need_no_common_counts():
    selection = contained({}, atlas("NewAuxDyn.list"), atlas("NewAuxDyn.one", 0))
    assert len(selection.offered) == 2
    assert selection.references == {}
    local = {"EventInfoAuxDyn.runNumber": "value", "EventInfoAuxDyn.weights": "list"}
    selection = contained(local, atlas("EventInfoAuxDyn.x"), atlas("EventInfoAuxDyn.y", 0))
    assert len(selection.offered) == 2
    assert selection.references == {}


def test_a_container_of_one_value_is_not_made_a_record():
    selection = contained({"index_ref": "value"}, atlas("index_ref.more", 0))
    assert "single value" in selection.refused["index_ref.more"]


def test_local_formats_that_coffea_opens_have_a_layout():
    assert LAYOUTS.keys() == {"nanoaod", "physlite", "daod"}


LINK = (Member("m_persKey", "uint32"), Member("m_persIndex", "uint32"))
TRACKS = "CombinedMuonTrackParticlesAuxDyn"
FROM_MUONS = "AnalysisMuonsAuxDyn.combinedTrackParticleLink"


def test_links_into_a_container_that_only_the_parent_has_are_offered():
    local = {"AnalysisMuonsAuxDyn.eta": "list"}
    selection = contained(local, atlas(FROM_MUONS, 1, LINK), atlas(f"{TRACKS}.phi"))
    assert selection.offered.keys() == {FROM_MUONS, f"{TRACKS}.phi"}
    assert selection.leads == {FROM_MUONS: ()}


@pytest.mark.parametrize("parts", [[""], [".m_persKey", ".m_persIndex"]])
def test_links_into_a_local_container_are_refused_unless_its_objects_can_be_recognised(parts):
    muons, links = {"AnalysisMuonsAuxDyn.eta": "list"}, [FROM_MUONS + part for part in parts]
    told = [atlas(link, 1, LINK if link == FROM_MUONS else NUMBER) for link in links]
    unknown = {**muons, f"{TRACKS}.index": "record", f"{TRACKS}.chi": "list"}
    references = [as_reference(atlas("AnalysisMuonsAuxDyn.eta"))]

    def kinds(group):
        return {n: k for n, k in unknown.items() if physlite_group(n) == group}

    selection = select_physlite(told, unknown.keys(), kinds, references)
    assert selection.offered == {}
    for link in links:
        assert "count objects of the parent's containers" in selection.refused[link]
    selection = contained({**muons, f"{TRACKS}.phi": "list"}, *told)
    assert [*selection.offered] == links
    assert selection.leads == dict.fromkeys(links, ("CombinedMuonTrackParticles",))
    assert [r.name for r in selection.shown_by["CombinedMuonTrackParticles"]] == [
        f"parent:{TRACKS}.phi"
    ]


def test_links_of_remote_objects_into_local_containers_are_held_as_well():
    link = "AnalysisElectronsAuxDyn.trackParticleLinks"
    tracks = {"GSFTrackParticlesAuxDyn.theta": "list"}
    selection = select_physlite(
        [atlas(link, 2, LINK), atlas("AnalysisElectronsAuxDyn.pt")],
        tracks.keys(),
        lambda group: tracks if group == "GSFTrackParticles" else {},
    )
    assert selection.offered.keys() == {"AnalysisElectronsAuxDyn.pt"}
    assert selection.refused.keys() == {link}
    held = contained(tracks, atlas(link, 2, LINK), atlas("AnalysisElectronsAuxDyn.pt"))
    assert held.leads == {link: ("GSFTrackParticles",)}


def test_links_that_lead_nobody_knows_where_stay_with_remote_objects_only():
    names = ["AnalysisJetsAuxDyn.btaggingLink", "NewAuxDyn.someLinks"]
    local = {"AnalysisJetsAuxDyn.eta": "list"}
    selection = contained(local, *(atlas(name, 1, LINK) for name in names))
    assert selection.offered.keys() == {names[1]}
    assert selection.refused.keys() == {names[0]}
