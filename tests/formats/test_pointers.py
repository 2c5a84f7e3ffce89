"""Pointers of jets to packed candidates, against the jets' own momenta and by damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from columnservice.errors import DamagedFile
from columnservice.formats import apply
from columnservice.formats.pointers import candidates_of
from columnservice.formats.ragged import ragged_from_layout
from columnservice.model import plain
from tests.support.truth import Parent

pytestmark = pytest.mark.fast
MINI = "cms/miniaodsim_phys14_10ev.root"


@pytest.fixture(scope="module")
def parent(data_dir: Path) -> Parent:
    return Parent(data_dir / MINI, "miniaod")


@pytest.mark.parametrize("jets", ["slimmedJets", "slimmedJetsAK8"])
def test_the_candidates_of_a_jet_add_up_to_the_jet(parent, jets):
    """Direction is that of the sum of momenta; pt differs by the energy calibration only."""
    lists = parent.ragged(f"{jets}_pfCandIdx")
    pt, phi, eta = (parent.ragged(f"{jets}_{f}").values for f in ("pt", "phi", "eta"))
    mine = {f: parent.ragged(f"PFCands_{f}") for f in ("pt", "phi", "eta", "mass")}
    outer, inner = lists.offsets
    assert jets != "slimmedJets" or lists.values.min() == 0
    numbers = np.repeat(np.arange(len(outer) - 1), np.diff(outer))
    seen = 0
    for jet, event in enumerate(numbers):
        places = lists.values[inner[jet] : inner[jet + 1]]
        if (places < 0).any() or not len(places):
            continue
        seen += 1
        cpt, cphi, ceta, mass = (
            m.values[m.offsets[0][event] : m.offsets[0][event + 1]][places].astype(float)
            for m in mine.values()
        )
        x, y, z = (cpt * f for f in (np.cos(cphi), np.sin(cphi), np.sinh(ceta)))
        total = np.hypot(x.sum(), y.sum())
        assert np.all(mass < 10)
        assert abs(np.arctan2(y.sum(), x.sum()) - phi[jet]) < 2e-3
        assert abs(np.arcsinh(z.sum() / total) - eta[jet]) < 2e-3
        assert 0.5 < total / pt[jet] < 2
    assert seen > (90 if jets == "slimmedJets" else 0)


def test_the_file_tells_which_product_a_pointer_means(parent):
    assert candidates_of(parent.tree) == {
        "patPackedCandidates_packedPFCandidates__PAT.": (4, 329, 3)
    }


def test_gen_jets_have_no_places_among_packed_candidates(parent):
    assert "slimmedGenJets_pfCandIdx" not in parent.columns


@pytest.mark.parametrize("damage", ["short", "long", "objectwise", "lists", "rows"])
def test_bytes_that_are_not_understood_are_no_numbers(parent, damage):
    recipe = parent.columns["slimmedJets_pfCandIdx"].recipe
    raw, objects, lists = (ragged_from_layout(parent.branch(r).layout) for r in recipe.reads)
    data, offsets, spoilt = raw.values.copy(), raw.offsets[0].copy(), lists
    if damage == "short":
        offsets[-1] -= 14
        data = data[:-14]
    elif damage == "long":
        data[8:12] = [0, 0, 0, 1]  # fewer pointers than there are
    elif damage == "objectwise":
        data[4] &= 0xBF
    elif damage == "lists":
        spoilt = plain(lists.values + np.uint16(1), lists.offsets[0])
    else:
        offsets, data = offsets[:-1], data[: offsets[-2]]
    with pytest.raises(DamagedFile):
        apply(recipe, [plain(data, offsets), objects, spoilt])
    assert len(apply(recipe, [raw, objects, lists])) == 10
