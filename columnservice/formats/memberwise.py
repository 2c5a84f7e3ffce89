"""Numba kernels that walk objects which ROOT stored memberwise, or which hold text.

Bytes in, positions out: where the value of a label stands for every object, where the states of
trigger paths stand for every event. Each kernel demands that a row's bytes are used up exactly and
returns the first row where they are not, or -1. Compiled like ``formats.kernels``, on import.

Layouts (ROOT's TStreamerInfo): every object begins with a byte count (u4, bit 30 set) and a version
(u2); a version with bit 14 set says that a vector's elements follow member by member, behind the
version of their class (u2, and if that is 0 a checksum u4).
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numba import types

from columnservice.formats.kernels import _I8, _U1, _after, _u2, _u4

MEMBERWISE = 0x4000
_OUT = types.int64[::1]
_PAIR: Any = types.Tuple((types.int64, types.int64))  # type: ignore[no-untyped-call]


@nb.njit(types.int64(_U1, types.int64, types.int64), cache=True, nogil=True)
def _inside(data, at, stop):  # type: ignore[no-untyped-def]
    """Where the members of the object at a position begin; -1 if it is none or ends before them."""
    end = _after(data, at, stop)
    if end < at + 6:
        return np.int64(-1)
    begin = at + 6 + (4 if _u2(data, at + 4) == 0 else 0)
    return begin if begin <= end else np.int64(-1)


@nb.njit(types.int64(_U1, types.int64, types.int64), cache=True, nogil=True)
def _after_class(data, at, stop):  # type: ignore[no-untyped-def]
    """Where elements begin behind the version of their class; -1 beyond the end."""
    if at + 2 > stop:
        return np.int64(-1)
    begin = at + 2 + (4 if _u2(data, at) == 0 else 0)
    return begin if begin <= stop else np.int64(-1)


@nb.njit(_PAIR(_U1, types.int64, types.int64), cache=True, nogil=True)
def _text(data, at, stop):  # type: ignore[no-untyped-def]
    """Begin and end of the text at a position; (-1, -1) if it does not end before ``stop``.

    Its length is one byte, or 255 and four bytes.
    """
    if at >= stop:
        return np.int64(-1), np.int64(-1)
    length, begin = np.int64(data[at]), at + 1
    if length == 255:
        if at + 5 > stop:
            return np.int64(-1), np.int64(-1)
        length, begin = _u4(data, at + 1), at + 5
    if begin + length > stop:
        return np.int64(-1), np.int64(-1)
    return begin, begin + length


@nb.njit(
    types.int64(_U1, types.int64, types.int64, types.int64, _U1, types.boolean, _OUT), cache=True
)
def _find(data, at, stop, count, label, last, found):  # type: ignore[no-untyped-def]
    """Look for a label among ``count`` texts; ``found[0]`` is its number, or -1.

    Returns:
        where the texts end, or -1 if they do not end before ``stop``.
    """
    found[0] = -1
    for number in range(count):
        begin, at = _text(data, at, stop)
        if begin < 0:
            return np.int64(-1)
        if at - begin == len(label) and (last or found[0] < 0):
            same = True
            for i in range(len(label)):
                if data[begin + i] != label[i]:
                    same = False
                    break
            if same:
                found[0] = number
    return at


@nb.njit(
    types.int64(_I8, _U1, _I8, _U1, types.int64, types.boolean, _OUT),
    cache=True,
    nogil=True,
)
def pair_places(  # type: ignore[no-untyped-def]  # noqa: PLR0911 (each says where a row breaks)
    byte_offsets, data, offsets, label, size, last, out
):
    """Positions of a label's value in ``vector<pair<string, T>>`` members, one per object, or -1.

    A row is the header of a memberwise vector, then for each of its objects the number of pairs
    and, where that is not 0, a vector of the labels with its own header, then the values.

    Args:
        byte_offsets, data: row i is ``data[byte_offsets[i]:byte_offsets[i + 1]]``.
        offsets: row i holds objects ``offsets[i]`` to ``offsets[i + 1]``.
        label: as bytes.
        size: bytes of one value.
        last: of several equal labels in one object the last counts, not the first.
        out: one position per object.
    """
    found = np.empty(1, np.int64)
    for i in range(len(offsets) - 1):
        at, stop = byte_offsets[i], byte_offsets[i + 1]
        if _after(data, at, stop) != stop or at + 6 > stop:
            return np.int64(i)
        if _u2(data, at + 4) & MEMBERWISE == 0:
            return np.int64(i)
        at = _after_class(data, at + 6, stop)
        if at < 0:
            return np.int64(i)
        for j in range(offsets[i], offsets[i + 1]):
            out[j] = -1
            if at + 4 > stop:
                return np.int64(i)
            count = _u4(data, at)
            at += 4
            if count == 0:
                continue
            begin, end = _inside(data, at, stop), _after(data, at, stop)
            if begin < 0 or _find(data, begin, end, count, label, last, found) != end:
                return np.int64(i)
            if end + count * size > stop:
                return np.int64(i)
            if found[0] >= 0:
                out[j] = end + found[0] * size
            at = end + count * size
        if at != stop:
            return np.int64(i)
    return np.int64(-1)


@nb.njit(types.int64(_I8, _U1, _I8, _I8, _U1, _OUT), cache=True, nogil=True)
def label_places(byte_offsets, data, offsets, inner, label, out):  # type: ignore[no-untyped-def]
    """Positions of a label's value among values that stand in a branch of their own, or -1.

    A row is a header, then for each of its objects a count (u4) and that many texts.

    Args:
        byte_offsets, data: row i is ``data[byte_offsets[i]:byte_offsets[i + 1]]``.
        offsets: row i holds objects ``offsets[i]`` to ``offsets[i + 1]``.
        inner: object j has values ``inner[j]`` to ``inner[j + 1]``: as many as labels.
        label: as bytes; of several equal ones the first counts.
        out: one position per object.
    """
    found = np.empty(1, np.int64)
    for i in range(len(offsets) - 1):
        at, stop = byte_offsets[i], byte_offsets[i + 1]
        if _after(data, at, stop) != stop:
            return np.int64(i)
        at = _inside(data, at, stop)
        if at < 0:
            return np.int64(i)
        for j in range(offsets[i], offsets[i + 1]):
            if at + 4 > stop or _u4(data, at) != inner[j + 1] - inner[j]:
                return np.int64(i)
            at = _find(data, at + 4, stop, inner[j + 1] - inner[j], label, False, found)
            if at < 0:
                return np.int64(i)
            out[j] = inner[j] + found[0] if found[0] >= 0 else -1
        if at != stop:
            return np.int64(i)
    return np.int64(-1)


@nb.njit(
    types.int64(_U1, types.int64, types.int64, _U1, types.boolean, _OUT, _OUT),
    cache=True,
    nogil=True,
)
def _levels(data, at, stop, label, take, place, found):  # type: ignore[no-untyped-def]
    """One set of ``pair<string, vector<float>>``: where it ends, or -1.

    Args:
        data, at, stop: where it begins, behind which it must not go.
        label: of the pair that is looked for, as bytes.
        take: put the position of its number into ``place[0]``, if it has just one.
        place, found: of one element each.
    """
    if at < 0 or at + 4 > stop:
        return np.int64(-1)
    count = _u4(data, at)
    at += 4
    if count == 0:
        return at
    texts, end = _inside(data, at, stop), _after(data, at, stop)
    if texts < 0 or _find(data, texts, end, count, label, False, found) != end:
        return np.int64(-1)
    at, stop = _inside(data, end, stop), _after(data, end, stop)
    for number in range(count):
        if at < 0 or at + 4 > stop:
            return np.int64(-1)
        if take and number == found[0] and _u4(data, at) == 1:
            place[0] = at + 4
        at += 4 + 4 * _u4(data, at)
    return at if at == stop else np.int64(-1)


@nb.njit(types.int64(_I8, _U1, _I8, _U1, _OUT), cache=True, nogil=True)
def factor_places(  # type: ignore[no-untyped-def]  # noqa: PLR0911 (as above)
    byte_offsets, data, offsets, label, out
):
    """Positions of a level's factor in ``vector<pat::JetCorrFactors>`` members, or -1.

    A row is the header of a memberwise vector, then for each of its objects the number of sets of
    factors and, where that is not 0, a vector of their names and a memberwise one of their levels.

    Args:
        byte_offsets, data: row i is ``data[byte_offsets[i]:byte_offsets[i + 1]]``.
        offsets: row i holds objects ``offsets[i]`` to ``offsets[i + 1]``.
        label: the level, as bytes; it is looked for in the first set.
        out: one position per object; -1 also where the level has a factor for each flavour.
    """
    found, place = np.empty(1, np.int64), np.empty(1, np.int64)
    for i in range(len(offsets) - 1):
        at, stop = byte_offsets[i], byte_offsets[i + 1]
        if _after(data, at, stop) != stop or at + 6 > stop:
            return np.int64(i)
        if _u2(data, at + 4) & MEMBERWISE == 0:
            return np.int64(i)
        at = _after_class(data, at + 6, stop)
        for j in range(offsets[i], offsets[i + 1]):
            if at < 0 or at + 4 > stop:
                return np.int64(i)
            sets, place[0] = _u4(data, at), -1
            at += 4
            if sets > 0:
                at = _after(data, at, stop)
                end = _after(data, at, stop)
                if end < at + 6 or _u2(data, at + 4) & MEMBERWISE == 0:
                    return np.int64(i)
                at = _after_class(data, at + 6, end)
                for number in range(sets):
                    at = _levels(data, at, end, label, number == 0, place, found)
                if at != end:
                    return np.int64(i)
            out[j] = place[0]
        if at != stop:
            return np.int64(i)
    return np.int64(-1)


@nb.njit(types.int64(_I8, _U1, _OUT, _OUT, _OUT, types.uint8[:, ::1]), cache=True, nogil=True)
def path_places(  # type: ignore[no-untyped-def]  # noqa: PLR0911, PLR0912 (as above)
    byte_offsets, data, starts, strides, counts, menus
):
    """Where ``edm::TriggerResults`` keep the states of their paths, one state u2 per path.

    A row is a TriggerResults: HLTGlobalStatus with a vector of states (memberwise in newer files,
    each with its own header in older ones), an empty base class, the hash of the parameter set that
    lists the paths, and names that are not used any more.

    Args:
        byte_offsets, data: row i is ``data[byte_offsets[i]:byte_offsets[i + 1]]``.
        starts, strides, counts: of the states of each row; path p of row i has its state at
            ``starts[i] + p * strides[i]``.
        menus: 16 bytes of hash per row.
    """
    for i in range(len(byte_offsets) - 1):
        at, stop = byte_offsets[i], byte_offsets[i + 1]
        status = _inside(data, at, stop)
        if status < 0 or _after(data, at, stop) != stop:
            return np.int64(i)
        vector, after_status = _inside(data, status, stop), _after(data, status, stop)
        if vector < 0 or _after(data, vector, after_status) != after_status:
            return np.int64(i)
        first = vector + 6
        memberwise = first <= after_status and _u2(data, vector + 4) & MEMBERWISE != 0
        if memberwise:
            first = _after_class(data, first, after_status)
        if first < 0 or first + 4 > after_status:
            return np.int64(i)
        count = _u4(data, first)
        first += 4
        stride = np.int64(2)
        if not memberwise and count > 0:
            stride = _after(data, first, after_status) - first
            if stride < 8:
                return np.int64(i)
        if first + count * stride != after_status:
            return np.int64(i)
        if not memberwise:
            for path in range(count):
                if _after(data, first + path * stride, after_status) != first + (path + 1) * stride:
                    return np.int64(i)
        starts[i], strides[i], counts[i] = first + stride - 2, stride, count
        menu = _after(data, after_status, stop)
        text, after_menu = _inside(data, menu, stop), _after(data, menu, stop)
        if text < 0:
            return np.int64(i)
        begin = _inside(data, text, after_menu)
        if begin < 0 or begin + 17 != after_menu or data[begin] != 16:
            return np.int64(i)
        for byte in range(16):
            menus[i, byte] = data[begin + 1 + byte]
    return np.int64(-1)
