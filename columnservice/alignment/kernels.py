"""The compiled inner loops of alignment: join, ragged copy. Plain arrays in, plain arrays out.

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

_U8 = types.Array(types.uint64, 1, "C", readonly=True)
_I4 = types.Array(types.int32, 1, "C", readonly=True)
_I8 = types.Array(types.int64, 1, "C", readonly=True)
_I8_OUT = types.Array(types.int64, 1, "C")
_BOOL_OUT = types.Array(types.boolean, 1, "C")


@numba.njit(types.uint64(types.uint64, types.uint64), cache=True, inline="always")
def _spread(run_lumi, event):  # type: ignore[no-untyped-def]
    """A hash whose low bits differ for neighbouring events (SplitMix64 finaliser)."""
    h = run_lumi * np.uint64(0x9E3779B97F4A7C15) ^ event
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@numba.njit(types.void(_U8, _U8, _I8_OUT, _BOOL_OUT), cache=True, nogil=True)
def build_table(run_lumi, event, table, repeated):  # type: ignore[no-untyped-def]
    """Enter keys into an open-addressing table: ``table[slot]`` is a row, or ABSENT.

    Args:
        run_lumi, event: the keys, uint64; ``run << 32 | lumi``.
        table: int64, filled with ABSENT, a power of two long and longer than the keys.
        repeated: bool per key row, filled with False; set where a row's key stands again later.
    """
    mask = np.uint64(len(table) - 1)
    for i in range(len(event)):
        slot = _spread(run_lumi[i], event[i]) & mask
        while table[slot] != ABSENT:
            j = table[slot]
            if run_lumi[j] == run_lumi[i] and event[j] == event[i]:
                repeated[j] = True
                break
            slot = (slot + np.uint64(1)) & mask
        else:
            table[slot] = i


@numba.njit(types.void(_U8, _U8, _I8, _U8, _U8, _I8_OUT), cache=True, nogil=True)
def probe_table(run_lumi, event, table, parent_run_lumi, parent_event, row):  # type: ignore[no-untyped-def]
    """``row[i]`` becomes the first parent row with the key of local row i, or ABSENT."""
    mask = np.uint64(len(table) - 1)
    for i in range(len(event)):
        slot = _spread(run_lumi[i], event[i]) & mask
        found = ABSENT
        while table[slot] != ABSENT:
            j = table[slot]
            if parent_run_lumi[j] == run_lumi[i] and parent_event[j] == event[i]:
                found = j
                break
            slot = (slot + np.uint64(1)) & mask
        row[i] = found


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
