"""Registering Files: index, join with the parents, compare Witnesses, record; in the background.

A File's row is pending before it is opened, so a restarted service goes on where it stopped. One
bad File is recorded with its reason and does not stop the others. Knows no HTTP.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from columnservice.alignment.eventindex import eventindex_path
from columnservice.cache.inflight import Inflight
from columnservice.catalogue.indexing import index_file
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.check import check
from columnservice.delivery.materialise import make_keys
from columnservice.delivery.plan import join_task, parents_of
from columnservice.delivery.tasks import CheckResult, CheckTask
from columnservice.delivery.uploads import Upload, remember, write_upload
from columnservice.delivery.workers import Workers
from columnservice.errors import (
    ColumnServiceError,
    FileChanged,
    RequestError,
    TransportError,
    Unavailable,
)
from columnservice.model import ColumnSet, Dataset, FileRecord, LumiRange, OfferedColumn
from columnservice.reader import location_of
from columnservice.settings import Settings

log = logging.getLogger(__name__)
CHECKS = "checks"
Purpose = Literal["pending", "check", "refresh", "declared"]


@dataclass(frozen=True)
class Progress:
    """One step of a registration: how many Files are done, and the last one's fate."""

    done: int
    total: int
    url: str
    status: str
    error: str = ""


@dataclass
class Registration:
    """A registration that runs, and who listens to it."""

    dataset: str
    purpose: Purpose = "pending"
    listeners: list[queue.SimpleQueue[Progress | None]] = field(default_factory=list)
    last: Progress | None = None
    finished: bool = False


