"""Which synthetic event stands where: luminosity blocks, the local and the parents' orders, truth.

Events are numbered 0 … n-1 and made in luminosity blocks. The local file holds a part of them in an
order of its own; the parent files hold whole blocks, or the halves of one, in other orders, with
some events that the local file lacks and without some that it has. Everything follows from the
seed, and any block can be made without the others, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import RequestError
from columnservice.model import Keys

Rows = NDArray[np.int64]

_SPLIT_EVERY = 5
"""Every fifth luminosity block is spread over two parent files, as real ones sometimes are."""


@dataclass(frozen=True)
class Sample:
    """What to make.

    Attributes:
        events: in the local file.
        parents: number of parent files.
        missing: how many of the local events no parent file holds.
        extra: how many events only the parents hold, per local event.
        seed: the same one gives the same events.
        hl_lhc: 200 instead of 50 pile-up collisions; parents of 250 kB, locals of 2 kB an event.
        block_events: local events per luminosity block.
        run: the run of all events (1 is what simulation has).
        first_event: the smallest event number; by default the numbers pass 2**32.
    """

    events: int = 2000
    parents: int = 3
    missing: int = 0
    extra: float = 0.2
    seed: int = 1
    hl_lhc: bool = False
    block_events: int = 100
    run: int = 1
    first_event: int = 2**32 - 1000

    def __post_init__(self) -> None:
        if self.events < 1 or self.parents < 1 or self.block_events < 1:
            raise RequestError("a synthetic sample needs at least one event, parent and block.")
        if not 0 <= self.missing <= self.events:
            raise RequestError("missing must lie between 0 and the number of events.")
        if self.extra < 0:
            raise RequestError("extra must not be negative.")

    def random(self, *stream: int) -> np.random.Generator:
        """The generator of random numbers of one purpose, which is named by numbers."""
        return np.random.default_rng([self.seed, *stream])


@dataclass(frozen=True)
class Truth:
    """Local row → parent row, as the generator placed them.

    Attributes:
        parent_file: index of the parent file per local row, -1 where no parent holds the event.
        parent_row: row in that file per local row, -1 where absent.
    """

    parent_file: Rows
    parent_row: Rows


@dataclass(frozen=True)
class Layout:
    """The places of all events of a Sample."""

    sample: Sample

    @cached_property
    def blocks(self) -> int:
        """Number of luminosity blocks; they are numbered from 1 in the files."""
        return -(-self.sample.events // self.sample.block_events)

    @cached_property
    def starts(self) -> Rows:
        """First event of each block, and the number of all events at the end."""
        local = np.full(self.blocks, self.sample.block_events, np.int64)
        local[-1] = self.sample.events - self.sample.block_events * (self.blocks - 1)
        extra = np.diff(np.rint(np.cumsum(local) * self.sample.extra), prepend=0).astype(np.int64)
        return np.concatenate([[0], np.cumsum(local + extra)])

    @cached_property
    def is_local(self) -> NDArray[np.bool_]:
        """Whether the local file holds an event."""
        total = int(self.starts[-1])
        found = np.zeros(total, np.bool_)
        for block in range(self.blocks):
            rows = np.arange(*self.starts[block : block + 2])
            kept = self.sample.events - self.sample.block_events * block
            kept = min(kept, self.sample.block_events)
            found[self.sample.random(1, block).permutation(rows)[:kept]] = True
        return found

    @cached_property
    def in_parent(self) -> NDArray[np.bool_]:
        """Whether a parent file holds an event."""
        found = np.ones(len(self.is_local), np.bool_)
        local = np.flatnonzero(self.is_local)
        found[self.sample.random(2).choice(local, self.sample.missing, replace=False)] = False
        return found

    def events_of(self, block: int) -> Rows:
        """All events of a block, in the order in which they are made."""
        return np.arange(*self.starts[block : block + 2])

    def keys(self, events: Rows) -> Keys:
        """The EventKeys of events."""
        lumi = np.searchsorted(self.starts, events, side="right")
        return Keys(
            np.full(len(events), self.sample.run, np.uint32),
            lumi.astype(np.uint32),
            (self.sample.first_event + events).astype(np.uint64),
        )

    def local(self) -> Iterator[tuple[int, Rows]]:
        """(block, its events in the local order), in the order of the local file."""
        for block in self.sample.random(3).permutation(self.blocks):
            rows = self.events_of(block)
            yield int(block), self.sample.random(4, block).permutation(rows[self.is_local[rows]])

    def parents(self) -> Iterator[tuple[int, dict[int, Rows]]]:
        """(block, parent file → its events in that file's order), in the order of the files."""
        for place, block in enumerate(self.sample.random(5).permutation(self.blocks)):
            rows = self.events_of(block)
            rows = self.sample.random(6, block).permutation(rows[self.in_parent[rows]])
            first = place % self.sample.parents
            if place % _SPLIT_EVERY == 0 and self.sample.parents > 1:
                middle = len(rows) // 2
                second = (first + 1) % self.sample.parents
                yield int(block), {first: rows[:middle], second: rows[middle:]}
            else:
                yield int(block), {first: rows}

    @cached_property
    def truth(self) -> Truth:
        """Where each local row stands in the parents."""
        file = np.full(len(self.is_local), -1, np.int64)
        row = np.full(len(self.is_local), -1, np.int64)
        filled = [0] * self.sample.parents
        for _, parts in self.parents():
            for parent, events in parts.items():
                file[events] = parent
                row[events] = filled[parent] + np.arange(len(events))
                filled[parent] += len(events)
        local = np.concatenate([events for _, events in self.local()])
        return Truth(file[local], row[local])
