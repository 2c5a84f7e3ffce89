"""Joining block by block, for files whose rows of one luminosity block stand together: most do.

A block has few events, so what is compared stays in the processor's nearest caches: a merge where
events ascend on both sides, else a table of the block's events (jobs with several threads write
the events of a block in nearly any order). Where rows do not stand in blocks, or local keys
repeat, ``join_blocks`` gives up, and ``hashjoin`` does it. Knows arrays of keys; no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from columnservice.alignment.kernels import ABSENT
from columnservice.model import Keys

# Fewer rows in a block on average, and blocks are no help.
LEAST_ROWS = 8
# Event numbers that fill at least one in so many places are looked up by number, others hashed.
MOST_PLACES = 8
# A block that parents hold in more parts than this is not merged: each part may walk all of it.
MOST_PARTS = 4
# 2**64 over the golden ratio: multiplied by it, the upper bits of neighbours lie far apart.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

_U4 = types.Array(types.uint32, 1, "C", readonly=True)
_I4 = types.Array(types.int32, 1, "C", readonly=True)
_U8 = types.Array(types.uint64, 1, "C", readonly=True)
_I8 = types.Array(types.int64, 1, "C", readonly=True)
_I4_OUT = types.Array(types.int32, 1, "C")
_I8_OUT = types.Array(types.int64, 1, "C")
_U8_OUT = types.Array(types.uint64, 1, "C")
_BOOL_OUT = types.Array(types.boolean, 1, "C")


@numba.njit(
    types.int64(_U4, _U4, _U8, _I8_OUT, _BOOL_OUT, _U8_OUT, _U8_OUT), cache=True, nogil=True
)
def find_blocks(run, lumi, event, starts, ascending, low, high):  # type: ignore[no-untyped-def]
    """Runs of rows with one (run, lumi).

    Args:
        run, lumi, event: the keys of a file.
        starts, ascending, low, high: written per block: its first row, whether its events ascend
            strictly, its smallest and its largest event.

    Returns:
        How many blocks there are, or ABSENT where ``starts`` has no room for them.
    """
    blocks, i, rows = 0, 0, len(event)
    while i < rows:
        if blocks == len(starts):
            return ABSENT
        starts[blocks] = i
        last = least = most = event[i]
        sorted_so_far = True
        i += 1
        while i < rows and lumi[i] == lumi[i - 1] and run[i] == run[i - 1]:
            now = event[i]
            sorted_so_far &= now > last
            least, most = min(least, now), max(most, now)
            last = now
            i += 1
        ascending[blocks], low[blocks], high[blocks] = sorted_so_far, least, most
        blocks += 1
    return blocks


# Kernels call others once per block, never per row: handing an array over costs more than a row.


@numba.njit
def _enter(event, first, last, low, factor, shift, table):  # type: ignore[no-untyped-def]
    """Enter rows ``first`` to ``last`` into a table; whether one of their events stood there."""
    length = np.uint64(len(table))
    for i in range(first, last):
        slot = (event[i] - low) * factor >> shift
        held = table[slot]
        while held != ABSENT:
            if event[np.uint64(held)] == event[i]:
                return True
            slot += np.uint64(1)
            if slot == length:
                slot = np.uint64(0)
            held = table[slot]
        table[slot] = i
    return False


@numba.njit
def _look_up(  # type: ignore[no-untyped-def]
    event, low, factor, shift, table, parent_event, first, last, number, file, row, repeated
):
    """Note which local rows the parent rows ``first`` to ``last`` are, by their table."""
    length = np.uint64(len(table))
    for j in range(first, last):
        slot = (parent_event[j] - low) * factor >> shift
        held = table[slot] if slot < length else ABSENT
        while held != ABSENT:
            i = np.uint64(held)
            if event[i] == parent_event[j]:
                if file[i] == ABSENT:
                    file[i] = number
                    row[i] = j
                else:
                    repeated[i] = True
                break
            slot += np.uint64(1)
            if slot == length:
                slot = np.uint64(0)
            held = table[slot]


@numba.njit
def _merge(event, first, last, parent_event, j, stop, number, file, row, repeated):  # type: ignore[no-untyped-def]
    """Note which local rows the parent rows ``j`` to ``stop`` are, where both ascend."""
    for i in range(first, last):
        while j < stop and parent_event[j] < event[i]:
            j += np.uint64(1)
        if j < stop and parent_event[j] == event[i]:
            if file[i] == ABSENT:
                file[i] = number
                row[i] = j
            else:
                repeated[i] = True


@numba.njit(types.boolean(_U8, _I8, _I8, _I8, _I8, _U8, _U8, _U8, _I4_OUT), cache=True, nogil=True)
def enter_blocks(event, starts, order, groups, slots, low, factor, shift, table):  # type: ignore[no-untyped-def]
    """Enter local rows into the tables of their groups; whether one key stands in two rows.

    Args:
        event: of all rows.
        starts: first row of each block, and the number of rows.
        order: the blocks, those of one run and lumi (a group) next to each other.
        groups: where each group begins in ``order``, and the number of blocks.
        slots: where each group's table begins in ``table``, and its length; empty where it needs
            none.
        low, factor, shift: per group: an event belongs at ``(event - low) * factor >> shift``.
        table: filled with ABSENT; rows are written.
    """
    for g in range(len(groups) - 1):
        mine = table[slots[g] : slots[g + 1]]
        if len(mine) == 0:
            continue
        for k in range(groups[g], groups[g + 1]):
            first, last = np.uint64(starts[order[k]]), np.uint64(starts[order[k] + 1])
            if _enter(event, first, last, low[g], factor[g], shift[g], mine):
                return True
    return False


@numba.njit(
    types.void(
        _U8, _I8, _I8, _I8, _I8, _U8, _U8, _U8, _I4,
        _U8, _I8, _I8, types.int32, _I4_OUT, _I8_OUT, _BOOL_OUT,
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def match_blocks(  # type: ignore[no-untyped-def]
    event, starts, order, groups, slots, low, factor, shift, table,
    parent_event, parent_starts, group_of, number, file, row, repeated,
):  # fmt: skip
    """Write for each local row where one parent file holds it; a row that is known is repeated.

    Args:
        event, starts, order, groups, slots, low, factor, shift, table: as for ``enter_blocks``;
            a group without a table is one block, and it and the parents' blocks ascend.
        parent_event, parent_starts: events and blocks of the parent file.
        group_of: per parent block, the group with its run and lumi, or ABSENT.
        number: of the parent file.
        file, row, repeated: written per local row.
    """
    for b in range(len(group_of)):
        g = group_of[b]
        if g == ABSENT:
            continue
        j, stop = np.uint64(parent_starts[b]), np.uint64(parent_starts[b + 1])
        mine = table[slots[g] : slots[g + 1]]
        if len(mine) > 0:
            _look_up(
                event, low[g], factor[g], shift[g], mine,
                parent_event, j, stop, number, file, row, repeated,
            )  # fmt: skip
        else:
            block = order[groups[g]]
            first, last = np.uint64(starts[block]), np.uint64(starts[block + 1])
            _merge(event, first, last, parent_event, j, stop, number, file, row, repeated)


@dataclass(frozen=True)
class _Blocks:
    """A file's blocks: first rows and the number of rows, and per block what ``find_blocks`` says.

    ``name`` is ``run << 32 | lumi``.
    """

    starts: NDArray[np.int64]
    name: NDArray[np.uint64]
    ascending: NDArray[np.bool_]
    low: NDArray[np.uint64]
    high: NDArray[np.uint64]


def _blocks_of(keys: Keys) -> _Blocks | None:
    """A file's blocks; None where its rows do not stand in blocks."""
    room = len(keys) // LEAST_ROWS + 64
    starts, ascending = np.empty(room, np.int64), np.empty(room, np.bool_)
    low, high = np.empty(room, np.uint64), np.empty(room, np.uint64)
    count = find_blocks(keys.run, keys.lumi, keys.event, starts, ascending, low, high)
    if count == ABSENT:
        return None
    first = starts[:count]
    name = keys.run[first].astype(np.uint64) << np.uint64(32) | keys.lumi[first]
    return _Blocks(np.append(first, len(keys)), name, ascending[:count], low[:count], high[:count])


