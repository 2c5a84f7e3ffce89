"""Places in the parent's candidates, of muons and taus, where the local files have their own."""

from __future__ import annotations

import numpy as np
import pytest

from columnservice.alignment.taken import renumbered
from columnservice.catalogue.columns import merged
from columnservice.catalogue.derived import derived_columns
from columnservice.catalogue.matchwords import TAKE_MATCHED, TAKE_RENUMBERED
from columnservice.model import plain
from tests.catalogue.test_derived import objects

FORMATS = ("nanoaod", "miniaod")
OF_TAU = "Tau_signalGamma_pfCandIdx"


@pytest.fixture
def parent(indexed):
    layout = indexed("cms/miniaodsim_phys14_10ev.root", "miniaod")[1]
    return merged([(layout, 1)], "parent")


def test_places_of_muons_and_taus_are_the_parents_where_the_candidates_are(parent):
    local = [*objects("Muon", "charge"), *objects("Tau", "charge")]
    found = {o.column.name: o for o in derived_columns(FORMATS, local, parent)}
    for name, depth in (("Muon_pfCandIdx", 1), (OF_TAU, 2)):
        assert found[name].derivation.compute == TAKE_MATCHED
        assert found[name].column.depth == depth
        assert found[name].column.support == "ok"


def test_places_of_muons_and_taus_become_local_ones_where_candidates_are_local(parent):
    local = [*objects("Muon", "charge"), *objects("Tau"), *objects("PFCands", "charge")]
    found = {o.column.name: o for o in derived_columns(FORMATS, local, parent)}
    for name in ("Muon_pfCandIdx", OF_TAU):
        theirs = name.replace("Muon", "slimmedMuons").replace("Tau", "slimmedTaus")
        told = found[name].derivation
        assert told.compute == TAKE_RENUMBERED
        assert f"parent:{theirs}" in told.inputs
        assert found[theirs].column.support == "unsupported"


@pytest.mark.fast
def test_one_place_per_object_becomes_one_place():
    """As lists of places do, see tests/alignment/test_taken.py; the smallest number is no place."""
    offsets = np.array([0, 3, 3, 5])
    places = plain(np.array([4, -1, 2, 7, np.iinfo("i4").min], np.int32), offsets)
    index = plain(np.array([2, 4, -1, 7, 5], np.int32), np.array([0, 3, 4, 5]))
    found = renumbered(places, index)
    assert found.values.tolist() == [1, -1, 0, -1, -1]
    assert found.values.dtype == np.int32
    assert found.offsets[0].tolist() == offsets.tolist()
