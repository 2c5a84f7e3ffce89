"""What a join must find, by brute force and by NumPy; knows none of our kernels."""

from __future__ import annotations

import numpy as np

from columnservice.model import Keys


def assert_joined(found, local, parents) -> None:
    """``file``, ``row`` and ``repeated`` are what looking up (run, lumi, event) triples gives."""
    file, row, repeated = found
    places = {}
    for number, keys in enumerate(parents):
        for at, key in enumerate(keys):
            places.setdefault(key, []).append((number, at))
    expected = [places.get(key, []) for key in local]
    assert list(zip(file.tolist(), row.tolist(), strict=True)) == [
        held[0] if held else (-1, -1) for held in expected
    ]
    assert repeated.tolist() == [len(held) > 1 for held in expected]
    assert (file.dtype, row.dtype, repeated.dtype) == (np.int32, np.int64, np.bool_)


def repeats_of(keys) -> int:
    """How many keys stand in more than one row."""
    return sum(1 for key in set(keys) if keys.count(key) > 1)


def sorted_join(local: Keys, parent: Keys) -> np.ndarray:
    """The parent row of each local key, -1 where there is none, by sorting; keys are unique."""

    def record(keys):
        names = [("run", "u4"), ("lumi", "u4"), ("event", "u8")]
        out = np.empty(len(keys), names)
        out["run"], out["lumi"], out["event"] = keys.run, keys.lumi, keys.event
        return out

    mine, other = record(local), record(parent)
    order = np.argsort(other, order=["run", "lumi", "event"])
    at = np.minimum(np.searchsorted(other[order], mine), len(other) - 1)
    return np.where(other[order][at] == mine, order[at], -1)


def blocks(rng: np.random.Generator, rows: int, gap: int, disorder: int) -> Keys:
    """Unique keys in blocks of about 100 rows.

    Args:
        rng: where chance comes from.
        rows: how many.
        gap: event numbers lie up to this far apart.
        disorder: how far a row may stand from where it belongs in its block.
    """
    block = np.sort(rng.integers(0, max(1, rows // 100), rows))
    event = np.cumsum(rng.integers(1, gap + 1, rows, np.uint64), dtype=np.uint64)
    order = np.lexsort((np.arange(rows) + rng.integers(0, disorder + 1, rows), block))
    return Keys((1 + block % 2).astype("u4"), (block // 2).astype("u4"), event)[order]
