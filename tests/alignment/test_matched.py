"""How well objects match, counted: sums of samples and quantiles, against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.alignment.matched import EDGES, QUANTILES, MatchCounts, added, count, quantiles
from columnservice.model import plain

pytestmark = pytest.mark.fast
STEP = EDGES[1] / EDGES[0]
distances = st.lists(st.floats(0, 0.875, width=32) | st.none(), min_size=1, max_size=60)


def counted(found):
    offsets = np.array([0, len(found)])
    index = np.array([-1 if d is None else 3 for d in found], np.int32)
    far = np.array([np.nan if d is None else d for d in found], np.float32)
    return count("Muon", "muons", *(plain(v, offsets) for v in (index, index < 0, far)))


@given(distances)
def test_quantiles_are_those_of_the_distances_to_within_a_bin(found):
    told, held = counted(found), [d for d in found if d is not None]
    assert (told.objects, told.matched, told.ambiguous) == (
        len(found),
        len(held),
        len(found) - len(held),
    )
    got = quantiles(told)
    assert list(got) == ([] if not held else ["50%", "90%", "99%"])
    for share, edge in zip(QUANTILES, got.values(), strict=False):
        right = float(np.quantile(held, share, method="inverted_cdf"))
        assert right <= edge * (1 + 1e-6)
        assert edge <= max(right * STEP * (1 + 1e-6), EDGES[0])


@given(st.lists(distances, min_size=1, max_size=4))
def test_samples_add_up(samples):
    whole = added([counted(s) for s in samples])
    assert whole == counted([d for sample in samples for d in sample])


def test_a_sample_that_failed_adds_its_reason_only():
    bad = MatchCounts("Muon", "muons", 0, 0, 0, (), "damaged")
    whole = added([bad, counted([0.1, None])])
    assert (whole.objects, whole.matched, whole.problem) == (2, 1, "damaged")
    assert quantiles(added([bad])) == {}
