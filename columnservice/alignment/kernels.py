"""The compiled inner loops of ragged copies. Plain arrays in, plain arrays out.

Every kernel has an explicit signature, so it is compiled when this module is imported (or loaded
from Numba's cache) and never inside a request. Inputs are declared read-only, which accepts both
memory-mapped and ordinary arrays. Knows no files and no formats.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

ABSENT = -1

_I8 = types.Array(types.int64, 1, "C", readonly=True)
_I8_OUT = types.Array(types.int64, 1, "C")


@numba.njit(types.void(_I8, _I8, _I8, _I8_OUT), cache=True, nogil=True)
def place_counts(offsets, source, target, counts):  # type: ignore[no-untyped-def]
    """``counts[target[k]] = number of items in row source[k]`` of a ragged array."""
    for k in range(len(source)):
        counts[target[k]] = offsets[source[k] + 1] - offsets[source[k]]


@numba.njit(types.void(_I8, _I8, _I8, _I8, _I8_OUT), cache=True, nogil=True)
def place_items(offsets, source, target, out_offsets, items):  # type: ignore[no-untyped-def]
    """Item numbers: the items of row ``source[k]`` go, in order, to output row ``target[k]``."""
    for k in range(len(source)):
        at = out_offsets[target[k]]
        for item in range(offsets[source[k]], offsets[source[k] + 1]):
            items[at] = item
            at += 1


def _copy_rows(offsets, content, source, target, out_offsets, out):  # type: ignore[no-untyped-def]
    for k in range(len(source)):
        at = out_offsets[target[k]]
        for item in range(offsets[source[k]], offsets[source[k] + 1]):
            out[at] = content[item]
            at += 1


_WORDS = (types.uint8, types.uint16, types.uint32, types.uint64)
_copy_rows_words = numba.njit(
    [
        types.void(
            _I8, types.Array(w, 1, "C", readonly=True), _I8, _I8, _I8, types.Array(w, 1, "C")
        )
        for w in _WORDS
    ],
    cache=True,
    nogil=True,
)(_copy_rows)


def copy_rows(
    offsets: NDArray[np.int64],
    content: NDArray[Any],
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    out_offsets: NDArray[np.int64],
    out: NDArray[Any],
) -> None:
    """Copy the items of row ``source[k]`` to row ``target[k]`` of the output, for every k.

    Args:
        offsets: int64, rows + 1, of the source.
        content: its flat items, any dtype of 1, 2, 4 or 8 bytes; moved as words of that size.
        source, target: int64, row numbers.
        out_offsets: int64, of the output; each target row has room for its items.
        out: flat items of the output, same dtype as ``content``.
    """
    word = np.dtype(f"u{content.dtype.itemsize}")
    _copy_rows_words(offsets, content.view(word), source, target, out_offsets, out.view(word))
