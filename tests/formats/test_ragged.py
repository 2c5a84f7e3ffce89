"""Awkward layouts as Ragged, against Awkward's own reading of them."""

from __future__ import annotations

import itertools

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.formats import ragged_from_layout
from columnservice.model import Ragged

pytestmark = pytest.mark.fast

numbers = st.lists(st.integers(-5, 5), max_size=4)
nested = st.lists(st.lists(numbers, max_size=3), max_size=5)


def to_list(ragged: Ragged, name: str = "") -> list:
    """Nested Python lists, by hand."""
    items = ragged.content[name].tolist()
    for offsets in reversed(ragged.offsets):
        items = [items[a:b] for a, b in itertools.pairwise(offsets)]
    return items


@given(nested, st.data())
def test_nested_lists_of_any_kind_keep_their_values(rows, data):
    array = ak.values_astype(ak.Array([*rows, [[1]]]), np.int32)[: len(rows)]
    start = data.draw(st.integers(0, len(rows)))
    order = data.draw(st.permutations(range(len(rows) - start)))
    picked = array[start:][np.array(order, dtype=np.int64)]
    ragged = ragged_from_layout(picked.layout)
    assert to_list(ragged) == picked.to_list()
    assert ragged.depth == 2
    for offsets in ragged.offsets:
        assert offsets.dtype == np.int64
        assert offsets[0] == 0
        assert offsets.flags.c_contiguous
    assert ragged.values.dtype == np.int32
    assert len(ragged.offsets[1]) - 1 == ragged.offsets[0][-1]
    assert len(ragged.values) == ragged.offsets[1][-1]


def test_regular_dimensions_count_as_axes():
    array = ak.Array(ak.contents.NumpyArray(np.arange(12.0).reshape(2, 3, 2)))
    ragged = ragged_from_layout(array.layout)
    assert ragged.depth == 2
    assert to_list(ragged) == array.to_list()
    jagged = ak.unflatten(array, [2, 0])
    assert to_list(ragged_from_layout(jagged.layout)) == jagged.to_list()


def test_records_of_numbers_keep_their_members_apart():
    array = ak.Array([[{"key": 1, "index": 2}], [], [{"key": 3, "index": 4}] * 2])[::-1]
    ragged = ragged_from_layout(array.layout)
    assert to_list(ragged, "key") == [[3, 3], [], [1]]
    assert to_list(ragged, "index") == [[4, 4], [], [2]]


def test_values_that_stand_apart_become_contiguous():
    layout = ak.contents.NumpyArray(np.arange(6)[::2])
    values = ragged_from_layout(layout).values
    assert values.tolist() == [0, 2, 4]
    assert values.flags.c_contiguous


@pytest.mark.parametrize(
    "array",
    [
        ak.Array(["a", "b"]),
        ak.Array([["a"], []]),
        ak.Array([1, None]),
        ak.Array([{"x": [1]}]),
        ak.Array([{"x": {"y": 1}}]),
        ak.Array([1, [2]]),
    ],
    ids=["text", "lists of text", "options", "record of lists", "record of records", "union"],
)
def test_what_is_not_numbers_in_lists_is_an_error(array):
    with pytest.raises(TypeError, match="not numbers in lists"):
        ragged_from_layout(array.layout)
