"""EDM products: names, flat files, types that lie, and split against unsplit files."""

from __future__ import annotations

import json
import struct

import awkward as ak
import numpy as np
import pytest
import uproot

from columnservice.errors import DamagedFile, NoEventKeys
from columnservice.formats import find_tree, format_named
from columnservice.formats.products import ProductName, parse_product
from columnservice.model import LumiRange, plain
from tests.formats.support import Opened, lists

pytestmark = pytest.mark.fast


def test_product_names_are_parsed_into_class_label_instance_process_and_member():
    name = ProductName("patPackedCandidates", "lostTracks", "eleTracks", "PAT")
    branch = "patPackedCandidates_lostTracks_eleTracks_PAT"
    assert parse_product(branch + ".") == (name, "")
    assert parse_product(branch + ".obj.m_state.vertex_") == (name, "obj.m_state.vertex_")
    assert parse_product("double_fixedGridRhoFastjetAll__RECO.obj") == (
        ProductName("double", "fixedGridRhoFastjetAll", "", "RECO"),
        "obj",
    )
    assert parse_product("EventAuxiliary") is None
    assert parse_product("Jet_pt") is None


@pytest.mark.parametrize(
    ("column", "kind", "collection"),
    [
        ("fixedGridRhoFastjetAll", "float64", None),
        ("slimmedJets_pt", "var * float32", "slimmedJets"),
        ("generator_qScale", "float64", "generator"),
        ("generatorWeights", "var * float64", "generatorWeights"),
        ("sourceHepeupPUP_x", "var * var * float64", "sourceHepeupPUP"),
        ("reducedEgammaReducedEBRecHits_energy", "var * float32", "reducedEgammaReducedEBRecHits"),
        ("slimmedJetsPresent", "bool", None),
        ("l1extraParticlesTau_pt", "var * float32", "l1extraParticlesTau"),
        ("l1extraL1MuonParticles_pt", "var * float32", "l1extraL1MuonParticles"),
        ("ngeneratorWeights", "int32", None),
    ],
)
def test_columns_of_a_real_miniaod_have_speaking_names(phys14, column, kind, collection):
    found = phys14.offered[column].column
    assert found.type == kind
    assert found.collection == collection


def test_deeper_members_of_newer_files_keep_their_path(mini2018):
    offered = mini2018.offered
    assert offered["slimmedJets_m_state_p4Polar_fCoordinates_fPt"].column.support == "ok"
    # a ValueMap of the same label, unreadable, does not take the vertices' name
    assert "nofflineSlimmedPrimaryVertices" in offered


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("EventAuxiliary", "EventKeys"),
        ("EventProductProvenance", "stored whole"),
        ("PFCandsRaw_pvRef_product", "edm::RefCore"),
        ("slimmedJets_pairDiscriVector", "label by label"),
        ("slimmedElectrons_core_product", "edm::RefCore"),
        ("patTrigger_triggerResults", "edm::RefCore"),
        ("TriggerResultsHLT", "path by path"),
        ("sourceWeights_id", "text"),
    ],
)
def test_what_uproot_reads_wrongly_or_not_at_all_is_refused_with_its_reason(phys14, column, reason):
    found = phys14.offered[column].column
    assert found.support == "unsupported"
    assert reason in found.reason


def test_references_are_refused_because_uproot_reads_them_wrongly_without_an_error(phys14):
    """Of one reference per object, uproot makes more or fewer than there are objects."""
    silent = 0
    for offered in phys14.offered.values():
        column = offered.column
        if "edm::RefCore" not in column.reason or column.collection is None:
            continue
        counts = phys14.offered.get(f"n{column.collection}")
        if counts is None or not phys14.tree[column.source].typename.endswith("[]"):
            continue
        try:
            array = phys14.tree[column.source].array()
        except ValueError:
            continue
        truth = phys14.column(f"n{column.collection}").values
        silent += not np.array_equal(ak.num(array), truth)
    assert silent > 5


