from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.alignment.takeindex import (
    join,
    make_takeindex,
    open_takeindex,
    write_takeindex,
)
from columnservice.model import FileIdentity, Keys
from tests.support.joins import assert_joined, repeats_of
from tests.support.ragged import keys_of, triples

pytestmark = pytest.mark.fast


@settings(max_examples=300, deadline=None)
@given(
    local=st.lists(triples, max_size=20),
    parents=st.lists(st.lists(triples, max_size=15), max_size=4),
)
def test_join_equals_a_brute_force_join_for_any_keys(local, parents):
    *found, repeats = join(keys_of(local), [keys_of(p) for p in parents])
    assert_joined(found, local, parents)
    assert repeats == repeats_of(local)


def test_take_index_is_null_for_events_absent_from_parent():
    file, row, *_ = join(keys_of([(1, 1, 5), (1, 1, 6)]), [keys_of([(1, 1, 6)])])
    assert file.tolist() == [-1, 0]
    assert row.tolist() == [-1, 0]


def test_run_and_lumi_exchanged_is_another_event():
    file, *_ = join(keys_of([(2, 1, 7)]), [keys_of([(1, 2, 7)])])
    assert file.tolist() == [-1]


def test_events_that_differ_in_the_upper_32_bits_are_different():
    file, *_ = join(keys_of([(1, 1, 7)]), [keys_of([(1, 1, 7 + 2**32)])])
    assert file.tolist() == [-1]


def test_join_with_no_parent_file_leaves_all_absent():
    file, row, repeated, _ = join(keys_of([(1, 1, 1)]), [])
    assert (file.tolist(), row.tolist(), repeated.tolist()) == ([-1], [-1], [False])


def test_join_accepts_read_only_keys():
    keys = keys_of([(1, 1, 1), (1, 1, 2)])
    for array in (keys.run, keys.lumi, keys.event):
        array.flags.writeable = False
    assert join(keys, [keys])[1].tolist() == [0, 1]


def test_join_takes_keys_of_other_integer_types_and_strides():
    keys = keys_of([(1, 1, 1), (1, 2, 2)])
    other = Keys(keys.run.astype("i8"), keys.lumi.astype(">u4"), np.repeat(keys.event, 2)[::2])
    assert join(other, [other])[1].tolist() == [0, 1]


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
    file, row, repeated, _ = join(empty, [keys_of([(1, 1, 1)])])
    assert (len(file), len(row), len(repeated)) == (0, 0, 0)
