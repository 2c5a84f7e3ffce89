"""Generated inputs with the structure of real ones: luminosity blocks, many files, jagged content.

Everything follows from a seed. Knows no ROOT file; what needs files takes them from the demo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from columnservice.model import Keys, Ragged, plain

EVENTS_PER_BLOCK = 500
PARENT_FILES = 8
# Of each block, the local file lacks some events (its own filters), and a few blocks have no
# parent (a parent file that was lost).
KEPT, FOUND = 0.95, 0.995


@dataclass(frozen=True)
class Sample:
    """A local file and its parents: EventKeys in row order."""

    local: Keys
    parents: tuple[Keys, ...]


def _keys(block: NDArray[np.int64], event: NDArray[np.uint64]) -> Keys:
    """Two runs of data; block numbers count within the run."""
    half = int(block.max(initial=0)) // 2 + 1
    run = np.where(block < half, 362_104, 362_105).astype(np.uint32)
    return Keys(run, (block % half + 1).astype(np.uint32), event)


def blocks_of(events: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sizes of luminosity blocks that hold this many events together."""
    sizes = np.maximum(1, rng.poisson(EVENTS_PER_BLOCK, events // EVENTS_PER_BLOCK * 2 + 8))
    ends = np.cumsum(sizes)
    last = int(np.searchsorted(ends, events))
    sizes = sizes[: last + 1].copy()
    sizes[-1] -= int(ends[last]) - events
    return sizes


def natural(events: int, gap: int = 8, disorder: int = 8, seed: int = 1) -> Sample:
    """Both in the order in which events were made, within blocks; blocks in an order of their own.

    Args:
        events: of the local file.
        gap: event numbers of a block lie up to this far apart: filters and triggers took some.
        disorder: how far a row may stand from where it belongs. Jobs with several threads write
            events when they are done, on both sides in another order; 0 for ascending numbers.
        seed: another seed, another sample.
    """
    rng = np.random.default_rng(seed)
    sizes = blocks_of(int(events / KEPT), rng)
    block = np.repeat(np.arange(len(sizes)), sizes)
    event = np.cumsum(rng.integers(1, gap + 1, len(block)), dtype=np.uint64)
    keys = _keys(block, event)
    order = rng.permutation(len(sizes))
    lost = rng.random(len(sizes)) > FOUND
    files = rng.integers(0, PARENT_FILES, len(sizes))
    rows = _written(block, order, disorder, rng)
    parents = tuple(
        keys[rows[(files[block[rows]] == number) & ~lost[block[rows]]]]
        for number in range(PARENT_FILES)
    )
    rows = _written(block, rng.permutation(len(sizes)), disorder, rng)
    kept = np.sort(rng.choice(len(rows), min(events, len(rows)), replace=False))
    return Sample(keys[rows[kept]], parents)


def _written(
    block: NDArray[np.int64], order: NDArray[np.int64], disorder: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """All rows, blocks in some order, rows in a block nearly in order."""
    place = np.arange(len(block)) + rng.integers(0, disorder + 1, len(block))
    return np.lexsort((place, np.argsort(order)[block]))


def shuffled(events: int, gap: int = 8, seed: int = 1) -> Sample:
    """The same events; the rows of every file in a random order."""
    sample = natural(events, gap, 0, seed)
    rng = np.random.default_rng(seed + 1)
    return Sample(
        sample.local[rng.permutation(len(sample.local))],
        tuple(keys[rng.permutation(len(keys))] for keys in sample.parents),
    )


def jagged(events: int, items_per_event: int, seed: int = 1) -> Ragged:
    """A float32 field of a collection, Poisson numbers of objects an event."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(items_per_event, events)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return plain(rng.random(int(offsets[-1]), np.float32), offsets)