def test_split_and_unsplit_files_agree_where_both_are_readable(opened_file):
    """The same events, once with every member a branch, once with every product whole."""
    split = opened_file("edm_unit/run3scouting_14_0_split_99.root", "aod")
    whole = opened_file("edm_unit/run3scouting_14_0_split_0.root", "aod")
    both = {o.column.name for o in split.readable()} & {o.column.name for o in whole.readable()}
    assert len(both) >= 10
    for name in both:
        a, b = split.column(name), whole.column(name)
        np.testing.assert_array_equal(a.values, b.values)
    for name in ("Run3ScoutingPFJets", "Run3ScoutingMuons", "Run3ScoutingTracks"):
        assert whole.offered[name].column.support == "unsupported"
        assert split.offered[f"n{name}"].column.support == "ok"
    keys = [f.format.keys(f.inputs(f.format.key_reads(f.tree))) for f in (split, whole)]
    np.testing.assert_array_equal(keys[0].event, keys[1].event)


def _auxiliary(run, lumi, event, layout):
    """The bytes of one EventAuxiliary, as CMSSW of three ages writes them."""

    def counted(body, version=10):
        return struct.pack(">IH", 0x40000000 | (len(body) + 2), version) + body

    history = counted(counted(b"\x10" + 16 * b"Z", 9), 11)
    if layout == 16:
        ids = counted(struct.pack(">IIQ", run, lumi, event), 12)
    elif layout == 12:
        ids = counted(struct.pack(">III", run, lumi, event))
    else:
        ids = counted(struct.pack(">III", 0x586AA69C, run, event), 0)  # version 0: a checksum
    rest = counted(b"\x10" + 16 * b"G") + counted(struct.pack(">II", 1, 2))
    return history + ids + rest + struct.pack(">I?iiii", lumi, False, 0, -1, -1, 0)


IDS = ((1, 149, 60830), (362105, 4294967295, 2**40 + 17), (2**32 - 1, 0, 2**64 - 1))


@pytest.mark.parametrize("layout", [16, 12, 8])
def test_every_layout_of_the_event_id_is_decoded(layout):
    ids = IDS if layout == 16 else [(r, lumi, e % 2**32) for r, lumi, e in IDS]
    rows = [_auxiliary(*one, layout) for one in ids]
    offsets = np.cumsum([0, *map(len, rows)])
    raw = plain(np.frombuffer(b"".join(rows), np.uint8), offsets.astype(np.int64))
    keys = format_named("miniaod").keys([raw])
    assert list(
        zip(keys.run.tolist(), keys.lumi.tolist(), keys.event.tolist(), strict=True)
    ) == list(ids)


def test_keys_of_the_demo_parents_are_those_of_truth(data_dir, opened_file, phys14):
    def ids(opened):
        keys = opened.format.keys(opened.inputs(opened.format.key_reads(opened.tree)))
        columns = (keys.run, keys.lumi, keys.event)
        return [list(one) for one in zip(*(c.tolist() for c in columns), strict=True)]

    truth = json.loads((data_dir / "cms_demo_mini/truth.json").read_text())
    assert ids(phys14) == truth["ids"]
    truth = json.loads((data_dir / "cms_demo_syn/truth.json").read_text())
    for name, expected in truth["parent_files"].items():
        assert ids(opened_file(f"cms_demo_syn/{name}", "miniaod")) == expected


def test_no_bytes_at_all_are_no_keys():
    keys = format_named("aod").keys([plain(np.empty(0, np.uint8), np.zeros(1, np.int64))])
    assert len(keys) == 0


@pytest.mark.parametrize("keep", [0, 3, 20, 33, 40, 52])
def test_truncated_ids_are_damage_that_names_the_row(keep):
    rows = [_auxiliary(*IDS[0], 8), _auxiliary(*IDS[0], 8)[:keep]]
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    raw = plain(np.frombuffer(b"".join(rows), np.uint8), offsets)
    with pytest.raises(DamagedFile, match="row 1"):
        format_named("miniaod").keys([raw])


