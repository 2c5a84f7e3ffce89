"""Generated pairs, read back with plain uproot: the same events, in the formats' own layouts."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from columnservice.demo import atlas, cms
from columnservice.demo.blocks import Sample
from columnservice.demo.generate import Pair, generate
from columnservice.errors import RequestError
from tests.demo.decoding import eta_of, half_of, phi_of

SMALL = Sample(events=300, missing=7, block_events=40, seed=5)


@pytest.fixture(scope="module", params=["cms", "atlas"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return generate(request.param, tmp_path_factory.mktemp(request.param), SMALL)


def read(path: Path, tree: str, *branches: str) -> dict[str, ak.Array]:
    with uproot.open(path) as file:
        return {name: file[tree][name].array() for name in branches}


def joined(pair: Pair, branch: str) -> tuple[ak.Array, np.ndarray]:
    """A parent branch in local order as truth says, for the rows that have a parent."""
    parents = [read(path, pair.parent_tree, branch)[branch] for path in pair.parents]
    starts = np.cumsum([0, *map(len, parents)])
    present = pair.truth.parent_file >= 0
    rows = starts[pair.truth.parent_file[present]] + pair.truth.parent_row[present]
    return ak.concatenate(parents)[rows], present


def keys_of_local(pair: Pair) -> list[tuple[int, int, int]]:
    names = {
        "cms": ("run", "luminosityBlock", "event"),
        "atlas": tuple(f"{atlas.EVENT}.{n}" for n in ("runNumber", "lumiBlock", "eventNumber")),
    }[pair.experiment]
    columns = read(pair.local, pair.local_tree, *names)
    return list(zip(*(columns[name].to_list() for name in names), strict=True))


def keys_of_parents(pair: Pair) -> list[tuple[int, int, int]]:
    """EventKeys in local order, by truth; CMS: from the bytes at their known places."""
    if pair.experiment == "cms":
        raw, _ = joined(pair, "EventAuxiliary")
        data = np.asarray(ak.to_regular(raw))
        assert data.shape[1] == 109
        run = data[:, 35:39].copy().view(">u4").ravel()
        lumi = data[:, 39:43].copy().view(">u4").ravel()
        event = data[:, 43:51].copy().view(">u8").ravel()
        return list(zip(run.tolist(), lumi.tolist(), event.tolist(), strict=True))
    columns = [
        joined(pair, f"{atlas.EVENT}.{n}")[0].to_list()
        for n in ("runNumber", "lumiBlock", "eventNumber")
    ]
    return list(zip(*columns, strict=True))


def test_truth_joins_the_same_eventkeys(pair: Pair):
    local = keys_of_local(pair)
    assert len(local) == len(set(local)) == SMALL.events
    present = pair.truth.parent_file >= 0
    assert (~present).sum() == SMALL.missing
    assert [k for k, there in zip(local, present, strict=True) if there] == keys_of_parents(pair)


def test_every_tree_says_that_it_is_synthetic(pair: Pair):
    for path in (pair.local, *pair.parents):
        with uproot.open(path) as file:
            for name in file.keys(cycle=False):
                assert "SYNTHETIC" in file[name].title


def test_a_seed_gives_the_same_events_again(pair: Pair, tmp_path: Path):
    again = generate(pair.experiment, tmp_path, SMALL)
    for one, other in zip((pair.local, *pair.parents), (again.local, *again.parents), strict=True):
        tree = pair.local_tree if one == pair.local else pair.parent_tree
        with uproot.open(one) as a, uproot.open(other) as b:
            assert a[tree].keys() == b[tree].keys()
            for name in a[tree].keys():  # noqa: SIM118 (a TTree iterates over arrays)
                assert ak.array_equal(a[tree][name].array(), b[tree][name].array()), name


@pytest.mark.fast
def test_a_parent_file_without_events_has_its_tree_all_the_same(tmp_path: Path):
    pair = generate("cms", tmp_path, Sample(events=3, parents=3, block_events=3))
    with uproot.open(pair.parents[2]) as file:
        assert file["Events"].num_entries == 0
        assert "EventAuxiliary" in file["Events"]


@pytest.mark.fast
def test_an_unknown_experiment_is_refused(tmp_path: Path):
    with pytest.raises(RequestError, match="cms or atlas"):
        generate("lhcb", tmp_path, SMALL)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cms_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return generate("cms", tmp_path_factory.mktemp("cms"), SMALL)


@pytest.fixture(scope="module")
def atlas_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return generate("atlas", tmp_path_factory.mktemp("atlas"), SMALL)


def test_cms_rho_is_a_witness_in_both(cms_pair: Pair):
    parent, present = joined(cms_pair, cms.RHO)
    local = read(cms_pair.local, "Events", "fixedGridRhoFastjetAll")["fixedGridRhoFastjetAll"]
    assert np.array_equal(np.asarray(parent, np.float32), np.asarray(local)[present])
    weights, _ = joined(cms_pair, cms.WEIGHTS)
    local = read(cms_pair.local, "Events", "genWeight")["genWeight"]
    assert np.array_equal(np.asarray(weights[:, 0], np.float32), np.asarray(local)[present])


def candidates(pair: Pair) -> tuple[ak.Array, np.ndarray]:
    """Decoded particles in local order, by formulas written down here once more."""

    def member(name: str) -> ak.Array:
        return joined(pair, cms.parent_branch(cms.CANDIDATES, name))[0]

    fields = {
        "pt": half_of(member("packedPt_")),
        "eta": eta_of(member("packedEta_")),
        "phi": phi_of(member("packedPhi_")),
        "puppi": member("packedPuppiweight_") / 255,
        "pdg_id": member("pdgId_"),
    }
    return ak.zip(fields), pair.truth.parent_file >= 0


def test_cms_every_muon_is_among_the_candidates(cms_pair: Pair):
    found, present = candidates(cms_pair)
    muons = read(cms_pair.local, "Events", "Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge")
    found = found[abs(found.pdg_id) == 13]
    found = found[ak.argsort(found.pt, ascending=False)]
    assert ak.all(ak.num(found) == ak.num(muons["Muon_pt"][present]))
    # two muons of nearly one pt may change places by rounding: compare the sums of each event
    assert np.allclose(
        ak.sum(found.pt, axis=1), ak.sum(muons["Muon_pt"][present], axis=1), rtol=2e-3
    )
    assert np.allclose(
        ak.sum(found.eta, axis=1), ak.sum(muons["Muon_eta"][present], axis=1), atol=2e-2
    )
    charge = ak.sum(-found.pdg_id / 13, axis=1)
    assert ak.all(charge == ak.sum(muons["Muon_charge"][present], axis=1))


def isolation(muons: ak.Array, others: ak.Array) -> ak.Array:
    """Weighted sum of pt within 0.4 around each muon, over the muon's pt."""
    pairs = ak.cartesian({"muon": muons, "other": others}, nested=True)
    dphi = (pairs.muon.phi - pairs.other.phi + np.pi) % (2 * np.pi) - np.pi
    near = np.hypot(pairs.muon.eta - pairs.other.eta, dphi) < 0.4
    return ak.sum(ak.where(near, pairs.other.pt * pairs.other.weight, 0), axis=-1) / muons.pt


