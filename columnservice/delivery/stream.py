"""A reply on its way: its batches in order, some Partitions made ahead of the one that is sent.

Never waits for anything that must be read: it hands out futures. Knows no HTTP and no worker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeAlias

import pyarrow as pa

from columnservice.delivery.partplan import PartPlan

Assembled: TypeAlias = tuple[pa.RecordBatch, pa.KeyValueMetadata]
Begin: TypeAlias = Callable[[PartPlan, bool], "Future[Assembled] | None"]


class Stream:
    """Batches of a reply, one per Partition; ``close`` it whatever happens.

    Args:
        parts: the Partitions, in row order.
        empty: makes a batch without rows, for a reply without any.
        begin: the batch of a part, ready or under way. When there is no place to make it: None for
            a part that is begun before its turn (False), an error for one that is due (True).
        ahead: how many parts to begin before their turn.
        closed: called once, at the end.
        state: digest of all that decides the reply's bytes; empty where origins could not be asked.
        provenance: what ``wire.PROVENANCE`` says of the reply, as JSON.
    """

    def __init__(
        self,
        parts: Sequence[PartPlan],
        empty: Callable[[], pa.RecordBatch],
        begin: Begin,
        ahead: int,
        closed: Callable[[], None],
        state: str = "",
        provenance: str = "{}",
    ) -> None:
        self.empty = empty
        self.state = state
        self.provenance = provenance
        self._waiting = deque(parts)
        self._begun: deque[Future[Assembled]] = deque()
        self._begin = begin
        self._most = ahead
        self._closed: Callable[[], None] | None = closed

    def next(self) -> Future[Assembled] | None:
        """The next batch; None after the last one.

        Raises:
            Unavailable: it has to be made, and too many wait already.
        """
        if not self._begun and self._waiting:
            self._take(due=True)
        if not self._begun:
            return None
        # Parts are begun ahead while one is made; what is there already can wait for its turn.
        while self._waiting and len(self._begun) <= self._most:
            if all(future.done() for future in self._begun) or not self._take(due=False):
                break
        return self._begun.popleft()

    def _take(self, due: bool) -> bool:
        """Begin the next part, if there is a place for it."""
        future = self._begin(self._waiting[0], due)
        if future is not None:
            self._waiting.popleft()
            self._begun.append(future)
        return future is not None

    def close(self) -> None:
        """Begin nothing more. What is being made is made to its end: others may wait for it."""
        self._waiting.clear()
        self._begun.clear()
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()
