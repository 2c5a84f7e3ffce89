"""Places in a parent collection as places in the local one, against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.alignment.taken import renumbered
from columnservice.model import plain

pytestmark = pytest.mark.fast
indices = st.lists(st.integers(0, 6), unique=True, max_size=5).flatmap(
    lambda known: st.permutations([*known, -1, -1])
)
events = st.lists(
    st.tuples(indices, st.lists(st.lists(st.integers(-1, 8), max_size=5), max_size=3)), max_size=4
)


def offsets_of(lists):
    return np.cumsum([0, *map(len, lists)]).astype(np.int64)


@given(events)
def test_places_become_those_of_the_local_objects(told):
    index = plain(
        np.array([i for found, _ in told for i in found], np.int32),
        offsets_of([found for found, _ in told]),
    )
    flat = [inner for _, lists in told for inner in lists]
    lists = plain(
        np.array([i for inner in flat for i in inner], np.int32),
        offsets_of([lists for _, lists in told]),
        offsets_of(flat),
    )
    right = [
        found.index(i) if i >= 0 and i in found else -1
        for found, lists in told
        for inner in lists
        for i in inner
    ]
    one = plain(lists.values, lists.offsets[1][lists.offsets[0]])
    assert renumbered(one, index).values.tolist() == right
    made = renumbered(lists, index)
    assert made.values.tolist() == right
    assert made.values.dtype == np.int32
    assert [o.tolist() for o in made.offsets] == [o.tolist() for o in lists.offsets]
