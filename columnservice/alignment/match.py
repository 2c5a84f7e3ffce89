"""Matching the objects of two collections of the same events, by direction and momentum.

In each event every pair of a local and a parent object is a candidate whose distance
dR = √(Δη² + Δφ²) is at most ``max_dr``, whose momenta have a ratio within the window, and whose
labels are equal. Candidates are taken by growing dR, those of one local object or one parent object
no more than once: the pairs that are left are one-to-one. Pairs of equal dR are taken in order of
the local object, then of the parent object, so the result depends on nothing else.

A pair is *ambiguous* where another candidate of its local object, or another one of its parent
object, is comparably close: dR at most ``comparable`` times that of the pair, or at most
``resolution``, within which stored directions cannot tell objects apart. A local object that has
candidates, but lost all of them to others, is ambiguous too. Ambiguous objects have no match: it
would be a guess.

Where a local object says itself which parent object it is (``alignment.claims``), and that one is a
candidate, they are taken first and are in no doubt. Without the window a link would be believed
that counts objects of another file, in which fewer were kept. Local objects that say they are the
same one are ambiguous, and it is nobody's.

Knows plain arrays; neither files nor what the objects are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TypeAlias

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from columnservice.errors import CountsMismatch
from columnservice.formats.matches import COMPARABLE
from columnservice.model import Ragged

_Doubles: TypeAlias = NDArray[np.float64]

_F8 = types.Array(types.float64, 1, "C", readonly=True)
_I8 = types.Array(types.int64, 1, "C", readonly=True)
_SIDE = (_F8, _F8, _F8, _I8)
_F8_NEW, _I8_NEW = types.float64[::1], types.int64[::1]
_SORTED = types.Tuple((_I8_NEW, _F8_NEW))  # type: ignore[no-untyped-call]
_NEAR = types.Tuple((_I8_NEW, _I8_NEW, _F8_NEW))  # type: ignore[no-untyped-call]
_OUT = (types.Array(types.int32, 1, "C"), types.Array(types.boolean, 1, "C"))


@dataclass(frozen=True)
class Window:
    """Which pairs are candidates.

    Attributes:
        max_dr: the largest distance in (η, φ).
        pt_low, pt_high: the smallest and largest ratio of parent pt to local pt; 0 and infinity
            for any.
        resolution: distance below which two candidates cannot be told apart.
        comparable: how many times as far as the nearest another candidate leaves no doubt.
    """

    max_dr: float
    pt_low: float = 0.0
    pt_high: float = math.inf
    resolution: float = 0.0
    comparable: float = COMPARABLE


@numba.njit(types.float64(*[types.float64] * 4), cache=True, nogil=True)
def _distance(eta, phi, other_eta, other_phi):  # type: ignore[no-untyped-def]
    """dR of two directions; phi wraps."""
    turn = abs(phi - other_phi) % (2.0 * math.pi)
    return math.hypot(eta - other_eta, min(turn, 2.0 * math.pi - turn))


@numba.njit(types.boolean(*[types.float64] * 4), cache=True, nogil=True)
def _in_window(pt, other_pt, low, high):  # type: ignore[no-untyped-def]
    """Whether the ratio of two momenta is within a window; an endless one takes also NaN."""
    if low <= 0.0 and high == math.inf:
        return True
    return pt * low <= other_pt <= pt * high


@numba.njit(_SORTED(_F8, _F8, types.int64, types.int64), cache=True, nogil=True)
def _by_eta(eta, phi, first, stop):  # type: ignore[no-untyped-def]
    """The objects of one event that have a direction, in order of eta, and their eta."""
    places = np.empty(stop - first, np.int64)
    count = 0
    for j in range(first, stop):
        if math.isfinite(eta[j]) and math.isfinite(phi[j]):
            places[count] = j
            count += 1
    places = places[:count]
    places = places[np.argsort(eta[places], kind="mergesort")]
    return places, eta[places]


@numba.njit(
    _NEAR(types.int64, types.int64, *_SIDE, *_SIDE, _F8, _I8_NEW, _F8_NEW),
    cache=True,
    nogil=True,
)  # fmt: skip
def _candidates(  # type: ignore[no-untyped-def]
    first, stop, eta, phi, pt, label, other_eta, other_phi, other_pt, other_label,
    window, places, sorted_eta,
):  # fmt: skip
    """Local object, parent object and dR of all candidates of an event, in this order of objects.

    Args:
        first, stop: its local objects.
        window: max_dr, pt_low, pt_high.
        places, sorted_eta: its parent objects; only those in a strip of eta are looked at.
    """
    max_dr = window[0]
    mine, other = np.empty(64, np.int64), np.empty(64, np.int64)
    far = np.empty(64, np.float64)
    pairs = 0
    for i in range(first, stop):
        begin = pairs
        for k in range(np.searchsorted(sorted_eta, eta[i] - max_dr), len(places)):
            j = places[k]
            if not sorted_eta[k] <= eta[i] + max_dr:
                break
            distance = _distance(eta[i], phi[i], other_eta[j], other_phi[j])
            same = label[i] == other_label[j] and distance <= max_dr
            if not (same and _in_window(pt[i], other_pt[j], window[1], window[2])):
                continue
            if pairs == len(mine):
                mine = np.concatenate((mine, np.empty_like(mine)))
                other = np.concatenate((other, np.empty_like(other)))
                far = np.concatenate((far, np.empty_like(far)))
            at = pairs
            while at > begin and other[at - 1] > j:
                other[at], far[at] = other[at - 1], far[at - 1]
                at -= 1
            mine[pairs], other[at], far[at] = i, j, distance
            pairs += 1
    return mine[:pairs], other[:pairs], far[:pairs]


@numba.njit(
    types.void(*[_I8_NEW] * 2, types.int64, _I8, _I8_NEW, _F8_NEW, *_OUT),
    cache=True,
    nogil=True,
)
def _believe(mine, other, other_first, claim, taken, held, index, ambiguous):  # type: ignore[no-untyped-def]
    """Take the candidates of one event that local objects say they are, before all others.

    Args:
        claim: per local object the parent object, counted within the event, that it says it is.
        taken, held: of ``_settle``; what is claimed is nobody else's.
    """
    claims = np.zeros(len(taken), np.int64)
    for n in range(len(mine)):
        if claim[mine[n]] == other[n] - other_first:
            claims[claim[mine[n]]] += 1
    for n in range(len(mine)):
        i, j = mine[n], other[n] - other_first
        if claim[i] == j:
            taken[j], held[j] = i, -1.0
            if claims[j] == 1:
                index[i] = j
            else:
                ambiguous[i] = True


@numba.njit(
    types.void(*[_I8_NEW] * 2, _F8_NEW, *[types.int64] * 2, _F8, _I8, *_OUT),
    cache=True,
    nogil=True,
)
def _settle(mine, other, far, other_first, others, window, claim, index, ambiguous):  # type: ignore[no-untyped-def]
    """Take candidates of one event by growing dR; take back those that are in doubt.

    Args:
        window: max_dr, pt_low, pt_high, resolution, comparable.
        claim: of ``_believe``.
    """
    resolution, comparable = window[3], window[4]
    taken = np.full(others, -1, np.int64)
    # What other candidates are held against: the distance of the pair that was taken.
    held = np.full(others, math.inf)
    _believe(mine, other, other_first, claim, taken, held, index, ambiguous)
    for n in np.argsort(far, kind="mergesort"):
        i, j = mine[n], other[n] - other_first
        if index[i] < 0 and taken[j] < 0 and not ambiguous[i]:
            index[i], taken[j], held[j] = j, i, far[n]
    for n in range(len(mine)):
        i, j = mine[n], other[n] - other_first
        if held[j] < 0.0 or (index[i] >= 0 and held[index[i]] < 0.0):
            continue  # one of them is known to be another's
        if index[i] < 0:
            ambiguous[i] = True
        elif index[i] != j:
            ambiguous[i] |= far[n] <= max(comparable * held[index[i]], resolution)
        if taken[j] >= 0 and taken[j] != i:
            ambiguous[taken[j]] |= far[n] <= max(comparable * held[j], resolution)
    for i in mine:
        if ambiguous[i]:
            index[i] = -1


@numba.njit(
    types.void(_I8, *_SIDE, _I8, *_SIDE, _F8, _I8, *_OUT),
    cache=True,
    nogil=True,
)
def _match(  # type: ignore[no-untyped-def]
    offsets, eta, phi, pt, label, other_offsets, other_eta, other_phi, other_pt, other_label,
    window, claim, index, ambiguous,
):  # fmt: skip
    """``index[i]`` becomes the parent object of local object i, counted within its event, or -1.

    Args:
        window: max_dr, pt_low, pt_high, resolution, comparable.
    """
    for event in range(len(offsets) - 1):
        first, stop = offsets[event], offsets[event + 1]
        begin, end = other_offsets[event], other_offsets[event + 1]
        if first == stop or begin == end:
            continue
        places, sorted_eta = _by_eta(other_eta, other_phi, begin, end)
        mine, other, far = _candidates(
            first, stop, eta, phi, pt, label, other_eta, other_phi, other_pt, other_label,
            window, places, sorted_eta,
        )  # fmt: skip
        _settle(mine, other, far, begin, end - begin, window, claim, index, ambiguous)


@dataclass(frozen=True)
class Objects:
    """The objects of one collection.

    Attributes:
        eta, phi, pt: of depth 1; phi in rad.
        labels: whole numbers of depth 1 that must be equal for objects to be the same.
        link: for local objects, the place within its event of the parent object that each says it
            is, -1 for none; of depth 1 (``alignment.claims``). None where they do not say.
    """

    eta: Ragged
    phi: Ragged
    pt: Ragged
    labels: tuple[Ragged, ...] = ()
    link: Ragged | None = None

    def __post_init__(self) -> None:
        for other in (self.phi, self.pt, *self.labels, *((self.link,) if self.link else ())):
            if not np.array_equal(self.eta.offsets[0], other.offsets[0]):
                raise CountsMismatch("Columns of one collection hold different numbers of objects.")


def match(local: Objects, parent: Objects, window: Window) -> tuple[Ragged, Ragged]:
    """For each local object the parent object that it is, and whether that is in doubt.

    Args:
        local, parent: of the same events, in the same order, with as many labels.
        window: which pairs are candidates.

    Returns:
        int32: the parent object's place within its event, -1 where there is none or it is in doubt;
        bool: whether it is in doubt. Both of the local objects' shape.
    """
    offsets = local.eta.offsets[0]
    index = np.full(int(offsets[-1]), -1, np.int32)
    ambiguous = np.zeros(len(index), np.bool_)
    labels, other_labels = _labels(local.labels, parent.labels, local, parent)
    claim = np.full(len(index), -1) if local.link is None else local.link.values.astype(np.int64)
    numbers = np.array(astuple(window))
    _match(
        offsets, *_numbers(local), labels,
        parent.eta.offsets[0], *_numbers(parent), other_labels,
        numbers, claim, index, ambiguous,
    )  # fmt: skip
    return Ragged((offsets,), {"": index}), Ragged((offsets,), {"": ambiguous})


def _numbers(objects: Objects) -> tuple[_Doubles, _Doubles, _Doubles]:
    eta, phi, pt = (
        np.ascontiguousarray(ragged.values, np.float64)
        for ragged in (objects.eta, objects.phi, objects.pt)
    )
    return eta, phi, pt


def _labels(
    mine: Sequence[Ragged], theirs: Sequence[Ragged], local: Objects, parent: Objects
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One number per object, equal where all labels are."""
    split = len(local.eta.values)
    both = np.zeros(split + len(parent.eta.values), np.int64)
    for one, other in zip(mine, theirs, strict=True):
        values = np.concatenate([one.values.astype(np.int64), other.values.astype(np.int64)])
        # Numbered anew with each label, so that they cannot run over.
        pairs = np.stack([both, np.unique(values, return_inverse=True)[1]])
        both = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.ascontiguousarray(both[:split]), np.ascontiguousarray(both[split:])
