"""What one process remembers: decoded Columns of recent ranges, and which Columns were touched.

Knows arrays and keys; neither the service nor files. Shared by all trees of the process, since
coffea opens a file anew for each chunk.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from columnservice.model import Ragged

LIMIT_BYTES = 512_000_000
"""Decoded Columns kept beyond the newest range, which is always kept whole."""


class Source(NamedTuple):
    """A Dataset of a service."""

    url: str
    dataset: str


class Made(NamedTuple):
    """A Column by its name, and a digest of all that decides its values: another one is another
    Column, whatever its name."""

    name: str
    version: str


class Range(NamedTuple):
    """Rows ``start`` to ``stop`` of a local File, as a Dataset of a service sees it."""

    source: Source
    uuid: str
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a reply claims of its rows: ``proofs`` of row ranges, and which rows have a parent.

    ``unusable``: how many files of the parent Dataset could not be used. Not ``verified``: nobody
    could be asked whether the parents are unchanged. ``provenance``: what ``Reply`` says of it.
    """

    proofs: tuple[tuple[int, int, str], ...]
    present: NDArray[np.bool_]
    unusable: int = 0
    verified: bool = True
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def agrees(self, other: Evidence) -> bool:
        """Whether both claim the same rows to have the same parents, as far as absences show and
        as no parent file is another one under its name."""
        mine, theirs = self._parents, other._parents
        same = all(theirs.get(lfn, identity) == identity for lfn, identity in mine.items())
        return same and np.array_equal(self.present, other.present)

    @cached_property
    def _parents(self) -> dict[str, tuple[Any, Any]]:
        """Identities by name."""
        told = self.provenance.get("parents", ())
        return {p.get("lfn", ""): (p.get("uuid"), p.get("size_bytes")) for p in told}


@dataclass
class _Held:
    evidence: Evidence
    columns: dict[Made, Ragged] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(map(_size, self.columns.values()))

    def without(self, names: set[str]) -> _Held:
        return _Held(self.evidence, {m: r for m, r in self.columns.items() if m.name not in names})


def _size(ragged: Ragged) -> int:
    return sum(o.nbytes for o in ragged.offsets) + sum(v.nbytes for v in ragged.content.values())


_MEMORIES: weakref.WeakSet[Memory] = weakref.WeakSet()


class Memory:
    """Ranges in order of use, forgotten oldest first; thread-safe."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._ranges: OrderedDict[Range, list[_Held]] = OrderedDict()
        self._touched: dict[Source, dict[str, None]] = {}
        self.renew_lock()
        _MEMORIES.add(self)

    def renew_lock(self) -> None:
        """For a forked child: a thread that it lacks may have held the lock."""
        self._lock = threading.RLock()

    def recall(self, where: Range) -> dict[Made, tuple[Ragged, Evidence]]:
        """The Columns held for exactly this range, each with the evidence of its reply."""
        with self._lock:
            held = self._ranges.get(where)
            if held is None:
                return {}
            self._ranges.move_to_end(where)
            return {made: (r, h.evidence) for h in held for made, r in h.columns.items()}

    def keep(self, where: Range, evidence: Evidence, columns: dict[Made, Ragged]) -> None:
        """Remember one reply's Columns; those of replies that contradict it are forgotten, and so
        are older versions of the same ones."""
        names = {made.name for made in columns}
        with self._lock:
            older = self._ranges.get(where, [])
            held = [h.without(names) for h in older if h.evidence.agrees(evidence)]
            self._ranges[where] = [*(h for h in held if h.columns), _Held(evidence, columns)]
            self._ranges.move_to_end(where)
            self._forget_oldest()

    def keep_ahead(self, where: Range, evidence: Evidence, columns: dict[Made, Ragged]) -> bool:
        """Remember a reply that nobody has asked for yet, if it fits beside the newest range."""
        with self._lock:
            newest = next(reversed(self._ranges.values()), [])
            size = sum(map(_size, columns.values())) + sum(h.size_bytes for h in newest)
            if size > self.limit_bytes:
                return False
            self.keep(where, evidence, columns)
            return True

    def forget(self, where: Range) -> None:
        """Forget a range: what was fetched of it must not be used again."""
        with self._lock:
            self._ranges.pop(where, None)

    def _forget_oldest(self) -> None:
        while len(self._ranges) > 1 and self.size_bytes > self.limit_bytes:
            self._ranges.popitem(last=False)

    @property
    def size_bytes(self) -> int:
        """Bytes of all Columns held."""
        with self._lock:
            return sum(h.size_bytes for held in self._ranges.values() for h in held)

    def touch(self, source: Source, names: list[str]) -> None:
        """Note Columns that an analysis used."""
        with self._lock:
            self._touched.setdefault(source, {}).update(dict.fromkeys(names))

    def touched(self, source: Source) -> list[str]:
        """The Columns used so far, in order of first use."""
        with self._lock:
            return list(self._touched.get(source, ()))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._ranges.clear()
            self._touched.clear()


def _renew_locks() -> None:
    for memory in _MEMORIES:
        memory.renew_lock()


MEMORY = Memory()
os.register_at_fork(after_in_child=_renew_locks)
