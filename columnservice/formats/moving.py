"""Moving runs of items from one flat array to another, as fast as memory allows.

Compiled when this module is imported (or loaded from Numba's cache), never inside a request. Knows
neither what the items are nor where they come from.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

_I8 = types.Array(types.int64, 1, "C", readonly=True)

# Fewer items are sooner copied one by one than by a call.
_LEAST_MOVED = 4


@intrinsic
def _move(_context, out, at, content, start, count):  # type: ignore[no-untyped-def]
    """``memcpy`` of items ``start`` to ``start + count`` to ``out[at:]``: moves whole lines.

    A loop is not made into one, as the compiler cannot know that the arrays do not overlap.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        to, first, source, begin, items = arguments
        to_type, _, source_type, _, _ = signature.args
        into = context.make_array(to_type)(context, builder, to).data
        origin = context.make_array(source_type)(context, builder, source).data
        size = context.get_abi_sizeof(context.get_data_type(to_type.dtype))
        target, place = builder.gep(into, [first]), builder.gep(origin, [begin])
        cgutils.raw_memcpy(builder, target, place, items, size)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(out, at, content, start, count), generate


def _copy_runs(content, source, target, count, out):  # type: ignore[no-untyped-def]
    for k in range(len(source)):
        s, t = source[k], target[k]
        if count[k] < _LEAST_MOVED:
            for n in range(count[k]):
                out[t + n] = content[s + n]
        else:
            _move(out, t, content, s, count[k])  # type: ignore[call-arg]


_WORDS = (types.uint8, types.uint16, types.uint32, types.uint64)
_copy_runs_words = numba.njit(
    [
        types.void(types.Array(w, 1, "C", readonly=True), _I8, _I8, _I8, types.Array(w, 1, "C"))
        for w in _WORDS
    ],
    cache=True,
    nogil=True,
)(_copy_runs)


def copy_runs(
    content: NDArray[Any],
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    count: NDArray[np.int64],
    out: NDArray[Any],
) -> None:
    """Copy runs of items.

    Args:
        content: flat items, any dtype of 1, 2, 4 or 8 bytes; moved as words of that size.
        source, target, count: int64, the runs of items.
        out: flat items of the output, same dtype as ``content``; the two do not overlap.
    """
    word = np.dtype(f"u{content.dtype.itemsize}")
    _copy_runs_words(content.view(word), source, target, count, out.view(word))
