"""Joining keys in any order: both sides are dealt out by hash into parts that fit into a cache.

Each part is joined by a table of its local keys, so that every step but the dealing finds its
memory near. Kernels take plain arrays and have explicit signatures; see ``kernels``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from columnservice.alignment.kernels import ABSENT
from columnservice.model import Keys

# A part's keys and table (32 bytes a row) lie in half a megabyte.
ROWS_PER_PART = 8192
# A parent's place is one number: its file above its row.
FILE_SHIFT = 40

_U4 = types.Array(types.uint32, 1, "C", readonly=True)
_U8 = types.Array(types.uint64, 1, "C", readonly=True)
_I8 = types.Array(types.int64, 1, "C", readonly=True)
_I4_OUT = types.Array(types.int32, 1, "C")
_I8_OUT = types.Array(types.int64, 1, "C")
_U8_OUT = types.Array(types.uint64, 1, "C")
_BOOL_OUT = types.Array(types.boolean, 1, "C")


@numba.njit(types.uint64(types.uint64, types.uint64), cache=True, inline="always")
def _scattered(run_lumi, event):  # type: ignore[no-untyped-def]
    """A hash of a key whose bits all differ for neighbouring events (SplitMix64 finaliser)."""
    h = run_lumi * np.uint64(0x9E3779B97F4A7C15) ^ event
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@numba.njit(types.uint64(types.uint32, types.uint32), cache=True, inline="always")
def _named(run, lumi):  # type: ignore[no-untyped-def]
    return np.uint64(run) << np.uint64(32) | np.uint64(lumi)


@numba.njit(types.void(_U4, _U4, _U8, types.uint64, _I8_OUT), cache=True, nogil=True)
def count_parts(run, lumi, event, shift, counts):  # type: ignore[no-untyped-def]
    """Add to ``counts`` how many keys belong to each part: the hash's bits above ``shift``."""
    for i in range(len(event)):
        counts[_scattered(_named(run[i], lumi[i]), event[i]) >> shift] += 1


@numba.njit(
    types.void(_U4, _U4, _U8, types.uint64, types.int64, _I8_OUT, _U8_OUT, _U8_OUT, _I8_OUT),
    cache=True,
    nogil=True,
)
def deal(run, lumi, event, shift, first, cursor, block, number, place):  # type: ignore[no-untyped-def]
    """Copy keys to their parts, in row order.

    Args:
        run, lumi, event: the keys.
        shift: as for ``count_parts``.
        first: the place of row 0.
        cursor: per part, where its next key goes; counted up.
        block, number, place: written: ``run << 32 | lumi``, the event, and the row's place.
    """
    for i in range(len(event)):
        name = _named(run[i], lumi[i])
        part = _scattered(name, event[i]) >> shift
        at = np.uint64(cursor[part])
        cursor[part] += 1
        block[at] = name
        number[at] = event[i]
        place[at] = first + i


# Kernels call others once per part, never per row: handing an array over costs more than a row.


@numba.njit
def _enter(block, number, table, twice):  # type: ignore[no-untyped-def]
    """Enter a part's keys into an empty table; returns how many stand there more than once."""
    repeats = 0
    mask = np.uint64(len(table) - 1)
    for i in range(np.uint64(len(block))):
        twice[i] = False
        slot = _scattered(block[i], number[i]) & mask
        held = table[slot]
        while held != ABSENT:
            k = np.uint64(held)
            if number[k] == number[i] and block[k] == block[i]:
                repeats += not twice[k]
                twice[k] = True
                break
            slot = (slot + np.uint64(1)) & mask
            held = table[slot]
        else:
            table[slot] = i
    return repeats


@numba.njit
def _look_up(  # type: ignore[no-untyped-def]
    block, number, place, table, parent_block, parent_number, parent_place, found, repeated
):
    """Write the place of the first parent key that equals key k to ``found[k]``."""
    mask = np.uint64(len(table) - 1)
    for j in range(np.uint64(len(parent_block))):
        slot = _scattered(parent_block[j], parent_number[j]) & mask
        held = table[slot]
        while held != ABSENT:
            k = np.uint64(held)
            if number[k] == parent_number[j] and block[k] == parent_block[j]:
                if found[k] == ABSENT:
                    found[k] = parent_place[j]
                else:
                    repeated[place[k]] = True
                break
            slot = (slot + np.uint64(1)) & mask
            held = table[slot]


