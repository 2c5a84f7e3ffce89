"""Computations on lists of places, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.delivery.compute import compute
from columnservice.model import Derivation, plain

pytestmark = pytest.mark.fast
events = st.lists(st.lists(st.lists(st.integers(-1, 9), max_size=4), max_size=4), max_size=4)


def offsets_of(lists):
    return np.cumsum([0, *map(len, lists)]).astype(np.int64)


@given(events)
def test_lists_of_places_become_pairs_of_places(told):
    objects = [o for event in told for o in event]
    values = np.array([i for o in objects for i in o], np.int32)
    lists = plain(values, offsets_of(told), offsets_of(objects))
    right = [[(n, i) for n, o in enumerate(event) for i in o if i >= 0] for event in told]
    owners = compute(Derivation("a", ("x",), "list_owners"), [lists])
    items = compute(Derivation("b", ("x",), "list_items"), [lists])
    counts = compute(Derivation("n", ("a",), "lengths"), [owners])
    for found, place in [(owners, 0), (items, 1)]:
        assert found.offsets[0].tolist() == offsets_of(right).tolist()
        assert found.values.tolist() == [pair[place] for event in right for pair in event]
        assert found.values.dtype == np.int32
    assert counts.values.tolist() == [len(event) for event in right]
