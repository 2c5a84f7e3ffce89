"""The program that measures false matches, on few objects: its sums, and that they stay rare."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.false_matches import DENSITIES, mantissa, rates

pytestmark = pytest.mark.fast


def test_false_matches_are_rare_however_dense_an_event_is():
    found = list(rates(20_000))
    assert [(r.collection, r.per_event) for r in found] == [
        (local, density) for local, densities in DENSITIES.items() for density in densities
    ]
    for r in found:
        assert r.right + r.unmatched + r.ambiguous + r.wrong == pytest.approx(1)
        assert r.wrong == 0
        assert r.right > 0.995
        assert r.orphans_wrong < 0.01


def test_rounding_keeps_so_many_bits():
    values = np.random.default_rng(1).uniform(-5, 5, 1000).astype("f4")
    for bits in (8, 10, 12):
        kept = mantissa(values, bits)
        assert np.all(kept.view("u4") & ((1 << (23 - bits)) - 1) == 0)
        assert np.all(np.abs(kept / values - 1) <= 2.0 ** -(bits + 1) * 1.0001)
