from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.reader.segments import Baskets, cut

pytestmark = pytest.mark.fast
ROWS = 60


@st.composite
def branches(draw):
    inner = draw(st.sets(st.integers(1, ROWS - 1), max_size=12))
    offsets = np.array([0, *sorted(inner), ROWS], np.int64)
    sizes = draw(st.lists(st.integers(1, 50), min_size=len(inner) + 1, max_size=len(inner) + 1))
    return Baskets(offsets, np.array(sizes, np.int32))


def needed(branch, rows):
    """Brute force: the baskets that hold some of the rows."""
    edges = list(pairwise(branch.entry_offsets.tolist()))
    return {n for n, (a, b) in enumerate(edges) if any(a <= row < b for row in rows)}


@given(
    st.lists(branches(), min_size=1, max_size=4),
    st.sets(st.integers(0, ROWS - 1)).map(lambda rows: np.array(sorted(rows), np.int64)),
    st.integers(1, 200),
)
def test_groups_have_every_row_once_and_share_no_basket(found, rows, most):
    groups = cut(found, rows, most)
    assert np.concatenate(groups).tolist() == rows.tolist()
    assert all(len(group) for group in groups) or len(groups) == 1
    for branch in found:
        own = [needed(branch, group.tolist()) for group in groups]
        assert sum(map(len, own)) == len(set().union(*own))


def test_groups_take_as_many_bytes_as_told_where_baskets_end_together():
    clusters = Baskets(np.arange(0, 61, 10), np.full(6, 100))
    finer = Baskets(np.arange(0, 61, 5), np.full(12, 50))
    groups = cut([clusters, finer], np.arange(ROWS), 400)
    assert [len(group) for group in groups] == [20, 20, 20]


def test_what_a_basket_holds_together_is_not_parted():
    apart = Baskets(np.arange(0, 61, 10), np.full(6, 100))
    together = Baskets(np.array([0, 35, 60]), np.array([9, 9]))
    groups = cut([apart, together], np.arange(ROWS), 1)
    assert [len(group) for group in groups] == [ROWS]
    groups = cut([apart, together], np.array([3, 8, 47]), 1)
    assert [group.tolist() for group in groups] == [[3, 8], [47]]
