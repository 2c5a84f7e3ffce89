"""What a match gives: parent objects' values and places on the local objects, and distances.

Knows plain arrays; neither files nor what the objects are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.alignment.gather import gather
from columnservice.model import Ragged


def places_of(index: Ragged, counts: Ragged) -> NDArray[np.int64]:
    """Flat positions of the matched objects in the parent's arrays; -1 where there is no match.

    Args:
        index: of ``match``.
        counts: any parent Ragged whose outermost axis is that of the parent's objects.
    """
    starts = np.repeat(counts.offsets[0][:-1], np.diff(index.offsets[0]))
    places = index.values.astype(np.int64)
    return np.where(places >= 0, starts + places, -1)


def distance(
    index: Ragged, eta: Ragged, phi: Ragged, other_eta: Ragged, other_phi: Ragged
) -> Ragged:
    """float32 dR between local objects and what they match; NaN where there is no match."""
    places = places_of(index, other_eta)
    held = places >= 0
    out = np.full(len(places), np.nan, np.float32)
    to = places[held]
    turn = phi.values[held].astype(np.float64) - other_phi.values[to].astype(np.float64)
    turn = np.abs(np.remainder(turn + np.pi, 2 * np.pi) - np.pi)
    rise = eta.values[held].astype(np.float64) - other_eta.values[to].astype(np.float64)
    out[held] = np.hypot(rise, turn)
    return Ragged(index.offsets, {"": out})


def take_matched(index: Ragged, values: Ragged) -> Ragged:
    """A parent object's values for each local object that matches one.

    Returns:
        Ragged of the local objects' shape; where there is no match: NaN; for whole numbers the
        smallest of their type (unsigned: the largest); False; an empty list.
    """
    places = places_of(index, values)
    held = places >= 0
    if values.depth > 1:
        part_of = np.where(held, 0, -1).astype(np.int32)
        inner = gather([Ragged(values.offsets[1:], values.content)], part_of, places)
        return Ragged((*index.offsets, *inner.offsets), inner.content)
    content = {}
    for member, array in values.content.items():
        content[member] = np.full(len(places), nothing(array.dtype), array.dtype)
        content[member][held] = array[places[held]]
    return Ragged(index.offsets, content)


def nothing(dtype: np.dtype[Any]) -> Any:
    """What stands where an object has no match."""
    if dtype.kind == "f":
        return dtype.type(np.nan)
    if dtype.kind == "b":
        return False
    return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


def renumbered(places: Ragged, index: Ragged) -> Ragged:
    """Places in the local collection, from places in the parent's.

    What the parent says by numbers (the constituents of a jet) means its own collection; where
    local files hold a selection of that, the numbers are others.

    Args:
        places: int, of depth 1 or 2: places within the parent's event, negative for none.
        index: int, of depth 1, for the same events: which parent object each local one is, -1 for
            none; no two are the same.

    Returns:
        int32 of the shape of ``places``; -1 where no local object is the parent's.
    """
    events = np.arange(len(index))
    bounds = places.offsets[0]
    for inner in places.offsets[1:]:
        bounds = inner[bounds]
    event = np.repeat(events, np.diff(bounds))
    starts = index.offsets[0]
    owner = np.repeat(events, np.diff(starts))
    own = np.arange(int(starts[-1])) - np.repeat(starts[:-1], np.diff(starts))
    held = index.values >= 0
    wanted = places.values.astype(np.int64)
    width = 1 + max(wanted.max(initial=0), int(index.values.max(initial=0)))
    known = owner[held] * width + index.values[held]
    order = np.argsort(known)
    known, own = known[order], own[held][order]
    asked = event * width + wanted
    at = np.searchsorted(known, asked)
    found = (wanted >= 0) & (at < len(known))
    found[found] = known[at[found]] == asked[found]
    values = np.full(len(wanted), -1, np.int32)
    values[found] = own[at[found]]
    return Ragged(places.offsets, {"": values})
