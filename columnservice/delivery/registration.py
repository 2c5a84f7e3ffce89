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
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from columnservice.cache.inflight import Inflight
from columnservice.catalogue.indexing import index_file
from columnservice.catalogue.listing import expand
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.examine import Examiner
from columnservice.delivery.workers import Workers
from columnservice.errors import (
    ColumnServiceError,
    FileChanged,
    NotAllowed,
    TransportError,
    Unavailable,
)
from columnservice.model import Dataset, FileRecord, LumiRange
from columnservice.settings import Settings

log = logging.getLogger(__name__)
Purpose = Literal["pending", "check", "refresh", "declared"]


@dataclass(frozen=True)
class Progress:
    """One step of a registration: how many Files are done, and the last one's fate."""

    done: int
    total: int
    url: str
    status: str
    error: str = ""


Step: TypeAlias = Progress | ColumnServiceError | None
"""What a listener hears: a step, why all ended early, or that it ended."""
HEARTBEAT_SECONDS = 2.0


@dataclass
class Registration:
    """A registration that runs, and who listens to it."""

    dataset: str
    purpose: Purpose = "pending"
    wanted: Purpose | None = None
    listeners: list[queue.SimpleQueue[Step]] = field(default_factory=list)
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
        self.examiner = Examiner(settings, catalogue, workers, self.open_declared)

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
                if purpose != "pending":  # done after what runs now
                    self._running[dataset].wanted = purpose
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

    def listen(self, dataset: str) -> Iterator[Progress | None]:
        """Steps of the registration that runs now, until it ends; none when none runs.

        None stands for a while without a step, so that a listener can leave.

        Raises:
            ColumnServiceError: the registration ended early.
        """
        steps: queue.SimpleQueue[Step] = queue.SimpleQueue()
        with self._lock:
            running = self._running.get(dataset)
            if running is None:
                return
            running.listeners.append(steps)
            if running.last is not None:
                steps.put(running.last)
        while True:
            try:
                step = steps.get(timeout=HEARTBEAT_SECONDS)
            except queue.Empty:
                yield None
                continue
            if step is None:
                return
            if isinstance(step, ColumnServiceError):
                raise step
            yield step

    def _tell(self, running: Registration, step: Progress) -> None:
        with self._lock:
            running.last = step
            for listener in running.listeners:
                listener.put(step)

    def _next(self, running: Registration) -> bool:
        """Whether there is more to do: Files were added, or a purpose was asked for meanwhile.

        Where there is not, the registration ends in the same breath, so that nothing is overlooked.
        """
        with self._lock:
            running.purpose, running.wanted = running.wanted or "pending", None
            more = running.purpose != "pending" or self._catalogue.pending(running.dataset)
            if more and not self._stopping.is_set():
                return True
            self._end(running, None)
            return False

    def _end(self, running: Registration, step: Step) -> None:
        self._running.pop(running.dataset, None)
        for listener in running.listeners:
            listener.put(step)

    def _run(self, running: Registration) -> None:
        try:
            while True:
                self._register_all(running)
                if running.purpose == "refresh":
                    for child in self._catalogue.children(running.dataset):
                        self.start(child.name, "check")
                if not self._next(running):
                    return
        except Exception as error:
            known = error if isinstance(error, ColumnServiceError) else None
            if known is None:
                log.exception("registering files of %s failed", running.dataset)
            told = f"Registering files of {running.dataset} stopped: {error}"
            remedy = "Repeat the command when the cause is gone: it goes on where it stopped."
            with self._lock:
                self._end(running, known or ColumnServiceError(told, remedy))

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
            expand(url, self._settings)  # what a path leads to may have changed since
            record, columnset = self._workers.result(
                self._workers.run(index_file, url, dataset.format, self._settings.xcaches)
            )
            if known is not None:
                record = self._compared(record, known, purpose)
            record, result = self.examiner.examine(dataset, record, columnset.columns)
            failure = None
            if known is None or purpose != "check":
                failure = self._catalogue.record_file(dataset.name, record, columnset)
            if failure is not None:
                return url, "failed", failure.error
            self.examiner.replace(dataset.name, known, record, result)
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
            passing = isinstance(told, TransportError | NotAllowed)
            if known is None or (purpose != "check" and not passing):
                self._catalogue.record_failure(dataset.name, url, told)
            elif not passing:
                self.examiner.keep_failure(dataset.name, known, told)
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
        return replace(record, through_cache=known.through_cache and same)

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


def _interrupted(url: str, purpose: Purpose) -> tuple[str, str, str]:
    """The fate of a File when the service ends."""
    if purpose == "declared":
        raise Unavailable("The service is shutting down.")
    return url, "pending", ""
