"""Which parent object each local object says it is, before anybody measures a distance.

Two things tell: a link to the object that it was copied from, and its place, where an event holds
all objects of the parent in the parent's order. ``alignment.match`` believes either only where the
two objects could be the same.

Knows plain arrays; neither files nor what the objects are.
"""

from __future__ import annotations

import numpy as np

from columnservice.alignment.match import Objects, Window
from columnservice.model import Ragged, plain

NOWHERE = 2**32 - 1
"""The place in a link that leads nowhere."""


def linked(keys: Ragged, places: Ragged, key: int) -> Ragged:
    """int64 place within its event of the parent object that each link leads to; -1 for none.

    Args:
        keys, places: ``m_persKey`` and ``m_persIndex`` of the links, of depth 1.
        key: of the parent's container; links with others, or with 0, do not lead there.
    """
    held = (keys.values == key) & (places.values != NOWHERE)
    return plain(np.where(held, places.values.astype(np.int64), -1), *places.offsets)


def in_order(local: Objects, parent: Objects, window: Window) -> Ragged:
    """int64 places of local objects in events that hold all the parent's, in its order; else -1.

    Such an event has as many objects as the parent's, and each could be the one at its place:
    within the window, with equal labels.
    """
    (offsets, *_), (others, *_) = local.eta.offsets, parent.eta.offsets
    counts, theirs = np.diff(offsets), np.diff(others)
    same = counts == theirs
    here, there = np.repeat(same, counts), np.repeat(same, theirs)

    def pair(mine: Ragged, other: Ragged, dtype: type) -> tuple[np.ndarray, np.ndarray]:
        return mine.values[here].astype(dtype), other.values[there].astype(dtype)

    with np.errstate(invalid="ignore", over="ignore"):
        eta, other_eta = pair(local.eta, parent.eta, np.float64)
        phi, other_phi = pair(local.phi, parent.phi, np.float64)
        pt, other_pt = pair(local.pt, parent.pt, np.float64)
        turn = np.abs(phi - other_phi) % (2 * np.pi)
        far = np.hypot(eta - other_eta, np.minimum(turn, 2 * np.pi - turn))
        near = far <= window.max_dr
        if window.pt_low > 0 or window.pt_high < np.inf:
            near &= (pt * window.pt_low <= other_pt) & (other_pt <= pt * window.pt_high)
    for mine, other in zip(local.labels, parent.labels, strict=True):
        near &= np.equal(*pair(mine, other, np.int64))
    events = np.repeat(np.arange(len(counts)), counts)
    same[events[here][~near]] = False
    place = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], counts)
    return plain(np.where(np.repeat(same, counts), place, -1), offsets)
