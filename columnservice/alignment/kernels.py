"""The compiled inner loops that find what is moved together. Plain arrays in, plain arrays out.

Every kernel has an explicit signature, so it is compiled when this module is imported (or loaded
from Numba's cache) and never inside a request. Inputs are declared read-only, which accepts both
memory-mapped and ordinary arrays. Knows no files and no formats.

All work on runs: rows (or items) that stand next to each other on both sides, number k being
``count[k]`` of them, from ``source[k]`` of the source to ``target[k]`` of the output. What moves
them stands in ``formats.moving``.
"""

from __future__ import annotations

import numba
from numba import types

ABSENT = -1

_I4 = types.Array(types.int32, 1, "C", readonly=True)
_I8 = types.Array(types.int64, 1, "C", readonly=True)
_I4_OUT = types.Array(types.int32, 1, "C")
_I8_OUT = types.Array(types.int64, 1, "C")


@numba.njit(types.int64(_I4, _I8), cache=True, nogil=True)
def count_runs(file, row):  # type: ignore[no-untyped-def]
    """How many runs ``find_runs`` finds."""
    runs = 0
    for i in range(len(file)):
        if file[i] >= 0 and (i == 0 or file[i] != file[i - 1] or row[i] != row[i - 1] + 1):
            runs += 1
    return runs


@numba.njit(types.void(_I4, _I8, _I4_OUT, _I8_OUT, _I8_OUT, _I8_OUT), cache=True, nogil=True)
def find_runs(file, row, part, source, target, count):  # type: ignore[no-untyped-def]
    """Runs of rows that stand next to each other in one file, in output order.

    Args:
        file, row: where each output row comes from; file is negative where absent.
        part, source, target, count: written; as many as ``count_runs`` says.
    """
    k = -1
    for i in range(len(file)):
        if file[i] < 0:
            continue
        if i == 0 or file[i] != file[i - 1] or row[i] != row[i - 1] + 1:
            k += 1
            part[k] = file[i]
            source[k] = row[i]
            target[k] = i
            count[k] = 0
        count[k] += 1


@numba.njit(types.void(_I8, _I8, _I8, _I8, _I8_OUT), cache=True, nogil=True)
def place_counts(offsets, source, target, count, counts):  # type: ignore[no-untyped-def]
    """Write how many items each row of the runs has; other rows are left alone.

    Args:
        offsets: of the source, rows + 1.
        source, target, count: the runs of rows.
        counts: written, per output row.
    """
    for k in range(len(source)):
        s, t = source[k], target[k]
        for n in range(count[k]):
            counts[t + n] = offsets[s + n + 1] - offsets[s + n]


@numba.njit(types.void(_I8, _I8, _I8, _I8, _I8, _I8_OUT, _I8_OUT, _I8_OUT), cache=True, nogil=True)
def find_items(  # type: ignore[no-untyped-def]
    offsets, source, target, count, out_offsets, item_source, item_target, item_count
):
    """The runs of items that runs of rows hold, one for one.

    Args:
        offsets, out_offsets: of the source and of the output.
        source, target, count: the runs of rows.
        item_source, item_target, item_count: written, per run.
    """
    for k in range(len(source)):
        item_source[k] = offsets[source[k]]
        item_target[k] = out_offsets[target[k]]
        item_count[k] = offsets[source[k] + count[k]] - offsets[source[k]]
