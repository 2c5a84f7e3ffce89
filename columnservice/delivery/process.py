"""One worker process as the service sees it: started, watched, given a task, ended.

A pebble pool of one: killed in the middle of a message, a process takes the pipe and the locks of
its pool with it, so no two processes share them and a pool is given up with its process. Knows
nothing of what tasks do.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import Any

from pebble import ProcessExpired, ProcessPool

from columnservice.delivery.pulse import Pulse, Stillness
from columnservice.delivery.workshop import WorkerSettings, perform, start

log = logging.getLogger(__name__)
TEMPLATE = "columnservice.delivery.template"
CONTEXT = multiprocessing.get_context("forkserver")
# An idle process that does not say for so long that it runs gets no task, and then is frozen.
QUIET_SECONDS = 3.0
FROZEN_SECONDS = 10.0
DEATH = (ProcessExpired, BrokenProcessPool)
"""What a task's future holds when its process died."""


class _Pool(ProcessPool):
    """A pool whose processes end before the locks that they are given.

    pebble starts another process at once in place of one that died, takes the locks away when it
    stops, and ends processes then. One that has just begun would find no locks and say so in the
    log; it cannot be asked to end sooner, as it leaves SIGTERM alone until it is ready. Written for
    pebble 5.2.
    """

    def _stop_pool(self) -> None:
        if self._pool_manager_loop is not None:
            self._pool_manager_loop.join()  # starts no process any more
        try:
            self._pool_manager.worker_manager.force_stop_workers()  # type: ignore[no-untyped-call]
        finally:
            super()._stop_pool()  # type: ignore[no-untyped-call]


def start_template() -> None:
    """Have the process from which workers are forked begin to load; returns at once.

    ``NUMBA_CACHE_DIR`` must be set by then. Starting a worker does the same, if need be again.
    """
    CONTEXT.set_forkserver_preload([TEMPLATE])
    forkserver.ensure_running()


def template_pid() -> int | None:
    """The process from which workers are forked, as Python last knew it."""
    pid: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


def kill_template() -> None:
    """End the process from which workers are forked; the next start makes another."""
    pid = template_pid()
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class WorkerProcess:
    """A process forked from the template, with everything loaded, or about to be.

    Args:
        settings: what it must know.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.pulse = Pulse(CONTEXT)
        self.age = Stillness(lambda: 0)
        self._beating = Stillness(lambda: self.pulse.beats)
        self._pool = _Pool(
            max_workers=1, context=CONTEXT, initializer=start, initargs=(settings, self.pulse)
        )
        self._ending: threading.Thread | None = None
        self._template: int | None = None
        self._started = False
        # A template that hangs or dies must hold up nobody who looks after processes.
        self._starting = threading.Thread(target=self._start, name="start a worker", daemon=True)
        self._starting.start()

    def _start(self) -> None:
        try:
            start_template()
            self._template = template_pid()
            self._started = bool(self._pool.active)  # pebble starts it when it is asked about it
        except Exception as error:
            log.error("a worker process could not be started: %r", error)

    @property
    def starting(self) -> bool:
        """Whether it is being started, and not there yet."""
        return self._starting.is_alive()

    def alive(self) -> bool:
        """Whether the process is there, or about to be."""
        return self.starting or (self._started and bool(self._pool.active))

    def template_is_gone(self) -> bool:
        """Whether it was forked from a template that has died: then it is lost with it."""
        start_template()
        return template_pid() != self._template

    def quiet(self) -> bool:
        """Whether the process may be there but not run."""
        return self._beating.seconds() > QUIET_SECONDS

    def frozen(self) -> bool:
        """Whether the process is there but does not run; ask often."""
        return self._beating.seconds() > FROZEN_SECONDS

    def begin(
        self, work: Callable[..., Any], arguments: tuple[Any, ...], with_tools: bool
    ) -> Future[Any]:
        """Give it a task; what the task raises, or one of ``DEATH``, is in the future."""
        try:
            return self._pool.schedule(perform, args=(work, arguments, with_tools))
        except RuntimeError as error:  # it died while it was idle
            failed: Future[Any] = Future()
            failed.set_exception(BrokenProcessPool(str(error)))
            return failed

    def end(self) -> None:
        """End the process, whatever it does; returns at once, and may be called again."""
        if self._ending is not None:
            return
        self.pulse.leave()
        self._ending = threading.Thread(target=self._end, name="end a worker", daemon=True)
        self._ending.start()

    def _end(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    @property
    def ending(self) -> bool:
        """Whether it was asked to end and is not gone yet."""
        return self._ending is not None and self._ending.is_alive()

    def wait_for_end(self, seconds: float) -> None:
        """Wait until an ended process is gone."""
        if self._ending is not None:
            self._ending.join(seconds)