@pytest.fixture
def flat_file(tmp_path):
    """An EDM-like file written by uproot alone: counters, jagged bytes, no classes."""
    path = tmp_path / "flat.root"
    product = "patPackedCandidates_packedPFCandidates__PAT"
    counts = np.array([2, 0, 3])
    half = np.array([1.5, 0.25, 100, 0.5, 7], "f2").view("u2")
    members = {
        "packedPt_": half,
        "packedPhi_": np.array([0, 100, 65535, 3, 9], "u2"),
        "packedDz_": half,
        "pvRefKey_": np.array([0, 2**32 - 1, 0, 1, 2], "u4"),
        "packedPuppiweight_": np.array([0, 255, 51, 1, 2], "u1"),
        "pdgId_": np.array([211, -13, 22, 1, 130], "i4"),
    }
    columns = {
        f"{product}.obj.{name}": ak.unflatten(values, counts) for name, values in members.items()
    }
    ids = ak.Array([list(_auxiliary(*one, 16)) for one in IDS])
    rho = np.array([10.5, 11.25, 9.0])
    weights = ak.Array([[1.0], [2.0, 3.0], [4.0]])
    data = {
        "EventAuxiliary": ak.values_astype(ids, "u1"),
        **columns,
        "double_fixedGridRhoFastjetAll__RECO.obj": rho,
        "GenEventInfoProduct_generator__SIM.obj.weights_": weights,
        "GenEventInfoProduct_generator__SIM.obj.qScale_": rho * 2,
    }
    with uproot.recreate(path) as file:
        kinds = {name: values.dtype if isinstance(values, np.ndarray) else values.type
                 for name, values in data.items()}  # fmt: skip
        kinds = {n: k.content if isinstance(k, ak.types.ArrayType) else k for n, k in kinds.items()}
        file.mktree("Events", kinds).extend(data)
    return path


def test_a_flat_file_written_by_uproot_offers_the_same_columns(flat_file):
    opened = Opened(flat_file, "miniaod")
    keys = opened.format.keys(opened.inputs(opened.format.key_reads(opened.tree)))
    assert list(
        zip(keys.run.tolist(), keys.lumi.tolist(), keys.event.tolist(), strict=True)
    ) == list(IDS)
    assert opened.column("nPFCands").values.tolist() == [2, 0, 3]
    assert [row.tolist() for row in lists(opened.column("PFCands_pt"))] == [
        [1.5, 0.25], [], [100.0, 0.5, 7.0]
    ]  # fmt: skip
    assert opened.column("PFCands_charge").values.tolist() == [1, 1, 0, 0, 0]
    assert opened.column("PFCands_puppiWeight").values[:2].tolist() == [0.0, 1.0]
    assert opened.column("PFCands_pvIdx").values.tolist() == [0, -1, 0, 1, 2]
    assert opened.column("fixedGridRhoFastjetAll").values.tolist() == [10.5, 11.25, 9.0]
    assert opened.column("generatorWeights").values.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert opened.column("ngeneratorWeights").values.tolist() == [1, 2, 1]
    assert opened.column("generator_qScale").values.tolist() == [21.0, 22.5, 18.0]
    shapes = {o.column.shape for o in opened.readable()}
    assert shapes == {"PFCands", "PFCandsRaw", "generatorWeights", None}
    assert not [n for n in opened.offered if "EventAuxiliary" in n and n != "EventAuxiliary"]
    assert opened.format.lumi_ranges(opened.directory) is None


def test_witnesses_of_real_files_are_offered(phys14, opened_file):
    mini = phys14
    found = {w.name for w in mini.format.witnesses if w.column in mini.offered}
    names = {"fixedGridRhoFastjetAll", "genWeight", "LHEWeight_originalXWGTUP", "Pileup_nTrueInt"}
    assert found == {*names, "PV_npvs"}
    nano = opened_file("cms/nano_tt_v15.root", "nanoaod")
    assert {w.name for w in nano.format.witnesses if w.column in nano.offered} == found
    for opened in (mini, nano):
        for witness in opened.format.witnesses:
            if witness.column in opened.offered:
                column = opened.offered[witness.column].column
                assert column.depth == int(witness.first)


def test_the_mean_pileup_of_an_event_is_the_same_in_every_crossing(phys14):
    for row in lists(phys14.column("addPileupInfo_TrueNumInteractions")):
        assert len(set(row.tolist())) == 1


def test_a_tree_without_event_auxiliary_has_no_keys(data_dir):
    with uproot.open(data_dir / "cms/nano_dy.root") as directory:
        fmt = format_named("miniaod")
        tree = find_tree(directory, fmt)
        with pytest.raises(NoEventKeys, match="EventAuxiliary"):
            fmt.key_reads(tree)


def test_luminosity_blocks_are_merged_into_ranges(opened_file):
    opened = opened_file("edm_unit/complex_old_format_CMSSW_4_2_8.root", "aod")
    ranges = opened.format.lumi_ranges(opened.directory)
    assert ranges[:3] == (LumiRange(1, 1, 2), LumiRange(2, 1, 1), LumiRange(11, 1, 4))
