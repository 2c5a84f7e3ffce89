"""Short names: the same quantities from the layouts of all years, and formulas against twins."""

from __future__ import annotations

import math

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from columnservice.errors import DamagedFile
from columnservice.formats import apply
from columnservice.formats.members import MEMBERS
from columnservice.model import BranchRead, Recipe, plain
from tests.formats.support import Opened, lists

pytestmark = pytest.mark.fast

CANDIDATE = ("pt", "eta", "phi", "mass", "charge", "pdgId", "status", "vx", "vy", "vz")
TYPES = {"charge": "int32", "pdgId": "int32", "status": "int32"}


@pytest.mark.parametrize("collection", ["slimmedJets", "slimmedGenJets", "prunedGenParticles"])
def test_candidates_of_all_years_have_the_same_columns(phys14, mini2018, collection):
    for field in CANDIDATE:
        old, new = (o.offered[f"{collection}_{field}"].column for o in (phys14, mini2018))
        assert old.type == new.type == f"var * {TYPES.get(field, 'float32')}", field
        assert (old.collection, old.field, old.shape, old.doc) == (
            new.collection, new.field, new.shape, new.doc
        )  # fmt: skip
        assert (old.collection, old.field, old.shape) == (collection, field, collection)


def test_long_names_remain(phys14, mini2018):
    assert "slimmedJets_m_state_p4Polar_fCoordinates_fPt" in mini2018.offered
    assert "slimmedJets_m_state_qx3" in mini2018.offered
    assert "slimmedJets_qx3" in phys14.offered
    assert "slimmedJets_vertex_fCoordinates_fX" in phys14.offered


def test_short_names_hold_the_values_of_the_long_ones(phys14):
    for collection in ("slimmedJets", "slimmedMuons", "slimmedElectrons", "slimmedTaus"):
        for axis in "XYZ":
            long = phys14.column(f"{collection}_vertex_fCoordinates_f{axis}")
            short = phys14.column(f"{collection}_v{axis.lower()}")
            # the file holds single precision: nothing is lost
            np.testing.assert_array_equal(short.values.astype("f8"), long.values)
            assert short.values.dtype == np.float32
        thirds = phys14.column(f"{collection}_qx3").values
        charges = phys14.column(f"{collection}_charge").values
        assert charges.tolist() == [math.trunc(q / 3) for q in thirds.tolist()]


def test_leptons_have_the_charge_of_their_code(phys14):
    for collection in ("slimmedElectrons", "slimmedMuons", "slimmedTaus"):
        charges = phys14.column(f"{collection}_charge").values
        codes = phys14.column(f"{collection}_pdgId").values
        assert len(charges)
        np.testing.assert_array_equal(charges, -np.sign(codes))


def test_positions_of_vertices_are_near_the_beam_spot(phys14):
    place = {axis: phys14.column(f"offlineSlimmedPrimaryVertices_{axis}") for axis in "xyz"}
    beam = {axis: phys14.column(f"offlineBeamSpot_{axis}").values for axis in "xyz"}
    for axis in "xyz":
        for event, row in enumerate(lists(place[axis])):
            assert len(row)
            assert np.abs(row - beam[axis][event]).max() < (0.5 if axis in "xy" else 30)
    assert phys14.offered["offlineBeamSpot_x"].column.depth == 0


def test_missing_energy_is_offered_where_it_is_split(phys14):
    pt, phi, total = (phys14.column(f"slimmedMETs_{name}") for name in ("pt", "phi", "sumEt"))
    assert np.diff(pt.offsets[0]).tolist() == [1] * 10
    assert (np.abs(phi.values) <= np.float32(np.pi)).all()
    assert (total.values > pt.values).all()


def test_raw_members_of_packed_candidates_have_no_short_names(phys14):
    """Their vertices and momenta are not what the packed numbers mean."""
    assert "PackedGenPartRaw_vertex_fCoordinates_fX" in phys14.offered
    assert "PackedGenPartRaw_vx" not in phys14.offered
    assert "PFCandsRaw_charge" not in phys14.offered


