from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.alignment.gather import gather
from columnservice.alignment.kernels import (
    count_runs,
    find_items,
    find_runs,
    place_counts,
)
from columnservice.model import Ragged, plain
from tests.support.ragged import lists_of, nested, ragged_of

pytestmark = pytest.mark.fast


@st.composite
def cases(draw):
    depth = draw(st.integers(0, 3))
    sizes = draw(st.lists(st.integers(0, 5), min_size=1, max_size=3))
    parts = [draw(nested(depth, rows)) for rows in sizes]
    places = [(-1, -1)] + [(f, r) for f, rows in enumerate(sizes) for r in range(rows)]
    wanted = draw(st.lists(st.sampled_from(places), max_size=12))
    return depth, parts, wanted


@settings(max_examples=300, deadline=None)
@given(case=cases(), dtype=st.sampled_from(["uint8", "bool", "int16", "float32", "float64"]))
def test_gather_equals_picking_rows_one_by_one(case, dtype):
    depth, parts, wanted = case
    file = np.array([f for f, _ in wanted], np.int32)
    row = np.array([r for _, r in wanted], np.int64)
    ragged = [ragged_of(part, depth, dtype) for part in parts]
    picked = gather(ragged, file, row)
    empty = [] if depth else 0
    expected = [lists_of(ragged[f])[r] if f >= 0 else empty for f, r in wanted]
    assert lists_of(picked) == expected
    assert picked.values.dtype == np.dtype(dtype)
    assert len(picked) == len(wanted)


def test_gather_moves_all_members_of_a_record_together():
    offsets = np.array([0, 2, 3], np.int64)
    links = Ragged(
        (offsets,), {"key": np.array([7, 8, 9], "u4"), "index": np.array([1, 2, 3], "i2")}
    )
    out = gather([links], np.array([0, 0], np.int32), np.array([1, 0], np.int64))
    assert out.content["key"].tolist() == [9, 7, 8]
    assert out.content["index"].tolist() == [3, 1, 2]
    assert out.content["index"].dtype == np.int16


def test_gather_leaves_nan_and_infinity_bits_alone():
    values = np.array([np.nan, np.inf, -0.0], np.float32)
    out = gather([Ragged((), {"": values})], np.zeros(3, np.int32), np.array([2, 1, 0]))
    assert out.values.tobytes() == values[::-1].tobytes()


def test_gather_reads_read_only_arrays():
    part = ragged_of([[1, 2], [3]], 1)
    for array in (*part.offsets, part.values):
        array.flags.writeable = False
    assert lists_of(gather([part], np.zeros(1, np.int32), np.ones(1, np.int64))) == [[3]]


@st.composite
def long_runs(draw):
    """Rows of two files, in stretches that stand next to each other, some absent, some twice."""
    sizes = (30, 20)
    wanted = []
    for _ in range(draw(st.integers(0, 5))):
        file = draw(st.integers(-1, 1))
        if file < 0:
            wanted += [(-1, -1)] * draw(st.integers(1, 3))
        else:
            first = draw(st.integers(0, sizes[file] - 1))
            last = draw(st.integers(first, sizes[file]))
            wanted += [(file, row) for row in range(first, last)]
    seed = draw(st.integers(0, 99))
    return sizes, wanted, np.random.default_rng(seed)


@settings(max_examples=200, deadline=None)
@given(case=long_runs(), dtype=st.sampled_from(["int8", "float16", "uint32", "float64"]))
def test_rows_that_stand_together_are_moved_as_if_one_by_one(case, dtype):
    sizes, wanted, rng = case
    parts = []
    for rows in sizes:
        inner = rng.poisson(3, rows)
        outer = np.concatenate(([0], np.cumsum(inner)))
        counts = np.concatenate(([0], np.cumsum(rng.poisson(4, outer[-1]))))
        parts.append(plain(rng.integers(0, 99, counts[-1]).astype(dtype), outer, counts))
    file = np.array([f for f, _ in wanted], np.int32)
    row = np.array([r for _, r in wanted], np.int64)
    expected = [lists_of(parts[f])[r] if f >= 0 else [] for f, r in wanted]
    assert lists_of(gather(parts, file, row)) == expected


def test_rows_of_files_that_are_not_given_are_absent():
    part = ragged_of([[1], [2]], 1)
    assert lists_of(gather([part], np.array([1, 0], np.int32), np.array([0, 1]))) == [[], [2]]


@given(
    places=st.lists(st.tuples(st.integers(-1, 1), st.integers(0, 5)), max_size=20),
)
def test_find_runs_equals_its_python_twin(places):
    file = np.array([f for f, _ in places], np.int32)
    row = np.array([r for _, r in places], np.int64)
    expected = []
    for i, (f, r) in enumerate(places):
        if f < 0:
            continue
        if i and places[i - 1] == (f, r - 1):
            expected[-1][3] += 1
        else:
            expected.append([f, r, i, 1])
    runs = count_runs(file, row)
    part, (source, target, count) = np.empty(runs, np.int32), np.empty((3, runs), np.int64)
    find_runs(file, row, part, source, target, count)
    assert np.stack([part, source, target, count], 1).tolist() == expected


@given(lists=nested(1, 9), first=st.integers(0, 9), rows=st.integers(0, 9))
def test_place_counts_and_find_items_equal_their_numpy_twins(lists, first, rows):
    offsets = ragged_of(lists, 1).offsets[0]
    run = (np.array([first]), np.array([0]), np.array([min(rows, 9 - first)]))
    counts = np.full(9, -1, np.int64)
    place_counts(offsets, *run, counts)
    expected = np.diff(offsets)[first : first + rows]
    assert counts.tolist() == [*expected, *[-1] * (9 - len(expected))]
    source, target, count = np.empty((3, 1), np.int64)
    find_items(offsets, *run, np.array([7]), source, target, count)
    assert (source[0], target[0], count[0]) == (offsets[first], 7, expected.sum())