def test_cms_isolation_from_the_parent_tells_prompt_muons(cms_pair: Pair):
    found, present = candidates(cms_pair)
    names = ("pt", "eta", "phi", "genPartFlav")
    columns = read(cms_pair.local, "Events", *(f"Muon_{n}" for n in names))
    muons = ak.zip({n: columns[f"Muon_{n}"][present] for n in names})
    others = found[abs(found.pdg_id) != 13]
    others = ak.with_field(others, others.puppi, "weight")
    values = isolation(muons, others)
    prompt = ak.flatten(values[muons.genPartFlav == 1])
    other = ak.flatten(values[muons.genPartFlav == 5])
    assert np.median(prompt) < 0.1 < 0.3 < np.median(other)


def test_atlas_parent_objects_are_the_local_ones_in_the_same_order(atlas_pair: Pair):
    for container, variable in (
        (atlas.MUONS, "pt"),
        (atlas.MUONS, "charge"),
        (atlas.ELECTRONS, "eta"),
        (atlas.JETS, "m"),
    ):
        name = f"{container}.{variable}"
        parent, present = joined(atlas_pair, name)
        local = read(atlas_pair.local, "CollectionTree", name)[name]
        assert ak.array_equal(parent, local[present])


def test_atlas_isolation_from_tracks_tells_prompt_muons(atlas_pair: Pair):
    def track(name: str) -> ak.Array:
        return joined(atlas_pair, f"{atlas.TRACKS}.{name}")[0]

    theta = track("theta")
    fields = {
        "pt": np.sin(theta) / abs(track("qOverP")),
        "eta": -np.log(np.tan(theta / 2)),
        "phi": track("phi"),
        "weight": ak.values_astype(abs(track("z0")) < 2, float),
    }
    present = atlas_pair.truth.parent_file >= 0
    names = ("pt", "eta", "phi", "truthType")
    columns = read(atlas_pair.local, "CollectionTree", *(f"{atlas.MUONS}.{n}" for n in names))
    muons = ak.zip({n: columns[f"{atlas.MUONS}.{n}"][present] for n in names})
    values = isolation(muons, ak.zip(fields)) - 1  # the muon's own track is among them
    prompt = ak.flatten(values[muons.truthType == 6])
    other = ak.flatten(values[muons.truthType == 7])
    assert np.median(prompt) < 0.1 < 0.3 < np.median(other)


def test_hl_lhc_events_are_as_large_as_expected_there(tmp_path: Path):
    sample = Sample(events=200, hl_lhc=True, parents=1, extra=0, block_events=200)
    pair = generate("cms", tmp_path, sample)
    assert 200_000 < pair.parents[0].stat().st_size / 200 < 300_000
    assert 1_500 < pair.local.stat().st_size / 200 < 3_500
