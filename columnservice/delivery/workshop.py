"""What runs inside a worker process: one task after another, with everything loaded before.

A worker holds open files, the cache and compiled kernels. It ends when the service ends, however
that went, and when the service says so. Knows no catalogue and no request.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from columnservice.delivery.memory import keep_what_is_freed
from columnservice.delivery.pulse import Pulse
from columnservice.settings import Settings

T = TypeVar("T")
BEAT_SECONDS = 0.5
# Opening a file far away is waiting, so several are opened and read at once.
FILES_AT_ONCE = 4


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
    """The state of this process, set once by ``start``."""

    settings: WorkerSettings
    pulse: Pulse
    busy: bool = False


def start(settings: WorkerSettings, pulse: Pulse) -> None:
    """Make this process a worker: load whatever the template had not loaded."""
    _Worker.settings, _Worker.pulse = settings, pulse
    keep_what_is_freed()
    signal.signal(signal.SIGTERM, _terminated)
    for work in (_end_with_service, _beat):
        threading.Thread(target=work, name=work.__name__, daemon=True).start()
    import XRootD.client

    from columnservice.delivery import template
    from columnservice.reader import progress

    assert XRootD.client
    assert template
    tools()
    gc.collect()
    gc.freeze()  # what is loaded stays, and need not be looked at again and again
    progress.watch(pulse.progress)
    pulse.be_ready()


def _terminated(*_: object) -> None:
    """SIGTERM: an init system sends it to all processes at once, but running replies go on.

    In the middle of a task it is an exception, so that a Piece that is half written is removed.
    """
    if _Worker.pulse.leaving and _Worker.busy:
        raise SystemExit(0)
    if _Worker.pulse.leaving:
        os._exit(0)


def _end_with_service() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _beat() -> None:
    """Say that this process runs; end it when its template is gone, and with it who knows of it."""
    template = os.getppid()
    while os.getppid() == template:
        _Worker.pulse.beat()
        time.sleep(BEAT_SECONDS)
    os._exit(1)


@cache
def tools() -> Any:
    """The tools of this worker process."""
    from columnservice.cache.pieces import PieceCache
    from columnservice.delivery.tools import Tools
    from columnservice.reader import FilePool

    told = _Worker.settings
    pieces = PieceCache(told.cache_dir, told.cache_limit_bytes, sweep=False)
    atexit.register(pieces.close)
    threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="decode")
    readers = ThreadPoolExecutor(max_workers=FILES_AT_ONCE, thread_name_prefix="read")
    return Tools(FilePool(told.open_files), pieces, told.index_dir, threads, readers)


def perform(work: Callable[..., T], arguments: tuple[Any, ...], with_tools: bool) -> T:
    """Run one task."""
    _Worker.busy = True
    try:
        _Worker.pulse.begin()
        return work(tools(), *arguments) if with_tools else work(*arguments)
    finally:
        _Worker.busy = False
