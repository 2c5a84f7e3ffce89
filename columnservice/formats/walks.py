"""Numba kernel that walks unsplit vectors of objects by a program (``formats.classes``).

Bytes in, positions out. It demands that every object's byte count is used up exactly, that versions
or checksums are those of the program, and returns the first row where they are not, or -1. Compiled
like ``formats.kernels``, on import.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numba import types

from columnservice.formats.classes import CODES
from columnservice.formats.kernels import _I8, _U1, _after, _u2, _u4
from columnservice.formats.memberwise import MEMBERWISE

_OUT = types.int64[::1]
_OPS: Any = types.Array(types.int64, 2, "C", readonly=True)
_VERSION, _FIXED, _COLUMN, _EACH, _POINTER, _ENTER, _LEAVE, _TAKE, _LIST, _ITEMS, _CUT = (
    CODES[letter] for letter in "VFCEP()TLIX"
)
_NESTED = 16


@nb.njit(
    types.int64(_U1, types.int64, types.int64, types.int64, types.int64), cache=True, nogil=True
)
def _version(data, at, stop, version, checksum):  # type: ignore[no-untyped-def]
    """Where members begin behind a class's version; -1 if it is another class or version."""
    if at + 2 > stop:
        return np.int64(-1)
    if _u2(data, at) != 0:
        return at + 2 if _u2(data, at) == version else np.int64(-1)
    if at + 6 > stop or _u4(data, at + 2) != checksum:
        return np.int64(-1)
    return at + 6


@nb.njit(types.int64(_U1, types.int64, types.int64), cache=True, nogil=True)
def _list(data, at, stop):  # type: ignore[no-untyped-def]
    """Where the number of items stands behind the header of a list of numbers; -1 if it is none."""
    end = _after(data, at, stop)
    if end < at + 6 or _u2(data, at + 4) & MEMBERWISE != 0:
        return np.int64(-1)
    return at + 6


@nb.njit(types.int64(_U1, types.int64, types.int64, types.int64), cache=True, nogil=True)
def _past(data, at, stop, count):  # type: ignore[no-untyped-def]
    """Behind so many objects with byte counts."""
    for _ in range(count):
        at = _after(data, at, stop)
        if at < 0:
            return np.int64(-1)
    return at


@nb.njit(types.int64(_U1, types.int64, types.int64, types.int64), cache=True, nogil=True)
def _past_pointers(data, at, stop, count):  # type: ignore[no-untyped-def]
    """Behind so many pointers: null, a reference (both u4), or an object with a byte count."""
    for _ in range(count):
        if at < 0 or at + 4 > stop:
            return np.int64(-1)
        at = _after(data, at, stop) if _u4(data, at) & 0x40000000 else at + 4
    return at