@dataclass(frozen=True)
class _Groups:
    """The local blocks by run and lumi: arguments of ``enter_blocks``, and ``name`` per group."""

    name: NDArray[np.uint64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]

    def of(self, blocks: _Blocks) -> NDArray[np.int64]:
        """Per block of a parent, its group, or ABSENT."""
        if not len(self.name):
            return np.full(len(blocks.name), ABSENT, np.int64)
        at = np.minimum(np.searchsorted(self.name, blocks.name), len(self.name) - 1)
        return np.where(self.name[at] == blocks.name, at, ABSENT)


def _groups_of(blocks: _Blocks) -> _Groups:
    order = np.argsort(blocks.name, kind="stable")
    name, first = np.unique(blocks.name[order], return_index=True)
    return _Groups(name, order, np.append(first, len(order)).astype(np.int64))


def _needs_table(
    mine: _Blocks, groups: _Groups, theirs: Sequence[tuple[_Blocks, NDArray[np.int64]]]
) -> NDArray[np.bool_]:
    """Per group, whether it cannot be merged: in several blocks, in too many parts, or unsorted."""
    needs = (np.diff(groups.starts) > 1) | ~mine.ascending[groups.order[groups.starts[:-1]]]
    parts = np.zeros(len(needs), np.int64)
    for blocks, group_of in theirs:
        known = group_of[group_of != ABSENT]
        parts += np.bincount(known, minlength=len(needs))
        needs[group_of[(group_of != ABSENT) & ~blocks.ascending]] = True
    return needs | (parts > MOST_PARTS)


