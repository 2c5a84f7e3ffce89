"""How well objects match: counts and a histogram of distances, which add up over files.

Knows plain arrays; neither files nor what the objects are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from columnservice.model import Ragged

PER_DECADE = 10
EDGES = 10.0 ** (np.arange(-6 * PER_DECADE, 1) / PER_DECADE)
"""Upper edges of the bins of dR, from 1e-6 to 1; the first bin holds everything below."""
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class MatchCounts:
    """How many sampled objects of a local collection match one of the parent.

    Attributes:
        local, parent: the collections.
        objects: local objects that were looked at, in events with a parent.
        matched, ambiguous: how many of them have a match, or several candidates and so none.
        distances: number of matches per bin of dR (``EDGES``).
        problem: why nothing could be compared; empty where it could.
    """

    local: str
    parent: str
    objects: int
    matched: int
    ambiguous: int
    distances: tuple[int, ...]
    problem: str = ""


def count(local: str, parent: str, index: Ragged, ambiguous: Ragged, far: Ragged) -> MatchCounts:
    """Counts of one collection.

    Args:
        local, parent: the collections.
        index, ambiguous, far: of the local objects: match, doubt and dR.
    """
    held = index.values >= 0
    bins = np.searchsorted(EDGES, far.values[held].astype(np.float64))
    histogram = np.bincount(np.minimum(bins, len(EDGES) - 1), minlength=len(EDGES))
    doubts = int(ambiguous.values.sum())
    told = tuple(int(n) for n in histogram)
    return MatchCounts(local, parent, len(held), int(held.sum()), doubts, told)


def added(found: Sequence[MatchCounts]) -> MatchCounts:
    """The sum of several samples of one collection; the first problem is kept."""
    first = found[0]
    histograms = [np.array(f.distances, np.int64) for f in found if f.distances]
    total = np.sum(histograms, axis=0) if histograms else np.zeros(0, np.int64)
    return MatchCounts(
        first.local,
        first.parent,
        sum(f.objects for f in found),
        sum(f.matched for f in found),
        sum(f.ambiguous for f in found),
        tuple(int(n) for n in total),
        next((f.problem for f in found if f.problem), ""),
    )


def quantiles(found: MatchCounts) -> dict[str, float]:
    """dR below which 50, 90 and 99 % of the matches lie, to within a bin; empty without any."""
    if not found.matched:
        return {}
    shares = np.cumsum(found.distances) / found.matched
    places = [int(np.searchsorted(shares, q)) for q in QUANTILES]
    edges = [float(EDGES[min(place, len(EDGES) - 1)]) for place in places]
    return {f"{100 * q:g}%": round(e, 9) for q, e in zip(QUANTILES, edges, strict=True)}
