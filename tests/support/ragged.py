"""Ragged arrays for tests: from and to Python lists, and hypothesis strategies of them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st

from columnservice.model import Keys, Ragged


def ragged_of(lists: list[Any], depth: int, dtype: str = "float32") -> Ragged:
    """A Ragged of nested Python lists."""
    offsets = []
    for _ in range(depth):
        offsets.append(np.cumsum([0, *(len(x) for x in lists)]).astype(np.int64))
        lists = [item for inner in lists for item in inner]
    return Ragged(tuple(offsets), {"": np.array(lists, dtype)})


def lists_of(ragged: Ragged) -> list[Any]:
    """Nested Python lists of a Ragged of plain numbers."""
    values: list[Any] = ragged.values.tolist()
    for offsets in reversed(ragged.offsets):
        values = [values[a:b] for a, b in itertools.pairwise(offsets)]
    return values


def nested(depth: int, rows: int) -> st.SearchStrategy[list[Any]]:
    """``rows`` nested lists of small integers."""
    item: st.SearchStrategy[Any] = st.integers(0, 100)
    for _ in range(depth):
        item = st.lists(item, max_size=4)
    return st.lists(item, min_size=rows, max_size=rows)


def keys_of(triples: list[tuple[int, int, int]]) -> Keys:
    """Keys from (run, lumi, event) triples."""
    columns = list(zip(*triples, strict=True)) if triples else [(), (), ()]
    return Keys(
        np.array(columns[0], np.uint32),
        np.array(columns[1], np.uint32),
        np.array(columns[2], np.uint64),
    )


# Few runs, lumis and events, so that keys repeat and run/lumi look alike; and 64-bit events.
triples = st.tuples(
    st.sampled_from([1, 2, 0xFFFF_FFFF]),
    st.sampled_from([1, 2, 0xFFFF_FFFF]),
    st.one_of(st.integers(0, 6), st.sampled_from([2**32 + 1, 2**63, 2**64 - 1])),
)
"""Strategy of (run, lumi, event) triples that collide often."""
