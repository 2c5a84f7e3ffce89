"""Decoded candidates against reconstructed objects of the same events, and by layout."""

from __future__ import annotations

import numpy as np
import pytest

from columnservice.formats.discovery import Readable
from columnservice.formats.packed import decoded_fields
from columnservice.model import Member
from tests.formats.support import lists

pytestmark = pytest.mark.fast

HALF_PRECISION = 2.0**-11  # binary16 has 11 significant bits: rounding moves by half of the last


def _angle(difference):
    return (difference + np.pi) % (2 * np.pi) - np.pi


@pytest.fixture(scope="module")
def muons(phys14):
    """Every PF muon beside the slimmedMuon next to it: arrays by name, PF ones with ``pf_``."""
    pf = {
        name: lists(phys14.column(f"PFCands_{name}"))
        for name in ("pt", "eta", "phi", "mass", "dxy", "dz", "pvIdx", "charge", "pdgId")
    }
    members = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "mass", "qx3": "qx3"}
    members |= {axis: f"vertex_fCoordinates_f{axis}" for axis in "XYZ"}
    reco = {
        name: lists(phys14.column(f"slimmedMuons_{member}")) for name, member in members.items()
    }
    prefix = "offlineSlimmedPrimaryVertices_position_fCoordinates_f"
    vertices = {axis: lists(phys14.column(prefix + axis)) for axis in "XYZ"}
    rows = []
    for event in range(phys14.tree.num_entries):
        for i in np.flatnonzero(np.abs(pf["pdgId"][event]) == 13):
            eta, phi = pf["eta"][event][i], pf["phi"][event][i]
            distance = np.hypot(reco["eta"][event] - eta, _angle(reco["phi"][event] - phi))
            j = distance.argmin()
            row = {f"pf_{name}": values[event][i] for name, values in pf.items()}
            row |= {name: values[event][j] for name, values in reco.items()}
            vertex = row["pf_pvIdx"]
            row |= {f"pv_{axis}": values[event][vertex] for axis, values in vertices.items()}
            rows.append(row)
    assert len(rows) > 20
    return {name: np.array([row[name] for row in rows], float) for name in rows[0]}


def test_momenta_are_those_of_the_muons(muons):
    np.testing.assert_allclose(muons["pf_pt"], muons["pt"], rtol=HALF_PRECISION)
    np.testing.assert_allclose(muons["pf_eta"], muons["eta"], atol=1e-4)
    assert np.abs(_angle(muons["pf_phi"] - muons["phi"])).max() < 1e-4
    np.testing.assert_allclose(muons["pf_mass"], muons["mass"], rtol=HALF_PRECISION)


def test_charges_are_those_of_the_muons(muons):
    np.testing.assert_array_equal(muons["pf_charge"], muons["qx3"] / 3)


def test_impact_parameters_follow_from_the_muons_reference_points(muons):
    """dxy and dz of a straight line through the muon's reference point, to the vertex."""
    dx, dy, dz = (muons[axis] - muons[f"pv_{axis}"] for axis in "XYZ")
    sin, cos = np.sin(muons["phi"]), np.cos(muons["phi"])
    dxy = -dx * sin + dy * cos
    dz = dz - (dx * cos + dy * sin) * np.sinh(muons["eta"])
    np.testing.assert_allclose(muons["pf_dxy"], dxy, rtol=2 * HALF_PRECISION, atol=2e-6)
    np.testing.assert_allclose(muons["pf_dz"], dz, rtol=2 * HALF_PRECISION, atol=2e-6)


def test_vertex_references_lie_within_the_vertices(phys14):
    vertices = phys14.column("nofflineSlimmedPrimaryVertices").values
    for indices, count in zip(lists(phys14.column("PFCands_pvIdx")), vertices, strict=True):
        assert ((indices >= -1) & (indices < count)).all()


def test_packed_gen_particles_agree_with_the_pruned_ones(phys14):
    """Final-state muons stand in both collections."""
    packed = {n: lists(phys14.column(f"PackedGenPart_{n}")) for n in ("pt", "eta", "phi", "pdgId")}
    names = ("pt", "eta", "phi", "pdgId", "status")
    pruned = {n: lists(phys14.column(f"prunedGenParticles_{n}")) for n in names}
    compared = 0
    for event in range(phys14.tree.num_entries):
        final = (np.abs(pruned["pdgId"][event]) == 13) & (pruned["status"][event] == 1)
        for i in np.flatnonzero(final & (np.abs(pruned["eta"][event]) < 5)):
            same = packed["pdgId"][event] == pruned["pdgId"][event][i]
            deta = packed["eta"][event][same] - pruned["eta"][event][i]
            dphi = _angle(packed["phi"][event][same] - pruned["phi"][event][i])
            j = np.hypot(deta, dphi).argmin()
            assert max(abs(deta[j]), abs(dphi[j])) < 3e-4  # truncated, not rounded, when packed
            pt = packed["pt"][event][same][j]
            np.testing.assert_allclose(pt, pruned["pt"][event][i], rtol=2 * HALF_PRECISION)
            compared += 1
    assert compared >= 10


def test_raw_members_are_offered_beside_under_a_collection_of_their_own(phys14):
    raw = phys14.offered["PFCandsRaw_packedPt"].column
    assert (raw.collection, raw.shape, raw.field) == ("PFCandsRaw", "PFCandsRaw", "packedPt")
    codes = phys14.column("PFCandsRaw_packedPt").values
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes.view("f2").astype("f4"), phys14.column("PFCands_pt").values)
    assert (phys14.column("nPFCandsRaw").values == phys14.column("nPFCands").values).all()


def test_a_layout_without_a_member_lacks_the_columns_made_from_it(phys14, mini2018):
    old, new = phys14.offered, mini2018.offered
    for name in ("puppiWeight", "dtrkPt", "deta", "hcalFraction", "stripLayers"):
        assert f"PFCands_{name}" in new
        assert f"PFCands_{name}" not in old
    for name in ("dxyErr", "covDptDpt"):
        assert f"PFCands_{name}" in old
        assert f"PFCands_{name}" not in new
    assert new["PackedGenPart_eta"].recipe.decode == "eta_of_rapidity"
    assert old["PackedGenPart_eta"].recipe.decode == "signed16"
    assert new["PFCands_dz"].recipe.decode == "dz"
    assert old["PFCands_dz"].recipe.decode == "dz_of_reference"
    # lostTracks are stored whole in 2018
    assert {f["LostTracks_pt"].column.support for f in (old, new)} == {"ok"}
    assert len(new["LostTracks_pt"].recipe.reads) == 1


@pytest.mark.parametrize(("dtype", "decoder"), [("uint8", "unsigned8"), ("int8", "puppi_log8")])
def test_the_type_of_the_puppi_weight_decides_its_formula(dtype, decoder):
    layout = {"packedPuppiweight_": Readable((Member("", dtype),), 1)}
    fields = decoded_fields("patPackedCandidates", layout)
    assert {name: line.decode for name, line in fields.items()} == {"puppiWeight": decoder}


def test_only_packed_classes_are_decoded():
    layout = {"packedPt_": Readable((Member("", "uint16"),), 1)}
    assert decoded_fields("patMuons", layout) == {}
    assert list(decoded_fields("patPackedGenParticles", layout)) == ["pt"]
