from __future__ import annotations

import numpy as np
import pytest

from columnservice.alignment.witness import WitnessResult, count_agreeing, demand_agreement
from columnservice.errors import WrongParent

pytestmark = pytest.mark.fast


def test_floats_agree_within_a_shortened_mantissa():
    exact = np.linspace(1, 60, 1000)
    short = exact.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF_8000)
    assert count_agreeing(short.view(np.float32), exact) == 1000


def test_integers_agree_exactly_or_not():
    assert count_agreeing(np.array([1, 2, 3]), np.array([1, 2, 4])) == 2


def test_nan_agrees_with_nan_only():
    nan = np.array([np.nan, np.nan])
    assert count_agreeing(nan, np.array([np.nan, 1.0])) == 1


def test_another_sample_is_refused_by_name_of_the_witness():
    results = [WitnessResult("rho", 100, 3)]
    with pytest.raises(WrongParent, match=r"rho agrees on 3 of 100"):
        demand_agreement(results, "nano.root", "mini.root")


def test_a_witness_without_events_says_nothing():
    demand_agreement([WitnessResult("rho", 0, 0)], "nano.root", "mini.root")
