from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.alignment.kernels import ABSENT, build_table, probe_table
from columnservice.alignment.takeindex import (
    count_repeats,
    join,
    make_takeindex,
    open_takeindex,
    write_takeindex,
)
from columnservice.model import FileIdentity, Keys
from tests.support.ragged import keys_of, triples

pytestmark = pytest.mark.fast


def brute_force_join(local, parents):
    """The first (file, row) of every local key, and whether the key stands in several rows."""
    places = {}
    for file, keys in enumerate(parents):
        for row, key in enumerate(keys):
            places.setdefault(key, []).append((file, row))
    found = [places.get(key, []) for key in local]
    first = [places[0] if places else (-1, -1) for places in found]
    return first, [len(places) > 1 for places in found]


@settings(max_examples=300, deadline=None)
@given(
    local=st.lists(triples, max_size=20),
    parents=st.lists(st.lists(triples, max_size=15), max_size=4),
)
def test_join_equals_a_brute_force_join_for_any_keys(local, parents):
    file, row, repeated = join(keys_of(local), [keys_of(p) for p in parents])
    first, several = brute_force_join(local, parents)
    assert list(zip(file.tolist(), row.tolist(), strict=True)) == first
    assert repeated.tolist() == several


@given(keys=st.lists(triples, max_size=30))
def test_count_repeats_counts_each_repeated_key_once(keys):
    expected = sum(1 for key in set(keys) if keys.count(key) > 1)
    assert count_repeats(keys_of(keys)) == expected


def test_take_index_is_null_for_events_absent_from_parent():
    file, row, _ = join(keys_of([(1, 1, 5), (1, 1, 6)]), [keys_of([(1, 1, 6)])])
    assert file.tolist() == [-1, 0]
    assert row.tolist() == [-1, 0]


def test_run_and_lumi_exchanged_is_another_event():
    file, _, _ = join(keys_of([(2, 1, 7)]), [keys_of([(1, 2, 7)])])
    assert file.tolist() == [-1]


def test_events_that_differ_in_the_upper_32_bits_are_different():
    file, _, _ = join(keys_of([(1, 1, 7)]), [keys_of([(1, 1, 7 + 2**32)])])
    assert file.tolist() == [-1]


def test_join_with_no_parent_file_leaves_all_absent():
    file, row, repeated = join(keys_of([(1, 1, 1)]), [])
    assert (file.tolist(), row.tolist(), repeated.tolist()) == ([-1], [-1], [False])


def test_join_accepts_read_only_keys():
    keys = keys_of([(1, 1, 1), (1, 1, 2)])
    for array in (keys.run, keys.lumi, keys.event):
        array.flags.writeable = False
    assert join(keys, [keys])[1].tolist() == [0, 1]


@given(
    parent=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=12),
    local=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=12),
)
def test_hash_table_kernels_equal_their_numpy_twin(parent, local):
    pr, pe = (np.array([k[i] for k in parent], np.uint64) for i in (0, 1))
    lr, le = (np.array([k[i] for k in local], np.uint64) for i in (0, 1))
    table, repeated = np.full(32, ABSENT, np.int64), np.zeros(len(pe), np.bool_)
    build_table(pr, pe, table, repeated)
    row = np.empty(len(le), np.int64)
    probe_table(lr, le, table, pr, pe, row)
    equal = (lr[:, None] == pr[None, :]) & (le[:, None] == pe[None, :])
    twin = np.where(equal.any(axis=1), equal.argmax(axis=1), ABSENT) if len(pe) else -1
    assert np.array_equal(row, np.broadcast_to(twin, row.shape))
    same = (pr[:, None] == pr[None, :]) & (pe[:, None] == pe[None, :])
    later = np.triu(same, 1).any(axis=1) & ~np.tril(same, -1).any(axis=1)
    assert repeated.tolist() == later.tolist()


def test_kept_take_index_reads_back_the_same(tmp_path):
    local, parent = keys_of([(1, 1, 3), (1, 1, 9), (1, 1, 3)]), keys_of([(1, 1, 3), (1, 1, 3)])
    made = make_takeindex(local, [parent], [FileIdentity("uuid", 12)])
    write_takeindex(tmp_path / "deep" / "take.arrow", made)
    kept = open_takeindex(tmp_path / "deep" / "take.arrow")
    assert kept is not None
    assert kept.file.tolist() == [0, -1, 0]
    assert kept.repeated.tolist() == [True, False, True]
    assert (kept.local_repeats, kept.parents) == (1, (FileIdentity("uuid", 12),))
    assert kept.rows(1, 2).file.tolist() == [-1]


@pytest.mark.parametrize("keep", [0, 7, 100])
def test_damaged_take_index_is_as_none(tmp_path, keep):
    path = tmp_path / "take.arrow"
    write_takeindex(path, make_takeindex(keys_of([(1, 1, 3)]), [], []))
    path.write_bytes(path.read_bytes()[:keep])
    assert open_takeindex(path) is None


def test_empty_local_file_joins_to_nothing():
    empty = Keys(np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0, np.uint64))
    file, row, repeated = join(empty, [keys_of([(1, 1, 1)])])
    assert (len(file), len(row), len(repeated)) == (0, 0, 0)
