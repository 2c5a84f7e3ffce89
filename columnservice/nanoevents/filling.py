"""What stands where a local event has no parent: never a number that could be taken for a value.

Objects that the parent would have been matched with get what objects without a match get. Knows
Columns and plain arrays; neither files nor the service.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.model import Column, Ragged
from columnservice.nanoevents.objects import is_of_local_objects

_INDEX = re.compile(r"\wIdx(?![a-z])")
"""Marks the names of Columns that count objects of another collection, as in NanoAOD:
``Muon_jetIdx``, ``Jet_muonIdx2``, ``GenPart_genPartIdxMother``."""

_LINK_INDEX = "m_persIndex"
"""The place in another container, in a link of ATLAS."""


def fill_values(column: Column, ragged: Ragged, present: NDArray[np.bool_]) -> Ragged:
    """One item per event, with ``nothing`` where the event is absent."""
    if present.all():
        return ragged
    content = {
        member: np.where(present, values, nothing(column, values.dtype, member))
        for member, values in ragged.content.items()
    }
    return Ragged((), content)


def fill_lists(
    column: Column, ragged: Ragged, present: NDArray[np.bool_], expected: NDArray[np.int64]
) -> Ragged:
    """Lists of the expected lengths: where the event is absent, their items are ``nothing``.

    Args:
        column: whose values these are.
        ragged: lists that are empty in absent events and as long as expected in the others.
        present: which events have a parent.
        expected: lengths of the local collection.
    """
    if present.all() or not expected[~present].any():
        return ragged
    offsets = np.zeros(len(expected) + 1, dtype=np.int64)
    np.cumsum(expected, out=offsets[1:])
    real = np.repeat(present, expected)
    if ragged.depth > 1:
        counts = np.zeros(len(real), dtype=np.int64)
        counts[real] = np.diff(ragged.offsets[1])
        inner = np.zeros(len(real) + 1, dtype=np.int64)
        np.cumsum(counts, out=inner[1:])
        return Ragged((offsets, inner, *ragged.offsets[2:]), ragged.content)
    content = {}
    for member, values in ragged.content.items():
        absent = nothing(column, values.dtype, member)
        content[member] = np.full(len(real), absent, dtype=values.dtype)
        content[member][real] = values
    return Ragged((offsets,), content)


def nothing(column: Column, dtype: np.dtype[Any], member: str = "") -> Any:
    """The item of a Column in an event without a parent.

    NaN or False; of integers -1 in an index (the largest number without a sign), and for local
    objects what they have without a match: the smallest number, the largest one without a sign.
    Other integers are 0.

    Args:
        column: whose item it is.
        dtype: of the item.
        member: of the Column, where it is a record.
    """
    if dtype.kind == "f":
        return dtype.type(np.nan)
    is_index = _is_index(column.name, member)
    if dtype.kind == "i" and is_index:
        return dtype.type(-1)
    if dtype.kind in "iu" and (is_index or is_of_local_objects(column)):
        limits = np.iinfo(dtype)
        return dtype.type(limits.min if dtype.kind == "i" else limits.max)
    return dtype.type(0)


def _is_index(name: str, member: str) -> bool:
    """Whether a Column counts objects of another collection, or this member of it does."""
    return bool(_INDEX.search(name)) or _LINK_INDEX in (member, name.rpartition(".")[2])