@numba.njit
def _share(block, number, place, table, result, repeated):  # type: ignore[no-untyped-def]
    """Give keys that stand in several rows what was found for the first of these."""
    mask = np.uint64(len(table) - 1)
    for i in range(np.uint64(len(block))):
        slot = _scattered(block[i], number[i]) & mask
        k = np.uint64(table[slot])
        while number[k] != number[i] or block[k] != block[i]:
            slot = (slot + np.uint64(1)) & mask
            k = np.uint64(table[slot])
        result[place[i]] = result[place[k]]
        repeated[place[i]] = repeated[place[k]]


@numba.njit(
    types.int64(
        _I8, _U8, _U8, _I8, _I8, _U8, _U8, _I8,
        _I4_OUT, _I8_OUT, _BOOL_OUT, _I8_OUT, _BOOL_OUT,
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def join_parts(  # type: ignore[no-untyped-def]
    starts, block, number, place, parent_starts, parent_block, parent_number, parent_place,
    table, found, twice, result, repeated,
):  # fmt: skip
    """Join both sides part by part; returns how many local keys stand in more than one row.

    Args:
        starts, block, number, place: the dealt local keys; part p lies from ``starts[p]``.
        parent_starts, parent_block, parent_number, parent_place: the dealt keys of all parents.
        table, found, twice: room for a part's local keys; the table a power of two and longer.
        result: written per local row: the place of the first parent row with its key, or ABSENT.
        repeated: per local row, filled with False; set where a second parent row has its key.
    """
    repeats = 0
    for p in range(len(starts) - 1):
        a, z, c, y = starts[p], starts[p + 1], parent_starts[p], parent_starts[p + 1]
        mine = place[a:z]
        table[:] = ABSENT
        found[:] = ABSENT
        known = _enter(block[a:z], number[a:z], table, twice)
        _look_up(
            block[a:z], number[a:z], mine, table,
            parent_block[c:y], parent_number[c:y], parent_place[c:y], found, repeated,
        )  # fmt: skip
        # Only now into local order: writes far apart, but none waits for another.
        for i in range(np.uint64(len(mine))):
            result[mine[i]] = found[i]
        if known > 0:
            _share(block[a:z], number[a:z], mine, table, result, repeated)
        repeats += known
    return repeats


@numba.njit(types.void(_I8, _I4_OUT, _I8_OUT), cache=True, nogil=True)
def split_places(place, file, row):  # type: ignore[no-untyped-def]
    """File and row of each place; ABSENT stays ABSENT in both."""
    mask = (1 << FILE_SHIFT) - 1
    for i in range(len(place)):
        absent = place[i] < 0
        file[i] = ABSENT if absent else place[i] >> FILE_SHIFT
        row[i] = ABSENT if absent else place[i] & mask


class _Dealt(NamedTuple):
    """Keys by part: the first four arguments of ``join_parts``."""

    starts: NDArray[np.int64]
    block: NDArray[np.uint64]
    number: NDArray[np.uint64]
    place: NDArray[np.int64]


def _dealt(files: Sequence[Keys], bits: int) -> _Dealt:
    shift = np.uint64(64 - bits)
    counts = np.zeros(1 << bits, np.int64)
    for keys in files:
        count_parts(keys.run, keys.lumi, keys.event, shift, counts)
    starts = np.concatenate(([0], np.cumsum(counts)))
    cursor, rows = starts[:-1].copy(), int(starts[-1])
    block, number, place = np.empty(rows, "u8"), np.empty(rows, "u8"), np.empty(rows, "i8")
    for file, keys in enumerate(files):
        first = file << FILE_SHIFT
        deal(keys.run, keys.lumi, keys.event, shift, first, cursor, block, number, place)
    return _Dealt(starts, block, number, place)


def join_hashed(
    local: Keys, parents: Sequence[Keys]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_], int]:
    """``file``, ``row``, ``repeated`` and ``local_repeats`` as ``takeindex`` gives them."""
    rows = len(local)
    bits = max(1, (rows // ROWS_PER_PART).bit_length())
    mine, theirs = _dealt([local], bits), _dealt(parents, bits)
    most = int(np.diff(mine.starts).max())
    # A third full at most: whether the first look finds the key can then be foreseen.
    table = np.empty(1 << max(4, (3 * most).bit_length()), np.int32)
    found, twice = np.empty(most, np.int64), np.empty(most, np.bool_)
    place, repeated = np.empty(rows, np.int64), np.zeros(rows, np.bool_)
    repeats = join_parts(*mine, *theirs, table, found, twice, place, repeated)
    file, row = np.empty(rows, np.int32), np.empty(rows, np.int64)
    split_places(place, file, row)
    return file, row, repeated, int(repeats)
