"""Awkward layouts as Ragged: nested int64 offsets from 0 around flat, contiguous, native arrays.

Knows Awkward's layout classes; nothing of files or columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.model import Offsets, Ragged


def native(values: NDArray[Any]) -> NDArray[Any]:
    """The same values, contiguous and in the machine's byte order; copied only where needed."""
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))


def _lists(layout: Any) -> tuple[Offsets, Any]:
    """Offsets of a list layout, starting at 0, and the content that they cover."""
    compact = layout.to_ListOffsetArray64(True)
    offsets = native(np.asarray(compact.offsets.data, dtype=np.int64))
    return offsets, compact.content[: int(offsets[-1])]


def ragged_from_layout(layout: Any) -> Ragged:
    """A layout of numbers, or of flat records of numbers, below any number of list axes.

    Args:
        layout: an ``awkward.contents.Content`` (``array.layout``); regular dimensions count as
            jagged axes. A record of lists is not accepted.

    Raises:
        TypeError: for strings, options, unions and anything else that is not numbers.
    """
    if layout.parameter("__array__") in ("string", "bytestring"):
        raise TypeError("not numbers in lists: text")
    if layout.is_indexed and not layout.is_option:
        layout = layout.project()
    if layout.is_numpy and layout.data.ndim > 1:
        layout = layout.to_RegularArray()
    if layout.is_list:
        outer, content = _lists(layout)
        inner = ragged_from_layout(content)
        return Ragged((outer, *inner.offsets), inner.content)
    if layout.is_record:
        members = {name: ragged_from_layout(layout[name]) for name in layout.fields}
        if any(m.offsets or "" not in m.content for m in members.values()):
            raise TypeError("not numbers in lists: a record of lists or records")
        return Ragged((), {name: m.values for name, m in members.items()})
    if not layout.is_numpy:
        raise TypeError(f"not numbers in lists: {type(layout).__name__}")
    return Ragged((), {"": native(np.asarray(layout.data))})
