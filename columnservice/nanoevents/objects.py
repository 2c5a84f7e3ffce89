"""Whether the parent's objects are the local ones: the same, in the same order, event by event.

Equal numbers of objects do not show that; values that both hold do. Knows Columns by name and plain
arrays; neither files nor the service.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.model import LOCAL_PREFIX, Column, Offsets

REFERENCE_PREFIX = "parent:"
"""Begins the name of a Column that is the parent's version of a local one."""

REFERENCES_COMPARED = 2
_PREFERRED = ("eta", "phi", "pt", "mass", "m")
"""Directions first: calibrations change the others from one production to the next."""

_ABSOLUTE = 2e-3
_RELATIVE = 1e-3
"""Wider than the rounding of stored floats, narrower than what tells objects apart."""

REASON = "no column that both hold shows that the objects are the same"


def is_of_local_objects(column: Column) -> bool:
    """Whether a Column was computed for the local objects, one by one: it is theirs already."""
    return column.shape is not None and column.shape.startswith(LOCAL_PREFIX)


def local_name(reference: Column) -> str:
    """``parent:Jet_pt`` → ``Jet_pt``."""
    return reference.name.removeprefix(REFERENCE_PREFIX)


def _field(name: str) -> str:
    """``Jet_pt`` and ``AnalysisJetsAuxDyn.pt`` → ``pt``."""
    return name.partition("." if "." in name else "_")[2]


def telling(references: Iterable[Column], lists: Collection[str]) -> tuple[Column, ...]:
    """The references that are compared for a local collection, at most two.

    Args:
        references: Columns of origin ``reference``.
        lists: the collection's local branches that hold a list per event.
    """
    found = [
        r
        for r in references
        if r.support == "ok"
        and r.depth == 1
        and len(r.members) == 1
        and not r.members[0].name
        and np.dtype(r.members[0].dtype).kind == "f"
        and local_name(r) in lists
    ]
    return tuple(sorted(found, key=_rank)[:REFERENCES_COMPARED])


def _rank(reference: Column) -> int:
    field = _field(local_name(reference))
    return _PREFERRED.index(field) if field in _PREFERRED else len(_PREFERRED)


def differing_events(
    reference: Column,
    local: tuple[Offsets, NDArray[Any]],
    remote: tuple[Offsets, NDArray[Any]],
    present: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Rows whose objects are others, or in another order, or of another number.

    Args:
        reference: what is compared; angles named ``phi`` modulo 2π.
        local, remote: offsets (rows + 1) and values of the objects.
        present: rows that are compared.
    """
    (ours, mine), (theirs, other) = local, remote
    counts, arrived = np.diff(ours), np.diff(theirs)
    wrong = (counts != arrived) & present
    compared = present & ~wrong
    a = mine[np.repeat(compared, counts)].astype(np.float64)
    b = other[np.repeat(compared, arrived)].astype(np.float64)
    rows = np.repeat(np.flatnonzero(compared), counts[compared])
    with np.errstate(invalid="ignore"):
        distance = np.abs(a - b)
        if _field(local_name(reference)) == "phi":
            distance = np.abs(np.remainder(a - b + np.pi, 2 * np.pi) - np.pi)
        near = distance <= np.maximum(_ABSOLUTE, _RELATIVE * np.abs(a))
    same = np.where(np.isfinite(a) & np.isfinite(b), near, (a == b) | (np.isnan(a) & np.isnan(b)))
    wrong[rows[~same]] = True
    return np.flatnonzero(wrong)
