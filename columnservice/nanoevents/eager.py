"""Eager mode: refused without a selection, measured before it is loaded, then one request.

coffea does not tell a branch in which mode it is read, so its frames are asked. Knows what a Friend
gives; neither uproot nor HTTP.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

import numpy as np

from columnservice.errors import RequestError
from columnservice.model import Column, Ragged

SAMPLE_EVENTS = 200
_FACTORY = "coffea.nanoevents.factory"


class Readable(Protocol):
    """What is needed of a Friend."""

    columns: Mapping[str, Column]

    def read(
        self, names: Sequence[str], start: int, stop: int, *, explicit: bool
    ) -> dict[str, Ragged]:
        """Columns of rows ``start`` to ``stop``."""
        ...


@dataclass(frozen=True)
class Loading:
    """coffea is about to load rows ``start`` to ``stop``; ``forms``: it asks for branches now."""

    start: int
    stop: int
    forms: bool


def eager_loading() -> Loading | None:
    """What ``NanoEventsFactory.from_root(mode="eager")`` is about to do; None in other modes."""
    frame: FrameType | None = sys._getframe(1)
    forms = False
    while frame is not None:
        name = frame.f_code.co_name
        forms = forms or name == "_extract_base_form"
        if name == "from_root" and frame.f_globals.get("__name__") == _FACTORY:
            told = frame.f_locals
            if told.get("mode") != "eager":
                return None
            return Loading(told.get("entry_start") or 0, told.get("entry_stop") or 0, forms)
        frame = frame.f_back
    return None


def refuse_everything() -> None:
    """Stop eager mode without a selection.

    Raises:
        RequestError: always.
    """
    raise RequestError(
        "Eager mode would fetch every column that the service offers.",
        'Use mode="virtual", or name the columns with columns=… in service.nanoevents().',
    )


def load(friend: Readable, names: Sequence[str], loading: Loading, limit_bytes: int) -> None:
    """Fetch all that eager mode will want in one request, if that is not too much.

    Raises:
        RequestError: it is; the message says how much.
    """
    start, stop = loading.start, loading.stop
    if not names or start >= stop:
        return
    size, events = estimate(friend, names, start, stop)
    if size > limit_bytes:
        raise RequestError(
            f"Eager mode would load about {size / 1e9:.3g} GB: {len(names)} columns of "
            f"{stop - start} events, judging by {events} of them; the limit is "
            f"{limit_bytes / 1e9:.3g} GB.",
            'Use mode="virtual", name fewer columns with columns=…, load fewer events with '
            "entry_stop=…, or raise eager_limit_bytes in service.nanoevents().",
        )
    friend.read(names, start, stop, explicit=True)


def estimate(friend: Readable, names: Sequence[str], start: int, stop: int) -> tuple[int, int]:
    """Bytes that Columns of some rows will take, and of how many events that was judged.

    Event scalars are known; for lists the first events are counted: one Column per collection, and
    each nested one.
    """
    columns = [friend.columns[name] for name in names]
    rows = stop - start
    size = sum(_item_bytes(c) * rows for c in columns if not c.depth)
    lists = [c for c in columns if c.depth]
    if not lists:
        return size, rows
    counts = {c.counts_of: c for c in friend.columns.values() if c.counts_of is not None}
    asked: dict[str, str] = {}
    for column in sorted(lists, key=lambda c: (c.depth, _item_bytes(c))):
        if column.depth > 1:
            asked[column.name] = column.name
        elif column.shape in counts:
            asked[column.name] = counts[column.shape].name
        else:
            known = asked.get(f"/{column.collection or column.name}", column.name)
            asked[f"/{column.collection or column.name}"] = asked[column.name] = known
    sample = min(rows, SAMPLE_EVENTS)
    wanted = list(dict.fromkeys(asked[c.name] for c in lists))
    found = friend.read(wanted, start, start + sample, explicit=True)
    for column in lists:
        ragged = found[asked[column.name]]
        if ragged.offsets:
            offsets = sum(o.nbytes for o in ragged.offsets)
            items = int(ragged.offsets[-1][-1])
        else:
            offsets, items = 8 * sample, int(ragged.values.sum(dtype=np.int64))
        size += (offsets + items * _item_bytes(column)) * rows // sample
    return size, sample


def _item_bytes(column: Column) -> int:
    return sum(np.dtype(m.dtype).itemsize for m in column.members)
