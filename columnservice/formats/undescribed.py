"""Objects of a class that a file never wrote: read as none, refused where there are some.

ROOT describes a class in a file (StreamerInfo) once an object of it is written there. A file whose
events have no boosted tau has the branch of boosted taus, holding nothing but empty vectors, and
cannot tell what members they would have. Other files of its dataset can (``catalogue.layouts``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import DamagedFile
from columnservice.formats.streamed import FIRST_EVENTS, ONE, absent
from columnservice.formats.tables import Parameters
from columnservice.model import Offsets, Ragged, plain

_COUNTED, _MEMBERWISE = 0x40000000, 0x4000
_HEADER, _WITH_VERSION, _WITH_CHECKSUM, _COUNT = 6, 8, 12, 4


def no_objects(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """What members of objects are where there is no object.

    Args:
        inputs: bytes of unsplit vectors; and, where these are members of objects, any member of
            those objects.
        parameters: the type of the values, with their depth (0: the numbers of objects); ``ONE``
            for vectors of at most one object: then each object of the second input has what stands
            for none.

    Raises:
        DamagedFile: a row holds objects.
    """
    ((dtype, depth),) = ((name, int(d)) for name, d in parameters.items() if name != ONE)
    outer = inputs[1].offsets[0] if len(inputs) > 1 else None
    row = _first_held(inputs[0], outer)
    if row >= 0:
        raise DamagedFile(
            f"row {row} holds objects of a class that the file does not describe.",
            "Write the file anew with CMSSW, which describes what it writes.",
        )
    rows, nothing = len(inputs[0]), np.empty(0, dtype)
    if depth == 0:
        return plain(np.zeros(rows, dtype))
    if outer is None:
        inner = [np.zeros(1, np.int64)] * (depth - 1)
        return plain(nothing, np.zeros(rows + 1, np.int64), *inner)
    objects = int(outer[-1])
    if ONE in parameters:
        return plain(np.full(objects, absent(np.dtype(dtype)), dtype), outer)
    return plain(nothing, outer, np.zeros(objects + 1, np.int64))


def _first_held(raw: Ragged, outer: Offsets | None) -> int:
    """The first row that is anything but empty vectors, one per row or per object; else -1."""
    rows = len(raw)
    vectors = np.ones(rows, np.int64) if outer is None else np.diff(outer)
    if raw.depth != 1 or raw.values.dtype != np.uint8 or len(vectors) != rows:
        raise DamagedFile("bytes of objects do not belong to the same rows.")
    starts, sizes = raw.offsets[0][:-1], np.diff(raw.offsets[0])
    data = np.concatenate((raw.values, np.zeros(_WITH_CHECKSUM, np.uint8)))
    counted = _number(data, starts, 4) == (_COUNTED | np.maximum(sizes - 4, 0))
    memberwise = _number(data, starts + 4, 2) & _MEMBERWISE != 0
    summed = _number(data, starts + _HEADER, 2) == 0
    header = np.where(memberwise, np.where(summed, _WITH_CHECKSUM, _WITH_VERSION), _HEADER)
    right = counted & (sizes == header + _COUNT * vectors)
    within = np.arange(len(raw.values)) - np.repeat(starts, sizes)
    filled = (raw.values != 0) & (within >= np.repeat(header, sizes))
    right[np.repeat(np.arange(rows), sizes)[filled]] = False
    wrong = np.flatnonzero(~right)
    return int(wrong[0]) if len(wrong) else -1


def _number(data: NDArray[np.uint8], at: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Big-endian numbers at positions."""
    found = np.zeros(len(at), np.int64)
    for place in range(size):
        found = found << 8 | data[at + place]
    return found


def holds_none(branch: Any, outer: Any) -> bool:
    """Whether the first events of a branch hold no object.

    Args:
        branch: that holds the vectors.
        outer: None; or a branch with one item per object that has such a vector.
    """
    from uproot import AsDtype, AsJagged

    from columnservice.formats.ragged import ragged_from_layout

    stop = min(FIRST_EVENTS[-1], branch.num_entries)
    raw = branch.array(AsJagged(AsDtype("u1")), entry_stop=stop, library="ak")
    objects = None
    if outer is not None:
        objects = ragged_from_layout(outer.array(entry_stop=stop, library="ak").layout).offsets[0]
    try:
        return _first_held(ragged_from_layout(raw.layout), objects) < 0
    except DamagedFile:
        return False
