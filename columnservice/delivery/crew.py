"""The worker processes that are kept warm: as many as work at a time, and one spare.

Replaces those that die or freeze while they are idle. Knows no tasks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from columnservice.delivery.process import WorkerProcess, kill_template
from columnservice.delivery.workshop import WorkerSettings
from columnservice.errors import Unavailable

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.2
LOADING_SECONDS = 300.0
# So many processes in a row that could not even load: something is wrong with the installation.
HOPELESS_STARTS = 3
LONGEST_PAUSE_SECONDS = 30.0


class Crew:
    """Warm worker processes, lent one by one.

    Args:
        settings: what each process must know.
        size: how many are kept, the spare among them.
        died: called when a process has died or frozen.
    """

    def __init__(self, settings: WorkerSettings, size: int, died: Callable[[], None]) -> None:
        self._settings = settings
        self._size = size
        self._died = died
        self._changed = threading.Condition()
        self._loading: list[WorkerProcess] = []
        self._idle: list[WorkerProcess] = []
        self._lent: list[WorkerProcess] = []
        self._ended: list[WorkerProcess] = []
        self._failed_starts = 0
        self._start_after_seconds = 0.0
        self._was_ready = False
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watch workers", daemon=True)
        self._watcher.start()

    @property
    def warm(self) -> int:
        """How many processes are there and have everything loaded."""
        with self._changed:
            return len(self._idle) + len(self._lent)

    @property
    def failing(self) -> bool:
        """Whether processes cannot be started."""
        return self._failed_starts >= HOPELESS_STARTS

    def borrow(self) -> WorkerProcess:
        """A warm idle process, that which worked last if it may; waits for one.

        Raises:
            Unavailable: none can be had, or the service ends.
        """
        with self._changed:
            while (
                process := next((p for p in reversed(self._idle) if not p.quiet()), None)
            ) is None:
                if self._stopping.is_set():
                    raise Unavailable("The service is shutting down.")
                if self.failing:
                    raise Unavailable("Worker processes do not start; the service's log says why.")
                self._changed.wait(LOOK_SECONDS)
            self._idle.remove(process)
            self._lent.append(process)
            return process

    def give_back(self, process: WorkerProcess, at_once: bool = True) -> None:
        """A process that may be lent again.

        Args:
            process: which.
            at_once: before the others, since its files are open and its memory is its own; else
                behind them, because something may be wrong with it.
        """
        with self._changed:
            self._lent.remove(process)
            self._idle.insert(len(self._idle) if at_once else 0, process)
            self._changed.notify_all()

    def end(self, process: WorkerProcess) -> None:
        """End a lent process, because it died, froze or makes no progress."""
        with self._changed:
            self._lent = [p for p in self._lent if p is not process]
        self._bury(process)

    def stop(self, seconds: float) -> None:
        """End all processes and wait until they are gone."""
        self._stopping.set()
        self._watcher.join(seconds)
        with self._changed:
            processes = [*self._loading, *self._idle, *self._lent]
            self._loading, self._idle = [], []
            self._changed.notify_all()
        if any(process.starting for process in processes):
            kill_template()  # who waits for it would wait for ever if it hangs
        for process in processes:
            self._bury(process)
        until = monotonic() + seconds
        for process in self._ended:
            process.wait_for_end(max(0.0, until - monotonic()))

    def _bury(self, process: WorkerProcess) -> None:
        process.end()
        with self._changed:
            self._ended = [*(p for p in self._ended if p.ending), process]

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look_at_loading()
                self._look_at_idle()
                self._start_missing()
            except Exception:  # without somebody who looks, nothing would be replaced any more
                log.exception("looking after worker processes failed")
            self._stopping.wait(LOOK_SECONDS)

    def _look_at_loading(self) -> None:
        for process in list(self._loading):
            if process.alive() and process.pulse.ready:
                with self._changed:
                    self._loading.remove(process)
                    self._idle.insert(0, process)
                    self._changed.notify_all()
                self._failed_starts, self._was_ready = 0, True
            elif not process.alive() or process.age.seconds() > LOADING_SECONDS:
                if process.starting:
                    log.error("no worker process can be started: the template is ended")
                    kill_template()
                self._loading.remove(process)
                self._bury(process)
                self._failed_starts += 1
                pause = min(2.0 ** (self._failed_starts - 1), LONGEST_PAUSE_SECONDS)
                self._start_after_seconds = monotonic() + pause
                log.error("a worker process ended before it was ready")

    def _look_at_idle(self) -> None:
        with self._changed:
            gone = [p for p in self._idle if not p.alive() or p.frozen()]
            self._idle = [p for p in self._idle if p not in gone]
        for process in gone:
            log.warning("an idle worker process died or froze and is replaced")
            self._died()
            self._bury(process)

    def _start_missing(self) -> None:
        """The spare is started when the others are ready, so that it does not slow them down."""
        if monotonic() < self._start_after_seconds:
            return
        wanted = self._size if self._was_ready else self._size - 1
        with self._changed:
            missing = wanted - len(self._loading) - len(self._idle) - len(self._lent)
        self._loading += [WorkerProcess(self._settings) for _ in range(missing)]
