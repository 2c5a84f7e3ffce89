from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.alignment.blockjoin import join_blocks
from columnservice.model import Keys
from tests.support.joins import assert_joined, blocks, repeats_of, sorted_join
from tests.support.ragged import keys_of, triples

pytestmark = pytest.mark.fast


@st.composite
def rows_in_blocks(draw):
    """Some blocks sorted, some not; event numbers that lie dense, far apart, and at the ends."""
    few, any_number = st.integers(0, 40), st.integers(0, 2**64 - 1)
    number = draw(st.sampled_from([few, any_number, st.one_of(few, any_number)]))
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        numbers = draw(st.lists(number, max_size=12, unique=draw(st.booleans())))
        if draw(st.booleans()):
            numbers = sorted(set(numbers))
        block = (draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 2, 0xFFFF_FFFF])))
        rows += [(*block, number) for number in numbers]
    return rows


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_block_join_equals_brute_force_or_gives_up_where_local_keys_repeat(data):
    local = data.draw(rows_in_blocks())
    parents = []
    for _ in range(data.draw(st.integers(0, 3))):
        shared = [key for key in local if data.draw(st.booleans())]
        parents.append(shared + data.draw(rows_in_blocks()))
    found = join_blocks(keys_of(local), [keys_of(parent) for parent in parents])
    assert (found is None) == (repeats_of(local) > 0)
    if found is not None:
        assert_joined(found, local, parents)


@settings(max_examples=200, deadline=None)
@given(local=st.lists(triples, max_size=20, unique=True), parent=st.lists(triples, max_size=15))
def test_block_join_of_rows_in_any_order_equals_brute_force(local, parent):
    found = join_blocks(keys_of(local), [keys_of(parent)])
    assert found is not None
    assert_joined(found, local, [parent])


@pytest.mark.parametrize("gap", [1, 5, 10**12])
@pytest.mark.parametrize("disorder", [0, 10, 1000])
def test_many_blocks_in_several_files_are_joined_as_by_sorting(gap, disorder):
    rng = np.random.default_rng(gap + disorder)
    parent = blocks(rng, 20_000, gap, disorder)
    kept = np.flatnonzero(rng.random(len(parent)) < 0.7)
    # The local file orders blocks, and rows in blocks, in a way of its own; some are its own.
    local = parent[kept]
    lumi = np.where(local.lumi % 7 == 3, local.lumi + 10**6, local.lumi).astype("u4")
    local = Keys(local.run, lumi, local.event)
    place = np.arange(len(local)) + rng.integers(0, disorder + 1, len(local))
    local = local[np.lexsort((place, local.run, local.lumi))]
    expected = sorted_join(local, parent)
    cut = 7_003  # within a block
    found = join_blocks(local, [parent[:cut], parent[cut:]])
    assert found is not None
    file, row, repeated = found
    assert np.array_equal(np.where(file == 1, row + cut, row), expected)
    assert np.array_equal(file, np.where(expected < 0, -1, expected >= cut))
    assert not repeated.any()
    assert (expected >= 0).any()
    assert (expected < 0).any()


def test_a_block_in_many_parts_is_found_whole():
    local = keys_of([(1, 1, number) for number in range(50)])
    parts = [keys_of([(1, 1, number)]) for number in range(50)]
    found = join_blocks(local, parts)
    assert found is not None
    assert found[0].tolist() == list(range(50))


def test_a_key_in_two_parents_counts_first_where_it_stands_first():
    local = [(1, 1, 1), (1, 1, 2), (1, 1, 3)]
    parents = [[(1, 1, 2)], [(1, 1, 1), (1, 1, 2)], [(1, 1, 2), (1, 1, 3), (1, 1, 3)]]
    found = join_blocks(keys_of(local), [keys_of(parent) for parent in parents])
    assert_joined(found, local, parents)


def test_rows_that_do_not_stand_in_blocks_are_left_to_the_hash_join():
    rng = np.random.default_rng(3)
    keys = blocks(rng, 5_000, 1, 0)
    mixed = keys[rng.permutation(len(keys))]
    assert join_blocks(keys, [keys]) is not None
    assert join_blocks(mixed, [keys]) is None
    assert join_blocks(keys, [mixed]) is None


def test_repeats_in_sorted_rows_and_over_blocks_are_seen():
    for rows in ([(1, 1, 1), (1, 1, 1)], [(1, 1, 5), (1, 2, 5), (1, 1, 5)]):
        assert join_blocks(keys_of(rows), []) is None
