from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.alignment.gather import gather
from columnservice.alignment.kernels import copy_rows
from columnservice.model import Ragged
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


@given(nested(1, 6), st.permutations(range(6)))
def test_copy_rows_equals_its_numpy_twin(lists, order):
    part = ragged_of(lists, 1, "int32")
    source = np.array(order, np.int64)
    counts = np.diff(part.offsets[0])[source]
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    out = np.empty(offsets[-1], np.int32)
    copy_rows(part.offsets[0], part.values, source, np.arange(6, dtype=np.int64), offsets, out)
    slices = [part.values[part.offsets[0][r] : part.offsets[0][r + 1]] for r in order]
    assert np.array_equal(out, np.concatenate(slices) if slices else out)
