"""Members of objects stored whole: against a twin file, branches of their own, sums, and damage."""

from __future__ import annotations

import itertools
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.errors import DamagedFile
from columnservice.formats import apply
from columnservice.formats.classes import checksums, compiled, members_of
from columnservice.formats.streamed import ONE, _walked
from columnservice.model import plain
from tests.formats.support import RAW, lists
from tests.formats.walker import Refused, walked

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def whole(opened_file):
    """Scouting data whose products are not split; the same content is split in ``split``."""
    return opened_file("edm_unit/run3scouting_14_0_split_0.root", "aod")


@pytest.fixture(scope="module")
def split(opened_file):
    return opened_file("edm_unit/run3scouting_14_0_split_99.root", "aod")


def test_everything_in_unsplit_objects_equals_the_branches_of_the_split_twin(whole, split):
    """The same ten events, written twice by CMSSW: bit for bit, under the same names."""
    names = {o.column.name for o in split.readable()}
    assert {o.column.name for o in whole.readable()} == names
    taken = [o for o in whole.readable() if o.recipe.decode.startswith("streamed")]
    assert len(taken) > 200
    for offered in taken:
        name = offered.column.name
        found, truth = whole.column(name), split.column(name)
        assert offered.column.type == split.offered[name].column.type, name
        assert len(found.offsets) == len(truth.offsets), name
        for one, other in zip(found.offsets, truth.offsets, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
        assert found.values.dtype == truth.values.dtype, name
        assert found.values.tobytes() == truth.values.tobytes(), name
    depths = {o.column.depth for o in taken}
    assert depths == {0, 1, 2}
    assert "Run3ScoutingMuons_trk_hitPattern_hitPattern" in {o.column.name for o in taken}


def test_stores_stay_listed_and_say_that_their_members_are_offered(whole):
    store = whole.offered["Run3ScoutingMuons"].column
    assert store.support == "unsupported"
    assert store.reason.startswith("offered member by member")


def programs(opened):
    return [o for o in opened.readable() if o.recipe.decode == "streamed"]


def test_the_kernel_finds_what_a_walk_with_struct_finds(whole, phys14):
    tried = 0
    for opened in (whole, phys14):
        for offered in programs(opened):
            first = offered.recipe.parameters[0][0]
            if ">" in str(offered.recipe.parameters):
                continue
            kind, program = first.split(" ", 1)
            _, dtype, _ = kind.split(":")
            path, outer = offered.recipe.reads[0].path, offered.recipe.reads[1:]
            vectors = np.ones(10, int)
            if outer:
                vectors = np.diff(opened.inputs(outer)[0].offsets[0])
            rows = opened.tree[path].array(RAW)
            truth = [
                value
                for row, n in zip(rows, vectors, strict=True)
                for vector in walked(bytes(np.asarray(row)), program, dtype, int(n))
                for value in vector
            ]
            values = opened.column(offered.column.name).values
            if (ONE, 0.0) not in offered.recipe.parameters:
                flat = np.concatenate([np.atleast_1d(v) for v in truth]) if truth else []
                np.testing.assert_array_equal(values, np.array(flat, dtype))
            else:
                held = values[np.isfinite(values)] if values.dtype.kind == "f" else values
                assert len(held) >= len(truth)
                assert set(np.array(truth, dtype).tolist()) <= set(held.tolist())
            tried += 1
    assert tried > 300


def test_energies_of_a_jets_constituents_add_up_to_its_uncorrected_energy(phys14):
    """The four-vector is corrected, ``specificPF_`` is not, ``jec_`` tells the factors."""
    part = "slimmedJets_specificPF_m{}Energy"
    kinds = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon", "HFHadron", "HFEM")
    raw = sum(phys14.column(part.format(kind)).values.astype("f8") for kind in kinds)
    pt, eta, mass = (
        phys14.column(f"slimmedJets_{f}").values.astype("f8") for f in ("pt", "eta", "mass")
    )
    energy = np.hypot(pt * np.cosh(eta), mass)
    [path] = [
        p for p in phys14.tree.keys(full_paths=True) if p.endswith("slimmedJets__PAT.obj.jec_")
    ]
    factors = [
        factor
        for row, n in zip(
            phys14.tree[path].array(RAW), phys14.column("nslimmedJets").values, strict=True
        )
        for factor in last_factors(bytes(np.asarray(row)), int(n))
    ]
    assert len(factors) == len(raw) > 90
    np.testing.assert_allclose(energy, raw * np.array(factors), rtol=2e-3)


def last_factors(data, jets):
    """The factor of the last level of each jet, by struct: JetCorrFactors' name, then pairs."""
    at, found = 8, []
    for _ in range(jets):
        (sets,) = struct.unpack_from(">I", data, at)
        assert sets == 1
        at += 4
        (size,) = struct.unpack_from(">I", data, at)
        at += 4 + (size & 0x3FFFFFFF)
        (size,) = struct.unpack_from(">I", data, at)
        at += 4 + (size & 0x3FFFFFFF)
        found.append(struct.unpack_from(">f", data, at - 4)[0])
    assert at == len(data)
    return found


def test_multiplicities_of_a_jet_add_up(phys14):
    def of(kind):
        return phys14.column(f"slimmedJets_specificPF_m{kind}Multiplicity").values

    charged = of("ChargedHadron") + of("Electron") + of("Muon")
    neutral = of("NeutralHadron") + of("Photon") + of("HFHadron") + of("HFEM")
    np.testing.assert_array_equal(of("Charged"), charged)
    np.testing.assert_array_equal(of("Neutral"), neutral)
    assert charged.sum() > 500


@pytest.mark.parametrize(
    ("track", "collection", "tolerance"),
    [("track", "slimmedMuons", 2e-2), ("gsfTrack", "slimmedElectrons", 0.1)],
)
def test_embedded_tracks_fly_where_their_lepton_flies(phys14, track, collection, tolerance):
    """Base classes are walked through: GsfTrack is a Track, which is a TrackBase."""
    x, y, z = (
        phys14.column(f"{collection}_{track}_momentum_fCoordinates_f{axis}").values.astype("f8")
        for axis in "XYZ"
    )
    held = np.isfinite(x)
    assert held.sum() >= 12
    eta = np.arcsinh(z[held] / np.hypot(x, y)[held])
    phi = np.arctan2(y[held], x[held])
    np.testing.assert_allclose(eta, phys14.column(f"{collection}_eta").values[held], atol=tolerance)
    turned = phi - phys14.column(f"{collection}_phi").values[held]
    assert (np.abs((turned + np.pi) % (2 * np.pi) - np.pi) < tolerance).all()
    charge = phys14.column(f"{collection}_{track}_charge").values
    np.testing.assert_array_equal(charge[held], phys14.column(f"{collection}_charge").values[held])
    assert (charge[~held] == -128).all()


def test_taus_with_three_prongs_have_the_secondary_vertex(phys14):
    modes = phys14.column("slimmedTaus_pfEssential_decayMode").values
    vertex = phys14.column("slimmedTaus_pfEssential_hasSV").values
    length = phys14.column("slimmedTaus_pfEssential_flightLengthSig").values
    assert set(modes.tolist()) <= {0, 1, 2, 5, 6, 10, 11}
    assert (modes[vertex] >= 10).all()
    assert (length[~vertex] == 0).all()
    assert vertex.any()


def whole_candidates(opened, values, objects):
    """Rows of ``vector<pat::PackedCandidate>`` as ROOT writes them, after a file's own description.

    Args:
        opened: the file that describes the class.
        values: by member's name, of all objects; those that are not there are 0.
        objects: offsets of the rows.
    """
    [described] = opened.directory.file.streamers["pat::PackedCandidate"].values()
    codes = {1: "b", 2: "h", 3: "i", 5: "f", 11: "B", 12: "H", 13: "I", 18: "?"}
    rows = []
    for start, stop in itertools.pairwise(objects.tolist()):
        count = stop - start
        head = 0x4009, described.member("fClassVersion"), count
        data = struct.pack(">HHI", *head)
        for part in described.elements if count else ():
            code, name = part.member("fType"), part.member("fName")
            if code == 62:
                data += (struct.pack(">IH", 0x40000000 | 8, 11) + bytes(6)) * count
            elif code:
                held = values[name][start:stop].tolist() if name in values else [0] * count
                data += struct.pack(f">{count}{codes[code]}", *held)
        rows.append(np.frombuffer(struct.pack(">I", 0x40000000 | len(data)) + data, np.uint8))
    offsets = np.concatenate(([0], np.cumsum([len(row) for row in rows])))
    return plain(np.concatenate(rows), offsets)


def test_packed_candidates_that_are_stored_whole_are_decoded_like_those_that_are_split(
    phys14, mini2018
):
    """Real candidates, put into the bytes of 2018's lostTracks by the rules of the other tests."""
    raw = {
        o.column.field + "_": phys14.column(o.column.name).values
        for o in phys14.readable()
        if o.column.collection == "PFCandsRaw" and o.column.depth == 1 and o.column.field
    }
    raw["pvRefKey_"] = phys14.column("PFCands_pvIdx").values.view("u4")
    bytes_ = whole_candidates(mini2018, raw, phys14.column("PFCands_pt").offsets[0])
    for field in ("pt", "eta", "phi", "mass", "pdgId", "charge", "dxy", "dz", "dphi", "pvIdx"):
        recipe = mini2018.offered[f"LostTracks_{field}"].recipe
        found = apply(recipe, [bytes_] * len(recipe.reads))
        truth = phys14.column(f"PFCands_{field}")
        np.testing.assert_array_equal(found.offsets[0], truth.offsets[0])
        np.testing.assert_array_equal(found.values, truth.values, err_msg=field)
        assert found.values.dtype == truth.values.dtype
    counts = mini2018.offered["nLostTracks"].recipe
    np.testing.assert_array_equal(apply(counts, [bytes_]).values, phys14.column("nPFCands").values)


FRACTIONS = {
    "pfMET": "NeutralEM NeutralHad ChargedEM ChargedHad Muon Type6 Type7",
    "genMET_gen_data": "NeutralEMEt NeutralHadEt ChargedEMEt ChargedHadEt MuonEt InvisibleEt",
}


@pytest.mark.parametrize("part", FRACTIONS)
def test_fractions_of_energy_add_up_to_one(phys14, part):
    fractions = [
        phys14.column(f"slimmedMETs_{part}_{kind}Fraction").values
        for kind in FRACTIONS[part].split()
    ]
    assert len(fractions[0]) == 10
    np.testing.assert_allclose(sum(fractions), 1, rtol=1e-5)


def test_shifts_of_met_are_the_same_for_raw_and_corrected_met_but_for_the_correction(phys14):
    """pat::MET: 13 sources; the shift by a source does not depend on what it is applied to."""
    for axis in ("dpx", "dpy", "dsumEt"):
        raw, corrected = (
            phys14.column(f"slimmedMETs_uncertainties{kind}_{axis}") for kind in ("Raw", "Type1")
        )
        assert np.diff(raw.offsets[1]).tolist() == [13] * 10
        difference = (raw.values.astype("f8") - corrected.values).reshape(10, 13)
        np.testing.assert_allclose(difference, difference[:, :1].repeat(13, 1), atol=2e-5)


def test_types_of_trigger_objects_are_those_of_the_collections_that_they_name(phys14):
    """trigger::TriggerObjectType: 82 electron, 83 muon, 84 tau, 85 jet, 87 MET; L1 below 0."""
    types = phys14.column("selectedPatTrigger_triggerObjectTypes")
    [path] = [
        p for p in phys14.tree.keys(full_paths=True)
        if p.endswith("selectedPatTrigger__PAT.obj.collection_")
    ]  # fmt: skip
    names = [name for event in phys14.tree[path].array().tolist() for name in event]
    each = np.split(types.values, types.offsets[1][1:-1])
    assert len(each) == len(names) > 100
    known = {
        "MuonCandidates": 83, "L2Tau": 84, "PFTaus": 84, "PFJets": 85, "hltMet": 87,
        "L1extraParticles::": -81, ":NonIsolated": -82, ":Central": -84, "Particles:MET": -87,
    }  # fmt: skip
    tried = 0
    for name, found in zip(names, each, strict=True):
        for part, number in known.items():
            if part in name:
                tried += 1
                assert number in found.tolist() or found.tolist() == [86], (name, found)
    assert tried > 20


def test_an_object_that_is_not_as_the_program_says_is_refused(whole):
    offered = whole.offered["Run3ScoutingVertexs_x"]
    (raw,) = whole.inputs(offered.recipe.reads)
    rows = lists(raw)
    for entry in (rows[0][:-1], np.append(rows[0], np.uint8(0)), rows[0] ^ np.uint8(64)):
        with pytest.raises(DamagedFile, match="row 0"):
            apply(offered.recipe, [plain(entry, np.array([0, len(entry)]))])
    (name, _), *_ = offered.recipe.parameters
    program = name.split(" ", 1)[1]
    outer = np.arange(len(raw) + 1)
    other = program.replace(program.split()[0], "V9:1")
    with pytest.raises(DamagedFile, match="not stored as the file says"):
        _walked(raw, outer, other)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_read_as_an_independent_walk_reads_them(whole, data):
    offered = data.draw(st.sampled_from(programs(whole)))
    (raw,) = whole.inputs(offered.recipe.reads)
    entry = lists(raw)[0].copy()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(entry) - 1, 400)))
        entry[at] = data.draw(st.integers(0, 255))
    name = offered.recipe.parameters[0][0]
    kind, program = name.split(" ", 1)
    try:
        truth = walked(entry.tobytes(), program, kind.split(":")[1])[0]
    except Refused:
        truth = None
    ragged = plain(entry, np.array([0, len(entry)]))
    try:
        counts, starts, _ = _walked(ragged, np.array([0, 1]), program)
    except DamagedFile:
        assert truth is None
        return
    assert truth is not None
    assert counts.tolist() == [len(truth)]
    assert len(starts) == len(truth)


