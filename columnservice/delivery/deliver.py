"""Serving a request: what it means, who may wait for it, and its batches in order.

The synchronous core behind the HTTP edge. What is in the cache is given out in the caller's thread;
what must be made waits in threads of its own, as many as there are places, so that it cannot be in
the way of what is there. Knows no HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from columnservice.cache.pieces import PieceCache
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.assemble import Standing, empty_batch
from columnservice.delivery.basis import Basis, basis_of
from columnservice.delivery.freshness import Freshness
from columnservice.delivery.intake import Intake
from columnservice.delivery.metrics import Metrics
from columnservice.delivery.outline import Outline, outline_of
from columnservice.delivery.partplan import PartPlan
from columnservice.delivery.parts import FEW_PIECES, Parts
from columnservice.delivery.places import Places, Share
from columnservice.delivery.plan import ColumnRequest, Plan
from columnservice.delivery.plans import Edition, Planned, Plans
from columnservice.delivery.registration import Registrar
from columnservice.delivery.stream import Assembled, Stream
from columnservice.delivery.uploads import Upload, is_digest, is_kept, record_of
from columnservice.delivery.workers import Workers
from columnservice.errors import Unavailable
from columnservice.model import FileRecord
from columnservice.settings import Settings

T = TypeVar("T")
MOST_OPENINGS = 20
"""Times that declared Files are opened for one request, while others are being declared."""
PartKey: TypeAlias = tuple[int, int, tuple[str, ...], Standing]


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
        self._registrar = registrar
        self._freshness = freshness
        self._metrics = metrics
        self._plans = Plans(catalogue)
        self._cache = cache
        self._parts = Parts(settings, cache, workers, registrar.examiner, metrics)
        self._intake = Intake(catalogue, settings.index_dir, registrar.examiner, self._begin_alone)
        self._places = Places(settings.queue_limit)
        # A thread for each place: who has one never waits for a thread.
        self._threads = ThreadPoolExecutor(settings.queue_limit, thread_name_prefix="make")
        self._draining = False
        self._shared: dict[PartKey, Future[Assembled]] = {}
        self._lock = threading.RLock()
        self._streams = 0

    @property
    def streams(self) -> int:
        """How many replies are on their way."""
        return self._streams

    @property
    def places_taken(self) -> int:
        """How many Partitions are being made or wait for that."""
        return self._places.taken

    @property
    def making(self) -> int:
        """How many Pieces are being made."""
        return self._parts.making

    @property
    def draining(self) -> bool:
        """Whether the service is about to end."""
        return self._draining

    def drain(self) -> None:
        """Let replies that have begun go on, and begin none that must wait for a storage."""
        self._draining = True

    def stop(self) -> None:
        """Begin nothing more."""
        self._draining = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._parts.stop()
        self._freshness.stop()

    def open(self, request: ColumnRequest) -> Future[Stream]:
        """Begin to serve a request; nothing is read in the caller's thread.

        Origins are asked whether the parents are unchanged, for a bounded time.

        Raises:
            RequestError, AlignmentError: it cannot be served as asked.
            Unavailable: too many wait already, or the service ends.
        """
        opened: Future[Stream] = Future()
        known = self._known(request)
        if known is not None:
            opened.set_result(self._stream(known))
            return opened
        parent = self._catalogue.dataset(request.dataset).parent
        edition = self._edition(request, parent)
        if parent is not None and self._has_declared(parent):
            record = self._local(request)
            if self._catalogue.declared(parent, record.lumis):
                return self._open_later(request, parent, record)
        opened.set_result(self._stream(self._planned(request, edition)))
        return opened

    def at_hand(self, request: ColumnRequest) -> Basis | None:
        """What the reply rests on, if ``open`` and all batches need neither a disk nor a thread."""
        known = self._known(request, FEW_PIECES)
        if (
            known is None
            or not self._parts.at_hand(known.plan.parts)
            or not self._freshness.is_known(known.plan.outline.parents)
        ):
            return None
        return basis_of(known, self._cache)

    def stands(self, basis: Basis) -> bool:
        """Whether a verified reply may be given again as it was."""
        plan = basis.planned.plan
        return (
            self._plans.find(plan.request) is basis.planned
            and self._is_kept(plan.request)
            and self._freshness.is_known(plan.outline.parents)
            and basis.is_held(self._cache)
        )

    def given_again(self, basis: Basis, size_bytes: int) -> None:
        """Count a reply that was given again."""
        self._cache.used(basis.keys)
        self._metrics.pieces(hits=len(basis.keys), misses=0)
        self._metrics.sent(size_bytes)

    def _known(self, request: ColumnRequest, most_pieces: int | None = None) -> Planned | None:
        """What follows from what is remembered; uploaded keys, if any, must be there still."""
        return self._plans.recall(request, most_pieces) if self._is_kept(request) else None

    def _is_kept(self, request: ColumnRequest) -> bool:
        """Whether what was uploaded of its File, if anything, is there still."""
        return not is_digest(request.file) or is_kept(self._settings.index_dir, request.file)

    def _open_later(
        self, request: ColumnRequest, parent: str, record: FileRecord
    ) -> Future[Stream]:
        """Open declared parent Files first; that is work like any other that must be waited for."""

        def work() -> Stream:
            for _ in range(MOST_OPENINGS):
                self._registrar.open_declared(self._catalogue.dataset(parent), record.lumis)
                edition = self._edition(request, parent)
                if not self._catalogue.declared(parent, record.lumis):
                    return self._stream(self._planned(request, edition))
            raise Unavailable(f"Files of {parent} are being declared all the time.")

        return self._begin_alone(work)

    def _edition(self, request: ColumnRequest, parent: str | None) -> Edition:
        """The Datasets that a request rests on, as they are now."""
        names = (request.dataset,) if parent is None else (request.dataset, parent)
        return self._plans.edition(names)

    def accept(self, dataset: str, upload: Upload) -> Future[dict[str, Any]]:
        """Examine the uploaded EventKeys of a file, once however many send them.

        Raises:
            UnknownDataset: there is none of that name.
            Unavailable: too many wait already, or the service ends.
        """
        return self._intake.accept(dataset, upload)

    def _begin_alone(self, work: Callable[[], T]) -> Future[T]:
        """Have work done that is no part of a reply; it takes a place like any other.

        Raises:
            Unavailable: there is none, or the service ends.
        """
        share = Share(self._places)
        future = None if self._draining else self._begin(share, work)
        if future is None:
            raise self._turned_away()
        future.add_done_callback(lambda _: share.close())
        return future

    def _local(self, request: ColumnRequest) -> FileRecord:
        """The local File of a request, registered or uploaded."""
        index_dir = self._settings.index_dir
        return record_of(self._catalogue, index_dir, request.dataset, request.file)

    def _planned(self, request: ColumnRequest, edition: Edition) -> Planned:
        """A request, worked out now."""

        def work() -> Outline:
            return outline_of(
                self._catalogue,
                request.dataset,
                request.columns,
                self._local(request),
                self._settings.partition_events,
                self._settings.xcaches,
            )

        return self._plans.make(request, edition, work)

    def _stream(self, told: Planned) -> Stream:
        found, outline = told.plan, told.plan.outline
        standing = Standing(self._freshness.check(outline.parents), outline.unusable_parents)
        share = Share(self._places)
        refused = self._draining

        def begin(part: PartPlan, due: bool) -> Future[Assembled] | None:
            batch = self._parts.ready(part, standing)
            if batch is None and not refused:
                # A reply that has begun may go on, however many others came meanwhile.
                going_on = due and part is not found.parts[0]
                batch = self._begin_part(share, found, part, standing, going_on)
            if batch is None and due:
                raise self._turned_away()
            return batch

        def closed() -> None:
            share.close()
            self._count(-1)

        stream = Stream(
            found.parts,
            lambda: empty_batch(outline.columns),
            begin,
            self._settings.workers,
            closed,
            told.state if standing.verified else "",
            told.provenance,
        )
        self._count(+1)
        return stream

    def _count(self, change: int) -> None:
        with self._lock:
            self._streams += change

    def _turned_away(self) -> Unavailable:
        self._metrics.turned_away()
        if self._draining:
            return Unavailable("The service is shutting down.")
        return Unavailable("Too many columns wait to be read.")

    def _begin_part(
        self, share: Share, found: Plan, part: PartPlan, standing: Standing, even_if_full: bool
    ) -> Future[Assembled] | None:
        """Have a part made; whoever asks for the same meanwhile shares it and needs no place."""
        key = (part.start, part.stop, part.pieces(), standing)
        with self._lock:
            batch = self._shared.get(key)
            if batch is None:
                batch = self._begin(
                    share, lambda: self._parts.make(found, part, standing), even_if_full
                )
                if batch is None:
                    return None
                self._shared[key] = batch
                batch.add_done_callback(lambda _: self._forget(key))
            return batch

    def _forget(self, key: PartKey) -> None:
        with self._lock:
            self._shared.pop(key, None)

    def _begin(
        self, share: Share, work: Callable[[], T], even_if_full: bool = False
    ) -> Future[T] | None:
        """Have work done that waits for storages; None when there is no place for it."""
        if not share.take(even_if_full):
            return None
        future = self._threads.submit(work)
        future.add_done_callback(lambda _: share.give_back())
        return future

    def _has_declared(self, parent: str) -> bool:
        """Whether a manifest named Files that nobody opened yet."""
        return self._catalogue.derived(
            "has_declared", (parent,), lambda: bool(self._catalogue.declared(parent))
        )
