"""The batch of one Partition: from cached Pieces at once, or with the missing ones made first.

However many ask at once, a Piece is made once and a join is made once. Knows Pieces and workers;
neither replies nor how many may wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from columnservice.alignment.takeindex import open_takeindex
from columnservice.cache import PieceCache, PieceKey
from columnservice.cache.inflight import Inflight
from columnservice.delivery.assemble import BrokenPieces, Standing, assemble_part
from columnservice.delivery.derivation import inputs_of
from columnservice.delivery.derive import derive
from columnservice.delivery.examine import Examiner
from columnservice.delivery.materialise import materialise
from columnservice.delivery.metrics import Metrics
from columnservice.delivery.partplan import PartPlan
from columnservice.delivery.plan import Plan
from columnservice.delivery.stream import Assembled
from columnservice.delivery.tasks import DeriveTask, MaterialiseResult, MaterialiseTask
from columnservice.delivery.tools import Tools, take_path
from columnservice.delivery.workers import Workers
from columnservice.errors import ColumnServiceError, CountsMismatch, Unavailable
from columnservice.settings import Settings

log = logging.getLogger(__name__)
# Pieces may be evicted between being made and being read; more often than this is no accident.
TRIES = 3
# What is put together from so much takes less time than to hand it to a thread.
FEW_PARTS, FEW_PIECES = 4, 32
# A new Piece is read as a whole, to compare its checksum, which lets go of the interpreter.
OPENERS_PER_WORKER = 2


class Parts:
    """Makes batches of parts of replies.

    Args:
        settings: where joins are kept, and how many workers there are.
        cache, workers: where Pieces are, and who makes them.
        examiner: joins files.
        metrics: where all is counted.
    """

    def __init__(
        self,
        settings: Settings,
        cache: PieceCache,
        workers: Workers,
        examiner: Examiner,
        metrics: Metrics,
    ) -> None:
        self._cache = cache
        self._workers = workers
        self._examiner = examiner
        self._index_dir = settings.index_dir
        self._metrics = metrics
        self._making: Inflight[str, pa.RecordBatch | None] = Inflight()
        self._joining: Inflight[str, bool] = Inflight()
        self._openers = ThreadPoolExecutor(
            OPENERS_PER_WORKER * settings.workers, thread_name_prefix="open pieces"
        )

    @property
    def making(self) -> int:
        """How many Pieces are being made."""
        return len(self._making)

    def stop(self) -> None:
        """Open no more Pieces."""
        self._openers.shutdown(wait=False, cancel_futures=True)

    def at_hand(self, parts: Sequence[PartPlan]) -> bool:
        """Whether the batches of these few parts can be made at once, in microseconds."""
        if len(parts) > FEW_PARTS:
            return False
        keys = [PieceKey(key) for part in parts for key in part.pieces()]
        return len(keys) <= FEW_PIECES and self._cache.at_hand(keys)

    def ready(self, part: PartPlan, standing: Standing) -> Future[Assembled] | None:
        """The batch of a part of which every Piece is cached; None for others."""
        held = {}
        for key in part.pieces():
            piece = self._look(key)
            if piece is None:
                return None
            held[key] = piece
        batch: Future[Assembled] = Future()
        try:
            batch.set_result(assemble_part(part, held, standing))
        except BrokenPieces:
            return None
        except ColumnServiceError as error:
            batch.set_exception(error)
        self._metrics.pieces(hits=len(held), misses=0)
        return batch

    def make(self, found: Plan, part: PartPlan, standing: Standing) -> Assembled:
        """The batch of a part; waits for the Pieces that are missing.

        Raises:
            ColumnServiceError: they cannot be made.
        """
        contradiction = None
        for _ in range(TRIES):
            pieces = self._pieces(found, part)
            if pieces is None:
                continue
            try:
                return assemble_part(part, pieces, standing)
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
            held |= self._made(part, missing)
        complete = {key: held[key] for key in part.pieces() if held[key] is not None}
        return complete if len(complete) == len(part.pieces()) else None

    def _made(self, part: PartPlan, missing: list[str]) -> dict[str, pa.RecordBatch | None]:
        """Pieces that are made now, by whoever came first: what is read, then what is computed."""
        computed = part.computed()
        task = part.derived(missing)
        read = [key for key in missing if key not in computed]
        if task is not None:
            _, names = inputs_of(task, task.wanted, lambda work: self._look(work.piece) is not None)
            read += [key for key in part.sources(names) if self._look(key) is None]
        made = self._making.run(
            read, lambda keys: self._make(part, keys, materialise, part.only(keys)), self._look
        )
        if task is None:
            return made
        wanted = [key for key in missing if key in computed]
        return made | self._making.run(
            wanted, lambda keys: self._make(part, keys, derive, part.derived(keys)), self._look
        )

    def _look(self, key: str) -> pa.RecordBatch | None:
        return self._cache.get(PieceKey(key))

    def _make(
        self,
        part: PartPlan,
        keys: tuple[str, ...],
        work: Callable[[Tools, Any], MaterialiseResult],
        task: MaterialiseTask | DeriveTask | None,
    ) -> dict[str, pa.RecordBatch | None]:
        """Have Pieces made; None stands where one was evicted again already."""
        result = self._workers.result(self._workers.submit(work, task))
        self._metrics.materialised(result.source_bytes, result.seconds)
        unkept = result.unkept
        if unkept:
            self._metrics.uncached(len(unkept))
            log.warning(
                "%d of %d pieces of %s are served without being cached: they are too large, or "
                "the disk of %s is full",
                len(unkept),
                len(keys),
                part.task.lfn,
                self._cache.directory,
            )
        kept = [key for key in keys if key not in unkept]
        return unkept | dict(zip(kept, self._openers.map(self._look, kept), strict=True))

    def _join(self, found: Plan) -> None:
        """Make sure of the TakeIndex; parents that were added since are compared first."""
        take = found.outline.join.take
        if open_takeindex(take_path(self._index_dir, take)) is not None:
            return

        def work(_: object) -> dict[str, bool]:
            self._examiner.verify(found.request.dataset, found.outline.record)
            return {take: True}

        self._joining.run([take], work)