def element(kind, name, typename="", code=5, length=0, title=""):
    told = {
        "fName": name, "fTypeName": typename, "fType": code, "fArrayLength": length,
        "fTitle": title,
    }  # fmt: skip
    return type(f"Model_{kind}", (), {"member": lambda _, key: told[key]})()


def info(*elements, version=3, checksum=7):
    told = {"fClassVersion": version, "fCheckSum": checksum}
    return {version: SimpleNamespace(elements=elements, member=told.__getitem__)}


def test_programs_say_what_stands_before_and_behind_a_member():
    streamers = {
        "Base": info(element("TStreamerBasicType", "b", code=13)),
        "Point": info(element("TStreamerBasicType", "x", code=8), version=1, checksum=99),
        "Thing": info(
            element("TStreamerBase", "Base"),
            element("TStreamerSTLstring", "name", "string", 500),
            element("TStreamerSTL", "hits", "vector<unsigned short>", 500),
            element("TStreamerBasicType", "cov", code=5, length=15),
            element("TStreamerObjectPointer", "p", "Point*", 64),
            element("TStreamerObjectAny", "at", "Point", 62),
        ),
    }
    found = {m.name: m for m in members_of(streamers, "Thing")}
    assert found.keys() == {"b", "hits", "at.x"}
    assert found["b"].program == "V3:7 T4 C2 F60 P1 E1"
    assert found["hits"].program == "V3:7 F4 C1 L2 F60 P1 E1"
    assert found["at.x"].program == "V3:7 F4 C2 F60 P1 (1:99 T8 )"
    assert found["at.x"].item.dtype == "float64"
    assert compiled(found["at.x"].program)[5].tolist()[1:] == [1, 99, 7]
    assert [name for name, _, _ in checksums(streamers, "Thing")] == ["Base", "Point", "Thing"]


@pytest.mark.parametrize(
    "unknown",
    [
        element("TStreamerObjectAny", "ref", "edm::RefCore", 62),
        element("TStreamerBasicType", "half", code=19),
        element("TStreamerBasicType", "packed", code=9, title="[0,1,8]"),
        element("TStreamerBasicPointer", "many", "float*", 45),
        element("TStreamerBase", "Nowhere"),
        element("TStreamerSTL", "This", "vector<float>", 500),
    ],
    ids=lambda e: e.member("fName"),
)
def test_a_class_with_a_member_of_unknown_size_offers_nothing(unknown):
    streamers = {"Thing": info(element("TStreamerBasicType", "a"), unknown)}
    assert members_of(streamers, "Thing") == ()


def test_a_class_that_the_file_knows_in_two_versions_offers_nothing():
    both = info(element("TStreamerBasicType", "a")) | info(
        element("TStreamerBasicType", "a"), version=4
    )
    assert members_of({"Thing": both}, "Thing") == ()
