from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.formats.moving import copy_runs

pytestmark = pytest.mark.fast


@given(
    items=st.integers(0, 40),
    shift=st.integers(0, 9),
    dtype=st.sampled_from(["uint8", "bool", "int16", "float32", "float64"]),
)
def test_copy_runs_equals_slices_for_short_and_long_runs(items, shift, dtype):
    content = np.arange(50).astype(dtype)
    out = np.zeros(60, dtype)
    copy_runs(content, np.array([shift]), np.array([shift + 3]), np.array([items]), out)
    expected = np.zeros(60, dtype)
    expected[shift + 3 : shift + 3 + items] = content[shift : shift + items]
    assert np.array_equal(out, expected)
