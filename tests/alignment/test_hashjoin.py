from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.alignment.hashjoin import FILE_SHIFT, ROWS_PER_PART, join_hashed, split_places
from tests.support.joins import assert_joined, blocks, repeats_of, sorted_join
from tests.support.ragged import keys_of, triples

pytestmark = pytest.mark.fast


@settings(max_examples=300, deadline=None)
@given(
    local=st.lists(triples, max_size=20),
    parents=st.lists(st.lists(triples, max_size=15), max_size=4),
)
def test_hash_join_equals_brute_force_for_any_keys(local, parents):
    *found, repeats = join_hashed(keys_of(local), [keys_of(parent) for parent in parents])
    assert_joined(found, local, parents)
    assert repeats == repeats_of(local)


def test_rows_of_many_parts_and_files_are_joined_as_by_sorting():
    rng = np.random.default_rng(5)
    parent = blocks(rng, 6 * ROWS_PER_PART, 3, 0)
    parent = parent[rng.permutation(len(parent))]
    local = parent[rng.permutation(len(parent))[: 5 * ROWS_PER_PART]]
    cut = 10_007
    file, row, repeated, repeats = join_hashed(local, [parent[:cut], parent[cut:]])
    assert np.array_equal(np.where(file == 1, row + cut, row), sorted_join(local, parent))
    assert not repeated.any()
    assert repeats == 0


def test_local_repeats_among_many_rows_all_find_their_parent():
    rng = np.random.default_rng(6)
    parent = blocks(rng, 3 * ROWS_PER_PART, 3, 0)
    twice = rng.permutation(np.concatenate((np.arange(len(parent)), np.arange(0, 999, 3))))
    file, row, repeated, repeats = join_hashed(parent[twice], [parent, parent[:100]])
    assert np.array_equal(row, twice)
    assert not file.any()
    assert np.array_equal(repeated, twice < 100)
    assert repeats == 333


@given(
    st.lists(st.one_of(st.just((-1, -1)), st.tuples(st.integers(0, 99), st.integers(0, 2**40 - 1))))
)
def test_split_places_gives_back_file_and_row(places):
    place = np.array([f << FILE_SHIFT | r if f >= 0 else -1 for f, r in places], np.int64)
    file, row = np.empty(len(place), np.int32), np.empty(len(place), np.int64)
    split_places(place, file, row)
    assert list(zip(file.tolist(), row.tolist(), strict=True)) == places
