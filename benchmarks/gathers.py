"""Gathering jagged rows into local order: against memcpy, and against awkward.

One column of float32, at least 50 objects an event. ``natural``: the order of the parent, as the
reader hands over the wanted rows of files in equal order; ``blocks``: luminosity blocks in another
order; ``shuffled``: every row elsewhere. All sides make a new array, one thread each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs import blocks_of, jagged
from benchmarks.measure import Options, Row, compare
from columnservice.alignment.gather import gather
from columnservice.model import Ragged

Take = NDArray[np.int64]


def rows(options: Options) -> Iterator[Row]:
    """The rows ``gather-natural``, ``gather-blocks`` and ``gather-shuffled``."""
    events, items = options.size("gather_events"), options.size("gather_items")
    parent = jagged(events, items)
    natural = np.arange(events)
    note = f"{items} objects an event"
    if options.wants("gather-natural/memcpy"):
        yield compare(
            options,
            "gather-natural/memcpy",
            ours=_ours(parent, natural),
            peers={"memcpy": parent.values.copy},
            same=lambda ours, peer: np.array_equal(ours.values, peer),
            input_bytes=parent.values.nbytes,
            note=note,
        )
    rng = np.random.default_rng(2)
    for name, take in (
        ("gather-blocks/awkward", in_blocks(events, rng)),
        ("gather-shuffled/awkward", rng.permutation(events)),
    ):
        if options.wants(name):
            yield compare(
                options,
                name,
                ours=_ours(parent, take),
                peers={"awkward": _awkward(parent, take)},
                same=_same,
                input_bytes=parent.values.nbytes,
                note=note,
            )


def in_blocks(events: int, rng: np.random.Generator) -> Take:
    """All rows, luminosity blocks in another order."""
    edges = np.concatenate(([0], np.cumsum(blocks_of(events, rng))))
    order = rng.permutation(len(edges) - 1)
    return np.concatenate([np.arange(edges[b], edges[b + 1]) for b in order])


def _ours(parent: Ragged, take: Take) -> Callable[[], Ragged]:
    file = np.zeros(len(take), np.int32)
    return lambda: gather([parent], file, take)


def _awkward(parent: Ragged, take: Take) -> Callable[[], ak.Array]:
    content = ak.contents.NumpyArray(parent.values)
    array = ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(parent.offsets[0]), content))
    return lambda: ak.to_packed(array[take])


def _same(ours: Ragged, peer: ak.Array) -> bool:
    counts = np.array_equal(np.diff(ours.offsets[0]), ak.num(peer).to_numpy())
    return counts and np.array_equal(ours.values, ak.flatten(peer).to_numpy())
