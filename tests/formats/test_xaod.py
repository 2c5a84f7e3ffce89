"""PHYSLITE and DAOD: names, links, keys."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest

from columnservice.formats.xaod import EVENT_STORES, EVENT_VARIABLES
from tests.formats.support import RAW

pytestmark = pytest.mark.fast

PHYSLITE = "atlas/PHYSLITE_example.root"


def test_columns_keep_their_branch_names_and_every_list_is_a_shape_of_its_own(opened_file):
    offered = opened_file(PHYSLITE, "physlite").offered
    column = offered["AnalysisElectronsAuxDyn.pt"].column
    assert column.type == "var * float32"
    assert (column.collection, column.field) == ("AnalysisElectrons", "pt")
    assert column.shape == column.name
    scalar = offered["EventInfoAuxDyn.mcChannelNumber"].column
    assert (scalar.type, scalar.shape, scalar.collection) == ("uint32", None, "EventInfo")


def test_members_of_static_stores_are_found_by_their_own_name(opened_file):
    opened = opened_file("atlas/daod_exot15_10ev.root", "daod")
    column = opened.offered["EventInfoAux.runNumber"].column
    assert column.source == "EventInfoAux./EventInfoAux.runNumber"
    assert [r.path for r in opened.format.key_reads(opened.tree)] == [
        f"EventInfoAux./EventInfoAux.{part}" for part in ("runNumber", "lumiBlock", "eventNumber")
    ]


def test_links_in_two_vectors_are_records_of_key_and_index(opened_file):
    opened = opened_file(PHYSLITE, "physlite")
    column = opened.offered["AnalysisElectronsAuxDyn.trackParticleLinks"].column
    assert column.type == "var * var * {m_persKey: uint32, m_persIndex: uint32}"
    found = opened.column(column.name)
    truth = opened.tree[column.source].array()
    flat = [link for event in truth for electron in event for link in electron]
    assert found.content["m_persIndex"].tolist() == [link["m_persIndex"] for link in flat]
    assert found.content["m_persKey"].tolist() == [link["m_persKey"] for link in flat]
    assert len(flat) > 20


def test_links_in_one_vector_are_a_pair_of_columns(opened_file):
    offered = opened_file(PHYSLITE, "physlite").offered
    pairs = [name.removesuffix(".m_persKey") for name in offered if name.endswith(".m_persKey")]
    assert len(pairs) > 5
    for name in pairs:
        for member in ("m_persKey", "m_persIndex"):
            assert offered[f"{name}.{member}"].column.type == "var * uint32"


@pytest.mark.parametrize("path", [PHYSLITE, "atlas/physlite_24.0.2_50ev.root"])
def test_one_link_per_event_is_read_from_its_bytes(opened_file, path):
    opened = opened_file(path, "physlite")
    offered = opened.offered["EventInfoAuxDyn.hardScatterVertexLink"]
    assert offered.column.type == "{m_persKey: uint32, m_persIndex: uint32}"
    truth = [
        struct.unpack(">IHIII", bytes(np.asarray(entry)))[3:]
        for entry in opened.tree[offered.recipe.reads[0].path].array(RAW)
    ]
    found = opened.column(offered.column.name)
    pairs = zip(found.content["m_persKey"], found.content["m_persIndex"], strict=True)
    assert [(int(key), int(index)) for key, index in pairs] == truth
    vertices = np.diff(opened.column("PrimaryVerticesAuxDyn.z").offsets[0])
    assert (found.content["m_persIndex"] < vertices).all()


def test_shells_of_containers_are_unsupported(opened_file):
    offered = opened_file(PHYSLITE, "physlite").offered
    for name in ("AnalysisElectrons", "AnalysisElectronsAux"):
        assert offered[name].column.support == "unsupported"
        assert "stored whole" in offered[name].column.reason


def test_counters_that_uproot_writes_are_no_columns(opened_file):
    opened = opened_file("atlas_demo_derived/local_60ev.root", "physlite")
    assert "nAnalysisJetsAuxDyn.pt" in opened.tree
    assert "nAnalysisJetsAuxDyn.pt" not in opened.offered
    branches = {o.column.source for o in opened.offered.values()}
    assert len(branches) == 14


def test_real_pairs_share_witnesses_and_event_scalars(opened_file):
    local = opened_file("atlas_demo_pair/local_physlite_21.2.108_40ev.root", "physlite")
    parent = opened_file("atlas_demo_pair/parent_physlite_100ev.root", "physlite")
    assert local.format.common_scalars
    both = local.offered.keys() & parent.offered.keys()
    names = {w.name for w in local.format.witnesses if w.column in both}
    assert {"mcChannelNumber", "averageInteractionsPerCrossing"} <= names
    for witness in local.format.witnesses:
        if witness.column in both:
            assert local.offered[witness.column].column.depth == int(witness.first)
    scalars = [n for n in both if local.offered[n].column.type in ("uint32", "float32", "uint64")]
    assert len(scalars) > 100


def test_the_events_of_the_local_file_are_in_its_parent(opened_file):
    found = []
    for path in ("local_physlite_21.2.108_40ev", "parent_physlite_100ev"):
        opened = opened_file(f"atlas_demo_pair/{path}.root", "physlite")
        keys = opened.format.keys(opened.inputs(opened.format.key_reads(opened.tree)))
        found.append(list(zip(keys.run, keys.lumi, keys.event, strict=True)))
    local, parent = found
    assert set(local) <= set(parent)
    assert len(set(parent)) == 100


def test_characters_that_no_name_may_have_are_replaced(opened_file):
    offered = opened_file(PHYSLITE, "physlite").offered
    odd = [
        o.column for o in offered.values() if re.search(r"[^\w.]", o.column.source.split("/")[-1])
    ]
    assert odd
    name = "AnalysisTrigMatch_HLT_mu14_ivarloose_tau25_medium1_tracktwo_L1DR_MU10TAU12I_TAU12I_J25"
    assert offered[f"{name}AuxDyn.TrigMatchedObjects"].column.support == "ok"


@pytest.mark.parametrize(
    ("path", "name", "static"),
    [
        (PHYSLITE, "physlite", False),
        ("atlas/physlite_24.0.2_50ev.root", "physlite", False),
        ("atlas/daod_exot15_10ev.root", "daod", True),
        ("atlas_demo_pair/parent_physlite_100ev.root", "physlite", True),
    ],
)
def test_variables_of_the_event_have_the_same_names_in_files_of_all_releases(
    opened_file, path, name, static
):
    opened = opened_file(path, name)
    moved = 0
    for variable in sorted(EVENT_VARIABLES):
        ways = [f"{store}.{variable}" for store in EVENT_STORES]
        if not set(ways) & opened.offered.keys():
            continue
        first, second = (opened.offered[way] for way in ways)
        assert first.recipe.reads == second.recipe.reads
        assert first.column.type == second.column.type
        assert second.column.shape == (second.column.name if second.column.depth else None)
        if not first.column.depth:
            truth = opened.tree[first.column.source].array().to_numpy()
            for way in ways:
                np.testing.assert_array_equal(opened.column(way).values, truth)
        moved += 1
    assert moved >= 25
    path_of_run = opened.offered["EventInfoAuxDyn.runNumber"].column.source
    assert ("EventInfoAux." in path_of_run) == static


def test_decorations_and_containers_stay_in_their_stores(opened_file):
    offered = opened_file(PHYSLITE, "physlite").offered
    assert "EventInfoAuxDyn.RandomRunNumber" in offered
    assert "EventInfoAux.RandomRunNumber" not in offered
    assert "AnalysisElectronsAux.pt" not in offered