def test_scouting_objects_have_masses(opened_file):
    opened = opened_file("edm_unit/run3scouting_14_0_split_99.root", "aod")
    for kind in ("CaloJets", "Electrons", "Muons", "PFJets", "Photons"):
        own, short = (opened.column(f"Run3Scouting{kind}_{name}") for name in ("m", "mass"))
        np.testing.assert_array_equal(own.values, short.values)


def test_every_line_has_a_description_and_a_source():
    for line in MEMBERS:
        assert line.doc
        assert line.source.split()[0] in ("LC", "PS", "TB", "VX", "ME", "RS")


def decode(name, *columns):
    """What a decoder makes of flat columns, all in one event."""
    inputs = [plain(np.asarray(c), np.array([0, len(c)], np.int64)) for c in columns]
    reads = tuple(BranchRead(str(i)) for i in range(len(inputs)))
    return apply(Recipe("x", reads, name), inputs).values


finite = st.floats(-1e6, 1e6, allow_subnormal=False, width=32)
vectors = st.lists(st.tuples(finite, finite, finite), max_size=30)


@given(vectors)
def test_momenta_from_cartesian_components_are_those_of_a_plain_formula(found):
    x, y, z = (np.array([v[i] for v in found], np.float32) for i in range(3))
    pt = [math.sqrt(a * a + b * b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    tiny = 1e-37  # below it single precision loses digits
    np.testing.assert_allclose(decode("pt_of_xy", x, y), pt, rtol=1e-6, atol=tiny)
    phi = [math.atan2(b, a) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    np.testing.assert_allclose(decode("phi_of_xy", x, y), phi, rtol=1e-6, atol=tiny)
    eta = decode("eta_of_xyz", x, y, z).astype(float)
    for got, rho, along in zip(eta.tolist(), pt, z.tolist(), strict=True):
        if rho == 0:
            assert got == np.float32(along + math.copysign(22756.0, along) * (along != 0))
        else:
            # -log tan(theta / 2), in the form that does not cancel
            ratio = abs(along) / rho
            want = math.copysign(math.log(ratio + math.sqrt(ratio * ratio + 1)), along)
            assert got == pytest.approx(want, rel=1e-5, abs=1e-6)


@given(arrays(np.int32, st.integers(0, 50), elements=st.integers(-12, 12)))
def test_charges_are_divided_as_cpp_does(thirds):
    assert decode("charge_of_thirds", thirds).tolist() == [
        math.trunc(q / 3) for q in thirds.tolist()
    ]


def test_charges_that_are_no_integers_are_damage():
    with pytest.raises(DamagedFile, match="not integers"):
        decode("charge_of_thirds", np.zeros(3, np.float32))


def test_components_of_different_objects_are_damage():
    one, two = np.zeros(1, np.float32), np.zeros(2, np.float32)
    with pytest.raises(DamagedFile, match="different counts"):
        decode("pt_of_xy", one, two)


def test_tracks_of_aod_have_momenta_from_their_components(tmp_path):
    """A flat file with the members that a split reco::Track has."""
    product, counts = "recoTracks_generalTracks__RECO", [2, 0, 1]
    components = {"X": [3.0, 0.0, 1.0], "Y": [4.0, 2.0, 0.0], "Z": [0.0, -1.0, 10.0]}
    data = {
        f"{product}.obj.momentum_.fCoordinates.f{axis}": ak.unflatten(np.array(c), counts)
        for axis, c in components.items()
    }
    data[f"{product}.obj.charge_"] = ak.unflatten(np.array([1, -1, 1], np.int32), counts)
    with uproot.recreate(tmp_path / "tracks.root") as file:
        file.mktree("Events", {k: v.type.content for k, v in data.items()}).extend(data)
    opened = Opened(tmp_path / "tracks.root", "aod")
    assert opened.column("generalTracks_pt").values.tolist() == [5.0, 2.0, 1.0]
    np.testing.assert_allclose(
        opened.column("generalTracks_eta").values, np.arcsinh([0.0, -0.5, 10.0]), rtol=1e-6
    )
    np.testing.assert_allclose(
        opened.column("generalTracks_phi").values, [np.arctan2(4, 3), np.pi / 2, 0], rtol=1e-6
    )
    assert opened.column("generalTracks_charge").values.tolist() == [1, -1, 1]
    assert opened.column("ngeneralTracks").values.tolist() == counts
