"""Serving a request: look Pieces up, have the missing ones made once, give out batches in order.

The synchronous core behind the HTTP edge. Knows no HTTP.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from columnservice import wire
from columnservice.cache.inflight import Inflight
from columnservice.cache.pieces import PieceCache, PieceKey
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.assemble import BrokenPieces, assemble_part
from columnservice.delivery.freshness import Freshness
from columnservice.delivery.materialise import make_join, make_keys, materialise, take_path
from columnservice.delivery.metrics import Metrics
from columnservice.delivery.plan import ColumnRequest, PartPlan, Plan, plan
from columnservice.delivery.registration import Registrar
from columnservice.delivery.workers import Workers
from columnservice.errors import CountsMismatch, Unavailable
from columnservice.model import Ragged
from columnservice.settings import Settings

log = logging.getLogger(__name__)
Batches = Iterator[tuple[pa.RecordBatch, pa.KeyValueMetadata]]
# Pieces may be evicted between being made and being read; more often than this is no accident.
TRIES = 3


@dataclass(frozen=True)
class Reply:
    """A reply whose first batch is ready: failures before it are raised, not streamed.

    Attributes:
        schema: of all batches.
        batches: record batches with their metadata, one per Partition, in row order.
    """

    schema: pa.Schema
    batches: Batches


class Delivery:
    """Serves Columns from the cache, and has missing Pieces made in worker processes."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        cache: PieceCache,
        workers: Workers,
        registrar: Registrar,
        freshness: Freshness,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._cache = cache
        self._workers = workers
        self._registrar = registrar
        self._freshness = freshness
        self._metrics = metrics
        self._making: Inflight[str, pa.RecordBatch | None] = Inflight()
        self._joining: Inflight[str, bool] = Inflight()
        self._threads = ThreadPoolExecutor(4 * settings.workers, thread_name_prefix="deliver")

    def stop(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def plan(self, request: ColumnRequest) -> Plan:
        """Work a request out; raises what is wrong with it."""
        dataset = self._catalogue.dataset(request.dataset)
        if dataset.parent is not None and self._has_declared(dataset.parent):
            record = self._catalogue.file(dataset.name, request.file)
            self._registrar.open_declared(self._catalogue.dataset(dataset.parent), record.lumis)
        return plan(
            self._catalogue, request, self._settings.partition_events, self._settings.xcaches
        )

    def _has_declared(self, parent: str) -> bool:
        """Whether a manifest named Files that nobody opened yet."""
        return self._catalogue.derived(
            "has_declared", (parent,), lambda: bool(self._catalogue.declared(parent))
        )

    def open(self, request: ColumnRequest) -> Reply:
        """Begin to serve a request.

        Raises:
            RequestError: it cannot be served as asked.
            AlignmentError, FileError, TransportError: its first batch cannot be made.
        """
        found = self.plan(request)
        batches = self._batches(found, self._freshness.check(found.parents))
        first = next(batches, None)
        if first is None:
            return Reply(self._empty(found).schema, iter(()))
        return Reply(first[0].schema, _chain(first, batches))

    def _empty(self, found: Plan) -> pa.RecordBatch:
        """A batch without rows."""
        none = {
            c.name: Ragged(
                tuple(np.zeros(1, np.int64) for _ in range(c.depth)),
                {m.name: np.zeros(0, m.dtype) for m in c.members},
            )
            for c in found.columns
        }
        return wire.encode_batch(found.columns, none, np.zeros(0, np.bool_))

    def _batches(self, found: Plan, verified: bool) -> Batches:
        """Batches in order, some Partitions made ahead of the one that is given out."""
        ahead: deque[tuple[PartPlan, Future[_Assembled]]] = deque()
        waiting = deque(found.parts)
        try:
            while waiting or ahead:
                while waiting and len(ahead) <= self._settings.workers:
                    part = waiting.popleft()
                    ahead.append((part, self._threads.submit(self._part, found, part, verified)))
                yield ahead.popleft()[1].result()
        finally:
            for _, future in ahead:
                future.cancel()

    def _part(self, found: Plan, part: PartPlan, verified: bool) -> _Assembled:
        contradiction = None
        for _ in range(TRIES):
            pieces = self._pieces(found, part)
            if pieces is None:
                continue
            try:
                return assemble_part(part, pieces, verified)
            except BrokenPieces as broken:
                log.warning("%s of %s: made again", broken, part.task.lfn)
                self._cache.drop(PieceKey(key) for key in broken.keys)
                contradiction = broken
        if contradiction is not None:
            raise CountsMismatch(
                f"Columns of one collection in the parents of {part.task.lfn} hold different "
                "numbers of objects."
            )
        raise Unavailable(
            f"The cache could not keep the columns of {part.task.lfn} long enough to send them.",
            "Raise COLUMNSERVICE_CACHE_LIMIT_BYTES, or ask for fewer columns at once.",
        )

    def _pieces(self, found: Plan, part: PartPlan) -> dict[str, pa.RecordBatch] | None:
        """All Pieces of a part; None when some vanished again before they could be read."""
        held = {key: self._look(key) for key in part.pieces()}
        missing = [key for key, piece in held.items() if piece is None]
        self._metrics.pieces(hits=len(held) - len(missing), misses=len(missing))
        if missing:
            self._join(found)
            held |= self._making.run(missing, lambda keys: self._make(part, keys), self._look)
        complete = {key: piece for key, piece in held.items() if piece is not None}
        return complete if len(complete) == len(held) else None

    def _look(self, key: str) -> pa.RecordBatch | None:
        return self._cache.get(PieceKey(key))

    def _make(self, part: PartPlan, keys: tuple[str, ...]) -> dict[str, pa.RecordBatch | None]:
        """Have Pieces made; None stands where one was evicted again already."""
        result = self._workers.result(self._workers.submit(materialise, part.only(keys)))
        self._metrics.materialised(result.source_bytes, result.seconds)
        unkept = result.unkept
        return {key: unkept[key] if key in unkept else self._look(key) for key in keys}

    def _join(self, found: Plan) -> None:
        """Make sure of the TakeIndex, and of the EventIndexes that it needs."""
        take = found.join.take
        if take_path(self._settings.index_dir, take).exists():
            return

        def work(_: object) -> dict[str, bool]:
            for future in [self._workers.submit(make_keys, task) for task in found.keys]:
                self._workers.result(future)
            self._workers.result(self._workers.submit(make_join, found.join))
            return {take: True}

        self._joining.run([take], work)


_Assembled = tuple[pa.RecordBatch, pa.KeyValueMetadata]


def _chain(first: _Assembled, rest: Batches) -> Batches:
    yield first
    yield from rest
