"""Worker processes: spawned, kept warm, ended when they hang; what runs in them.

A worker holds open files, the cache and compiled kernels. Knows no catalogue and no request.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from columnservice.cache.pieces import PieceCache
from columnservice.errors import Unavailable, Unreachable
from columnservice.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process must know."""

    cache_dir: Path
    index_dir: Path
    cache_limit_bytes: int
    open_files: int
    kernel_cache_dir: Path

    @classmethod
    def of(cls, settings: Settings) -> WorkerSettings:
        """The part of the service's settings that workers need."""
        return cls(
            settings.cache_dir,
            settings.index_dir,
            settings.cache_limit_bytes,
            settings.open_files,
            settings.kernel_cache_dir,
        )


class _Worker:
    """The state of this process, set once by ``_start``."""

    settings: WorkerSettings


def _start(settings: WorkerSettings) -> None:
    os.environ["NUMBA_CACHE_DIR"] = str(settings.kernel_cache_dir)
    _Worker.settings = settings


def _open_cache(told: WorkerSettings) -> PieceCache:
    cache = PieceCache(told.cache_dir, told.cache_limit_bytes, sweep=False)
    atexit.register(cache.close)
    return cache


@cache
def tools() -> Any:
    """The tools of this worker process, made at its first task."""
    from columnservice.delivery.materialise import Tools
    from columnservice.reader import FilePool

    told = _Worker.settings
    return Tools(
        FilePool(told.open_files),
        _open_cache(told),
        told.index_dir,
        ThreadPoolExecutor(max_workers=2, thread_name_prefix="decompress"),
    )


def _warm() -> bool:
    """Load and compile everything that a task needs."""
    import columnservice.delivery.check
    import columnservice.formats

    columnservice.formats.compile_kernels()
    return tools() is not None


def _with_tools(work: Callable[[Any, Any], T], task: Any) -> T:
    return work(tools(), task)


class Workers:
    """A pool of worker processes.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: Settings) -> None:
        self._timeout_seconds = settings.materialise_timeout_seconds
        self._count = settings.workers
        self._pool = ProcessPool(
            max_workers=settings.workers,
            context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(WorkerSettings.of(settings),),
        )

    def warm(self) -> list[Future[bool]]:
        """Start all workers; the futures are done when their kernels are compiled."""
        return [self._pool.schedule(_warm, timeout=300) for _ in range(self._count)]

    def submit(self, work: Callable[[Any, Any], T], task: Any) -> Future[T]:
        """Run ``work(tools, task)`` in a worker; both must pickle."""
        future: Future[T] = self._pool.schedule(
            _with_tools, args=(work, task), timeout=self._timeout_seconds
        )
        return future

    def run(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Run a plain function in a worker."""
        future: Future[T] = self._pool.schedule(function, args=args, timeout=self._timeout_seconds)
        return future

    def result(self, future: Future[T]) -> T:
        """A task's result; a worker that hung or died becomes an error of ours.

        Raises:
            Unreachable: no result within the time limit.
            Unavailable: the worker process died.
            ColumnServiceError: what the task raised.
        """
        try:
            return future.result()
        except FutureTimeout:
            raise Unreachable(
                f"No result within {self._timeout_seconds:g} s: the storage does not answer."
            ) from None
        except ProcessExpired as error:
            raise Unavailable(f"A worker process died (exit code {error.exitcode}).") from None

    def stop(self) -> None:
        """End all workers."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join(timeout=10)
