"""Join and gather against pandas and awkward; every peer must give the same answer first."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import awkward as ak
import numpy as np
import pandas as pd

from columnservice.alignment.gather import gather
from columnservice.alignment.takeindex import join
from columnservice.model import Keys, plain


@dataclass(frozen=True)
class Row:
    """One comparison: ``ratio`` is the peer's time over ours, with its smallest and largest."""

    name: str
    ratio: float
    low: float
    high: float
    seconds: float
    peer_seconds: float


def compare(
    name: str, ours: Callable[[], object], peer: Callable[[], object], repeats: int = 7
) -> Row:
    """Run both in turn, after one warm-up each."""
    ours(), peer()
    mine, other = [], []
    for _ in range(repeats):
        for run, times in ((ours, mine), (peer, other)):
            begun = time.perf_counter()
            run()
            times.append(time.perf_counter() - begun)
    ratios = [b / a for a, b in zip(mine, other, strict=True)]
    middle = statistics.median(ratios)
    return Row(
        name,
        middle,
        min(ratios),
        max(ratios),
        statistics.median(mine),
        statistics.median(other),
    )


def events(count: int, seed: int = 1) -> Keys:
    """Keys of simulated events: one run, 500 events in each luminosity block."""
    number = np.random.default_rng(seed).permutation(count).astype(np.uint64)
    lumi = (np.arange(count) // 500 + 1).astype(np.uint32)
    return Keys(np.ones(count, np.uint32), lumi, number)


def join_shuffled(count: int) -> Row:
    """A hash join of shuffled events against ``pandas.merge``."""
    parent = events(count)
    local = parent[np.random.default_rng(2).permutation(count)]
    frame = pd.DataFrame(
        {"run": parent.run, "lumi": parent.lumi, "event": parent.event, "row": np.arange(count)}
    )
    mine = pd.DataFrame({"run": local.run, "lumi": local.lumi, "event": local.event})

    def peer() -> pd.Series:
        return mine.merge(frame, on=["run", "lumi", "event"], how="left")["row"]

    assert np.array_equal(join(local, [parent])[1], peer().to_numpy())
    return compare("join-shuffled/pandas", lambda: join(local, [parent]), peer)


def gather_shuffled(count: int) -> Row:
    """Jagged rows in another order against ``ak.to_packed(array[take])``."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(50, count // 10)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    values = rng.normal(size=int(offsets[-1])).astype(np.float32)
    take = rng.permutation(len(counts)).astype(np.int64)
    array, file = ak.unflatten(values, counts), np.zeros(len(counts), np.int32)

    def ours() -> object:
        return gather([plain(values, offsets)], file, take)

    def peer() -> object:
        return ak.to_packed(array[take])

    assert np.array_equal(ours().values, ak.flatten(peer()).to_numpy())
    return compare("gather-shuffled/awkward", ours, peer)


BENCHMARKS = {"join-shuffled": join_shuffled, "gather-shuffled": gather_shuffled}