class Registrar:
    """Registers Files in the background, one thread per Dataset, the work in worker processes."""

    def __init__(self, settings: Settings, catalogue: Catalogue, workers: Workers) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._workers = workers
        self._lock = threading.Lock()
        self._running: dict[str, Registration] = {}
        self._stopping = threading.Event()
        self._opening: Inflight[tuple[str, str], bool] = Inflight()

    def resume(self) -> None:
        """Go on with what an earlier process left pending."""
        for dataset in self._catalogue.datasets():
            if self._catalogue.pending(dataset.name):
                self.start(dataset.name)

    def start(self, dataset: str, purpose: Purpose = "pending") -> None:
        """Register the pending Files of a Dataset, unless that is under way already.

        Args:
            dataset: its name.
            purpose: ``check`` looks at the registered Files too and changes nothing but what is
                known of their parents; ``refresh`` takes them as they are now.
        """
        with self._lock:
            if dataset in self._running:
                return
            running = self._running[dataset] = Registration(dataset, purpose)
        name = f"register {dataset}"
        threading.Thread(target=self._run, args=(running,), name=name, daemon=True).start()

    def stop(self) -> None:
        """Begin no further File; what is pending is resumed by the next process."""
        self._stopping.set()

    def is_running(self, dataset: str) -> bool:
        """Whether Files of a Dataset are being registered now."""
        with self._lock:
            return dataset in self._running

    def listen(self, dataset: str) -> Iterator[Progress]:
        """Steps of the registration that runs now, until it ends; none when none runs."""
        steps: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
        with self._lock:
            running = self._running.get(dataset)
            if running is None:
                return
            running.listeners.append(steps)
            if running.last is not None:
                steps.put(running.last)
        while (step := steps.get()) is not None:
            yield step

    def _tell(self, running: Registration, step: Progress) -> None:
        with self._lock:
            running.last = step
            for listener in running.listeners:
                listener.put(step)

    def _end(self, running: Registration) -> bool:
        """End a registration, unless Files were added meanwhile."""
        with self._lock:
            if not self._stopping.is_set() and self._catalogue.pending(running.dataset):
                return False
            del self._running[running.dataset]
            for listener in running.listeners:
                listener.put(None)
            return True

    def _run(self, running: Registration) -> None:
        try:
            while True:
                self._register_all(running)
                if running.purpose == "refresh":
                    for child in self._catalogue.children(running.dataset):
                        self.start(child.name, "check")
                running.purpose = "pending"
                if self._end(running):
                    return
        except Exception:
            log.exception("registering files of %s failed", running.dataset)
            with self._lock:
                self._running.pop(running.dataset, None)
                for listener in running.listeners:
                    listener.put(None)

    def _register_all(self, running: Registration) -> None:
        dataset = self._catalogue.dataset(running.dataset)
        known = {}
        if running.purpose != "pending":
            known = {record.url: record for record in self._catalogue.files(dataset.name)}
        urls = (*known, *self._catalogue.pending(dataset.name))
        threads = 2 * self._settings.workers
        with ThreadPoolExecutor(threads, thread_name_prefix=f"register-{dataset.name}") as pool:
            futures = [
                pool.submit(self._register, dataset, url, known.get(url), running.purpose)
                for url in urls
            ]
            for done, future in enumerate(as_completed(futures), start=1):
                url, status, error = future.result()
                if status != "pending":
                    self._tell(running, Progress(done, len(urls), url, status, error))

    def _register(
        self, dataset: Dataset, url: str, known: FileRecord | None, purpose: Purpose
    ) -> tuple[str, str, str]:
        """Index, compare and record one File: (url, status, error); a failure is recorded too.

        A check leaves the record of a known File as it is, whatever it finds. What the end of the
        service interrupts stays pending.

        Raises:
            TransportError: a declared File, for which a request waits, could not be opened now.
        """
        if self._stopping.is_set():
            return _interrupted(url, purpose)
        try:
            record, columnset = self._workers.result(
                self._workers.run(index_file, url, dataset.format, self._settings.xcaches)
            )
            if known is not None:
                record = self._compared(record, known, purpose)
            result = self.examine(dataset, record, columnset)
            failure = None
            if known is None or purpose != "check":
                failure = self._catalogue.record_file(dataset.name, record, columnset)
            if failure is not None:
                return url, "failed", failure.error
            if result is not None:
                self.keep_check(dataset.name, record, result)
        except Exception as error:
            if self._stopping.is_set():
                return _interrupted(url, purpose)
            if purpose == "declared" and isinstance(error, TransportError):
                raise
            if isinstance(error, ColumnServiceError):
                told = error
            else:
                log.exception("registering %s failed", url)
                told = ColumnServiceError(f"Registering failed: {type(error).__name__}.")
            # A file that is known does not become unknown because its storage does not answer.
            lasting = purpose != "check" and not isinstance(told, TransportError)
            if known is None or lasting:
                self._catalogue.record_failure(dataset.name, url, told)
            return url, "failed", str(told)
        return url, "ok", ""

    def _compared(self, record: FileRecord, known: FileRecord, purpose: Purpose) -> FileRecord:
        """A File as found now, in view of how it was known.

        Raises:
            FileChanged: it is another one, and this is a check.
        """
        same = (record.identity, record.mtime_seconds) == (known.identity, known.mtime_seconds)
        if not same and purpose == "check":
            raise FileChanged(f"{record.url} is not the file that was registered.")
        if not same:
            # An in-place update keeps UUID and perhaps size, by which the index is known.
            eventindex_path(self._settings.index_dir, record.identity).unlink(missing_ok=True)
        return replace(record, through_cache=known.through_cache and same)

    def examine(
        self, dataset: Dataset, record: FileRecord, columnset: ColumnSet
    ) -> CheckResult | None:
        """Join a local File with its parents and compare Witnesses; None without a parent.

        Raises:
            WrongParent: the parent is another sample.
        """
        if dataset.parent is None:
            return None
        return self._checked(dataset, record, columnset.columns)

    def _checked(
        self,
        dataset: Dataset,
        record: FileRecord,
        columns: tuple[OfferedColumn, ...],
        uploaded: str = "",
    ) -> CheckResult:
        assert dataset.parent is not None
        parent = self._catalogue.dataset(dataset.parent)
        self.open_declared(parent, record.lumis)
        parents = parents_of(self._catalogue, parent.name, record, self._settings.xcaches)
        local = location_of(record, self._settings.xcaches)
        join, keys = join_task(dataset, parent, parents, local)
        for future in [self._workers.submit(make_keys, task) for task in keys]:
            self._workers.result(future)
        above = tuple(self._catalogue.columnset(r.columnset).columns for r in parents.records)
        task = CheckTask(join, columns, above, self._settings.witness_events, uploaded)
        return self._workers.result(self._workers.submit(check, task))

    def open_declared(self, dataset: Dataset, lumis: Sequence[LumiRange]) -> None:
        """Index the Files that a manifest declared and that may hold these luminosity blocks.

        However many ask, each File is opened once at a time.

        Raises:
            TransportError: a storage did not answer; without these Files events would seem absent.
        """

        def work(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bool]:
            with ThreadPoolExecutor(2 * self._settings.workers) as pool:
                for url, status, error in pool.map(
                    lambda key: self._register(dataset, key[1], None, "declared"), keys
                ):
                    if status == "failed":
                        log.warning("declared file %s cannot be used: %s", url, error)
            return dict.fromkeys(keys, True)

        urls = self._catalogue.declared(dataset.name, lumis)
        self._opening.run([(dataset.name, url) for url in urls], work)

    def accept(self, dataset: Dataset, upload: Upload) -> dict[str, Any]:
        """Join uploaded EventKeys with the parents and compare the Witnesses that came along.

        Raises:
            RequestError: the Dataset has no parent.
            WrongParent: the file is of another sample.
        """
        if dataset.parent is None:
            raise RequestError(f"{dataset.name} has no parent dataset.", "Register one.")
        path = write_upload(self._settings.index_dir, upload)
        record = upload.record
        try:
            result = self._checked(dataset, record, (), str(path))
        finally:
            path.unlink(missing_ok=True)
        return remember(self._catalogue, dataset.name, upload, result)

    def keep_check(self, dataset: str, record: FileRecord, result: CheckResult) -> None:
        """Keep what a check found, by File."""
        self._catalogue.set_note(dataset, f"{CHECKS}/{record.identity.uuid}", asdict(result))


def _interrupted(url: str, purpose: Purpose) -> tuple[str, str, str]:
    """The fate of a File when the service ends."""
    if purpose == "declared":
        raise Unavailable("The service is shutting down.")
    return url, "pending", ""
