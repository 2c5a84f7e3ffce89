"""Costs of columns: a mean over layouts, a sum over what a column is computed from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from columnservice.catalogue.costs import mean_cost, with_costs
from columnservice.model import Derivation
from tests.catalogue.conftest import offered

pytestmark = pytest.mark.fast


def derived(name, *inputs):
    made = offered(name, origin="derived", cost_bytes=99.0)
    return replace(made, recipe=None, derivation=Derivation(name, inputs, "take"))


def test_files_of_several_layouts_cost_their_mean():
    cheap, dear = offered("x", cost_bytes=1.0), offered("x", cost_bytes=4.0)
    assert mean_cost([(cheap, 2), (dear, 1)]) == 2.0
    assert mean_cost([(cheap, 2), (offered("x"), 100)]) == 1.0
    assert mean_cost([(offered("x"), 1)]) is None


def test_a_computed_column_costs_what_it_is_made_from_and_nothing_twice():
    a, b = offered("a", cost_bytes=1.5), offered("b", cost_bytes=2.0)
    found = with_costs([a, b, derived("c", "a", "b"), derived("d", "c", "a")])
    assert [o.column.cost_bytes for o in found] == [1.5, 2.0, 3.5, 3.5]


def test_a_computed_column_with_an_input_of_unknown_cost_has_none():
    found = with_costs([offered("a"), derived("c", "a"), derived("d", "nowhere")])
    assert [o.column.cost_bytes for o in found] == [None, None, None]
