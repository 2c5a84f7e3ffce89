from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.formats.kernels import look_up

pytestmark = pytest.mark.fast


@given(
    st.sampled_from(["float32", "float64", "int8", "bool", "int16", "uint32"]),
    st.sampled_from([np.uint8, np.uint16]),
    st.lists(st.integers(0, 255), max_size=20),
    st.integers(0, 2**31),
)
def test_looking_up_is_indexing_to_the_last_bit(dtype, kind, picked, seed):
    entries = 2 ** (8 * np.dtype(kind).itemsize)
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, entries * 8, np.uint8)[: entries * np.dtype(dtype).itemsize]
    table = (table & 1).view(bool) if dtype == "bool" else table.view(dtype)
    table.flags.writeable = False
    codes = np.array(picked, kind) * kind(entries // 256)
    codes.flags.writeable = False
    found = look_up(table, codes)
    assert found.dtype == np.dtype(dtype)
    assert found.tobytes() == table[codes].tobytes()