@nb.njit(
    types.int64(
        _U1, types.int64, types.int64, _OPS, types.int64, types.int64, _OUT, _OUT, types.int64,
        types.int64[::1],
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def _object(  # type: ignore[no-untyped-def]  # noqa: PLR0912 (one program, one walk)
    data, at, stop, ops, first, last, starts, lengths, to, ends
):
    """Walk one object's member objects by lines ``first`` to ``last``; where they end, or -1."""
    depth = 0
    for k in range(first, last + 1):
        op, number = ops[k, 0], ops[k, 1]
        limit = ends[depth - 1] if depth > 0 else stop
        if op == _ENTER:
            end = _after(data, at, limit)
            if end < 0 or depth == _NESTED:
                return np.int64(-1)
            at = _version(data, at + 4, end, number, ops[k, 2])
            ends[depth] = end
            depth += 1
        elif op == _LEAVE:
            if at != limit:
                return np.int64(-1)
            depth -= 1
        elif op == _FIXED:
            at += number
        elif op in (_COLUMN, _EACH):
            at = _past(data, at, limit, number)
        elif op == _POINTER:
            at = _past_pointers(data, at, limit, number)
        elif op == _TAKE:
            starts[to] = at
            at += number
        else:
            end, begin = _after(data, at, limit), _list(data, at, limit)
            if begin < 0 or begin + 4 > end:
                return np.int64(-1)
            starts[to], lengths[to] = begin + 4, _u4(data, begin)
            at = begin + 4 + lengths[to] * number
            if at != end:
                return np.int64(-1)
        if at < 0 or at > limit:
            return np.int64(-1)
    return at


@nb.njit(
    types.int64(
        _U1, types.int64, types.int64, types.int64, _OPS, _OUT, _OUT, types.int64,
        types.int64[::1],
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def _objects(  # type: ignore[no-untyped-def]  # noqa: PLR0912 (as above)
    data, at, stop, count, ops, starts, lengths, to, ends
):
    """Walk all members of ``count`` objects; where they end, or -1."""
    k = 1
    while k < len(ops):
        op, number = ops[k, 0], ops[k, 1]
        if op == _FIXED:
            at += number * count
        elif op == _COLUMN:
            at = _past(data, at, stop, number)
        elif op == _CUT:
            starts[to], lengths[to] = at, _after(data, at, stop) - at
            at += lengths[to]
        elif op == _EACH:
            at = _past(data, at, stop, number * count)
        elif op == _POINTER:
            at = _past_pointers(data, at, stop, number * count)
        elif op == _TAKE:
            for j in range(count):
                starts[to + j] = at + j * number
            at += number * count
        elif op == _LIST:
            end, at = _after(data, at, stop), _list(data, at, stop)
            for j in range(count):
                if at < 0 or at + 4 > end:
                    return np.int64(-1)
                starts[to + j], lengths[to + j] = at + 4, _u4(data, at)
                at += 4 + lengths[to + j] * number
            if at != end:
                return np.int64(-1)
        else:
            last = ops[k, 3]
            for j in range(count):
                at = _object(data, at, stop, ops, k, last, starts, lengths, to + j, ends)
                if at < 0:
                    return np.int64(-1)
            k = last
        if at < 0 or at > stop:
            return np.int64(-1)
        k += 1
    return at


@nb.njit(
    types.boolean(
        _U1, types.int64, types.int64, types.int64, types.int64, types.int64, _OUT, _OUT,
        types.int64,
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def _items(data, at, stop, first, last, size, counts, starts, to):  # type: ignore[no-untyped-def]
    """Walk a row's vectors ``first`` to ``last`` of numbers; whether they end where it does."""
    at = _list(data, at, stop)
    for j in range(first, last):
        if at < 0 or at + 4 > stop:
            return False
        counts[j] = _u4(data, at)
        at += 4
        if counts[j] * size > stop - at:
            return False
        for k in range(counts[j] if len(starts) > 0 else 0):
            starts[to] = at + k * size
            to += 1
        at += counts[j] * size
    return at == stop


@nb.njit(types.int64(_I8, _U1, _I8, _OPS, _OUT, _OUT, _OUT), cache=True, nogil=True)
def walk(  # type: ignore[no-untyped-def]  # noqa: PLR0911, PLR0912 (as above)
    byte_offsets, data, outer, ops, counts, starts, lengths
):
    """Where a member of every object of every row stands.

    Args:
        byte_offsets, data: row i is ``data[byte_offsets[i]:byte_offsets[i + 1]]``.
        outer: row i holds vectors ``outer[i]`` to ``outer[i + 1]``, one for each object that has
            such a member; of a branch that is one vector there is one per row.
        ops: the program.
        counts: of each vector its number of objects, filled in a first walk.
        starts, lengths: of each object where the member (a list: its items) begins, and the number
            of items; empty in the first walk, which counts only.
    """
    ends = np.empty(_NESTED, np.int64)
    here, room = np.empty(1, np.int64), np.empty(1, np.int64)
    filling = len(starts) > 0
    to = np.int64(0)
    for i in range(len(byte_offsets) - 1):
        at, stop = byte_offsets[i], byte_offsets[i + 1]
        if _after(data, at, stop) != stop or at + 6 > stop:
            return np.int64(i)
        if ops[0, 0] == _ITEMS:
            first, last = outer[i], outer[i + 1]
            if not _items(data, at, stop, first, last, ops[0, 1], counts, starts, to):
                return np.int64(i)
            to += counts[first:last].sum()
            continue
        if _u2(data, at + 4) & MEMBERWISE == 0:
            # ROOT writes an empty vector like this too: nothing but the number of objects
            at += 6
            for j in range(outer[i], outer[i + 1]):
                if at + 4 > stop or _u4(data, at) != 0:
                    return np.int64(i)
                counts[j] = 0
                at += 4
            if at != stop:
                return np.int64(i)
            continue
        at = _version(data, at + 6, stop, ops[0, 1], ops[0, 2])
        for j in range(outer[i], outer[i + 1]):
            if at < 0 or at + 4 > stop:
                return np.int64(i)
            count = np.int64(_u4(data, at))
            at += 4
            if count > stop - at:
                return np.int64(i)
            counts[j] = count
            if count == 0:
                continue
            if filling:
                if to + count > len(starts):
                    return np.int64(i)
                at = _objects(data, at, stop, count, ops, starts, lengths, to, ends)
            else:
                if len(here) < count:
                    here, room = np.empty(count, np.int64), np.empty(count, np.int64)
                at = _objects(data, at, stop, count, ops, here, room, np.int64(0), ends)
            to += count
        if at != stop:
            return np.int64(i)
    return np.int64(-1)
