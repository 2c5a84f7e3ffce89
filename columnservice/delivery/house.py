"""The running service without its HTTP edge: catalogue, cache, workers, registrar, delivery.

Opened once, closed once. Knows how the parts are put together and nothing of requests.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, wait
from dataclasses import dataclass

from columnservice.cache.pieces import PieceCache
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.deliver import Delivery
from columnservice.delivery.freshness import Freshness
from columnservice.delivery.metrics import Metrics
from columnservice.delivery.registration import Registrar
from columnservice.delivery.workers import Workers
from columnservice.errors import SetupError
from columnservice.settings import Settings


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
    warming: tuple[Future[bool], ...]

    @property
    def ready(self) -> bool:
        """Whether all kernels are compiled, so that no request has to wait for a compiler."""
        return all(future.done() and not future.exception() for future in self.warming)

    def wait_until_warm(self) -> None:
        """Return when the workers are warm."""
        wait(self.warming)

    def close(self) -> None:
        """Stop everything; what is pending is durable."""
        self.registrar.stop()
        self.delivery.stop()
        self.workers.stop()
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
    catalogue = Catalogue(settings.catalogue_url)
    catalogue.migrate()
    cache = PieceCache(settings.cache_dir, settings.cache_limit_bytes)
    workers = Workers(settings)
    warming = tuple(workers.warm())
    metrics = Metrics()
    registrar = Registrar(settings, catalogue, workers)
    freshness = Freshness(settings.revalidate_seconds, settings.revalidate_wait_seconds)
    delivery = Delivery(settings, catalogue, cache, workers, registrar, freshness, metrics)
    registrar.resume()
    return House(settings, catalogue, cache, workers, registrar, delivery, metrics, warming)