@dataclass(frozen=True)
class _Places:
    """Where an event belongs in its group's table; see ``enter_blocks``."""

    slots: NDArray[np.int64]
    low: NDArray[np.uint64]
    factor: NDArray[np.uint64]
    shift: NDArray[np.uint64]


def _places_of(mine: _Blocks, groups: _Groups, needs: NDArray[np.bool_]) -> _Places:
    first = groups.starts[:-1]
    rows = np.add.reduceat(np.diff(mine.starts)[groups.order], first)
    low = np.minimum.reduceat(mine.low[groups.order], first)
    width = np.maximum.reduceat(mine.high[groups.order], first) - low
    by_number = width < MOST_PLACES * rows.astype(np.uint64)
    # A quarter full at most, and never one slot only: a shift by 64 bits means nothing.
    bits = np.maximum(4, np.ceil(np.log2(4 * rows))).astype(np.int64)
    length = np.where(by_number, np.where(by_number, width, 0).astype(np.int64) + 1, 1 << bits)
    one, none = np.uint64(1), np.uint64(0)
    return _Places(
        np.concatenate(([0], np.cumsum(np.where(needs, length, 0)))),
        np.where(by_number, low, none),
        np.where(by_number, one, _GOLDEN),
        np.where(by_number, none, (64 - bits).astype(np.uint64)),
    )


def join_blocks(
    local: Keys, parents: Sequence[Keys]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]] | None:
    """``file``, ``row`` and ``repeated`` as ``takeindex.join`` gives them.

    Returns:
        None where a file's rows do not stand in blocks, or a local key stands in two rows.
    """
    file, row = np.full(len(local), ABSENT, np.int32), np.full(len(local), ABSENT, np.int64)
    repeated = np.zeros(len(local), np.bool_)
    mine = _blocks_of(local) if len(local) < 2**31 else None
    if mine is None:
        return None
    if not len(local):
        return file, row, repeated
    groups = _groups_of(mine)
    theirs = []
    for keys in parents:
        blocks = _blocks_of(keys)
        if blocks is None:
            return None
        theirs.append((blocks, groups.of(blocks)))
    places = _places_of(mine, groups, _needs_table(mine, groups, theirs))
    table = np.full(places.slots[-1], ABSENT, np.int32)
    told = (
        *(local.event, mine.starts, groups.order, groups.starts),
        *(places.slots, places.low, places.factor, places.shift, table),
    )
    if enter_blocks(*told):
        return None
    for number, (keys, (blocks, group_of)) in enumerate(zip(parents, theirs, strict=True)):
        match_blocks(*told, keys.event, blocks.starts, group_of, number, file, row, repeated)
    return file, row, repeated
