"""The Numba kernel that walks EDM pointers which ROOT stored memberwise.

Per event: byte count, version with bit 14, version of ``edm::Ptr``; then for each object the number
of its pointers (u4), their ``RefCore`` (version u2, processIndex u2, productIndex u2) one behind
the other, and their keys (u8). Compiled like ``formats.kernels``, on import.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numba import types

from columnservice.formats.kernels import _I8, _U1, _after, _u2, _u4
from columnservice.formats.memberwise import MEMBERWISE, _after_class, _inside

_CORE, _KEY = 6, 8
_POINTER = _CORE + _KEY


@nb.njit(
    types.int64(
        _I8, _U1, _I8, types.int64, types.int64, types.int64[::1], types.int32[::1]
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def walk(byte_offsets, data, offsets, process, product, inner, keys):  # type: ignore[no-untyped-def]
    """Fill ``inner`` (offsets of each object's pointers) and ``keys`` (-1 into other products).

    Returns:
        the first row whose bytes are not used up exactly, or -1.
    """
    total = 0
    for i in range(len(offsets) - 1):
        at, stop = byte_offsets[i], byte_offsets[i + 1]
        if offsets[i] == offsets[i + 1]:
            continue
        begin = _inside(data, at, stop)
        if begin < 0 or _after(data, at, stop) != stop or _u2(data, at + 4) & MEMBERWISE == 0:
            return np.int64(i)
        at = _after_class(data, begin, stop)
        for j in range(offsets[i], offsets[i + 1]):
            if at < 0 or at + 4 > stop:
                return np.int64(i)
            count = _u4(data, at)
            at += 4
            if at + count * _POINTER > stop:
                return np.int64(i)
            for k in range(count):
                core, key = at + _CORE * k, at + _CORE * count + _KEY * k
                here = _u2(data, core + 2) == process and _u2(data, core + 4) == product
                small = _u4(data, key) == 0 and _u4(data, key + 4) < 0x80000000
                keys[total] = np.int32(_u4(data, key + 4)) if here and small else np.int32(-1)
                total += 1
            at += count * _POINTER
            inner[j + 1] = total
        if at != stop:
            return np.int64(i)
    return np.int64(-1)
