"""The running service without its HTTP edge: catalogue, cache, workers, registrar, delivery.

Opened once, closed once. Knows how the parts are put together and nothing of requests.
"""

from __future__ import annotations

import errno
import os
import resource
import tempfile
import threading
from dataclasses import dataclass, field

from columnservice.cache.pieces import PieceCache
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.deliver import Delivery
from columnservice.delivery.freshness import Freshness
from columnservice.delivery.metrics import Metrics
from columnservice.delivery.registration import Registrar
from columnservice.delivery.workers import Workers
from columnservice.errors import SetupError
from columnservice.settings import Settings

OPEN_FILES = 65_536


@dataclass(frozen=True)
class House:
    """All parts of one service process."""

    settings: Settings
    catalogue: Catalogue
    cache: PieceCache
    workers: Workers
    registrar: Registrar
    delivery: Delivery
    metrics: Metrics
    _closing: threading.Lock = field(default_factory=threading.Lock)
    _closed: threading.Event = field(default_factory=threading.Event)

    @property
    def draining(self) -> bool:
        """Whether the service is about to end."""
        return self.delivery.draining

    def state(self) -> dict[str, str]:
        """What is not as it must be for requests to be answered, by part; empty when all is well.

        Raises:
            ColumnServiceError: the catalogue does not answer.
        """
        troubles = {}
        if self.draining:
            troubles["service"] = "shutting down"
        if not self.workers.ready:
            troubles["workers"] = "no worker process is ready"
        self.catalogue.datasets()
        try:
            with tempfile.TemporaryFile(dir=self.settings.cache_dir):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:  # on a full disk all is served, and nothing is cached
                troubles["cache"] = f"cannot be written: {error.strerror}"
        return troubles

    def drain(self) -> None:
        """Begin nothing new; replies that have begun go on."""
        self.registrar.stop()
        self.delivery.drain()

    def settled(self) -> bool:
        """Whether nothing is under way any more, once draining; what nobody waits for is left."""
        if self.delivery.streams:
            return False
        self.workers.close()
        return not self.workers.running

    def close(self) -> None:
        """Stop everything; what is pending is durable. May be called again."""
        self.drain()
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
            self.workers.stop()
            self.delivery.stop()
            self.cache.close()
            self.catalogue.close()


def make_home(settings: Settings) -> None:
    """Make the directories that hold all state, readable by their owner only.

    Raises:
        SetupError: they cannot be made or written.
    """
    parts = (settings.home, settings.cache_dir, settings.index_dir, settings.kernel_cache_dir)
    try:
        for directory in parts:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = settings.home / f".writable-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise SetupError(
            f"The home {settings.home} cannot be written: {error.strerror}.",
            "Give another directory with --home or COLUMNSERVICE_HOME.",
        ) from None


def open_house(settings: Settings) -> House:
    """Open all parts and begin to warm the workers.

    Raises:
        SetupError: the home or the database cannot be used.
    """
    make_home(settings)
    _allow_many_files()
    catalogue = Catalogue(settings.catalogue_url)
    catalogue.migrate()
    cache = PieceCache(settings.cache_dir, settings.cache_limit_bytes)
    metrics = Metrics()
    workers = Workers(settings, metrics)
    registrar = Registrar(settings, catalogue, workers)
    freshness = Freshness(settings.revalidate_seconds, settings.revalidate_wait_seconds)
    delivery = Delivery(settings, catalogue, cache, workers, registrar, freshness, metrics)
    metrics.cache(cache.stats)
    indexes = registrar.examiner.indexes
    indexes.tidy()
    metrics.gauge("index_bytes", "Size of EventIndexes and TakeIndexes", lambda: indexes.size_bytes)
    metrics.gauge("pieces_in_flight", "Pieces that are being made", lambda: delivery.making)
    metrics.gauge("streams", "Replies on their way", lambda: delivery.streams)
    metrics.gauge(
        "partitions_queued", "Partitions made or waiting for that", lambda: delivery.places_taken
    )
    metrics.gauge("tasks_queued", "Tasks that wait for a worker", lambda: workers.waiting)
    metrics.gauge("tasks_running", "Tasks that run in workers", lambda: workers.running)
    metrics.gauge("workers_alive", "Worker processes that are ready", lambda: workers.warm)
    registrar.resume()
    return House(settings, catalogue, cache, workers, registrar, delivery, metrics)


def _allow_many_files() -> None:
    """Take as many open files as the system gives: connections, maps and indexes add up."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
