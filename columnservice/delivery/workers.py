"""Running tasks in worker processes: so many at a time, in order of asking, and never for ever.

A task whose process reports no progress for ``deadline_seconds`` fails and costs that process only.
A task whose process died is tried once more. Of tasks on servers that gave no answer lately one
runs at a time, so that they keep nobody else waiting. Knows no catalogue and no request.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from columnservice.delivery.crew import Crew
from columnservice.delivery.metrics import Metrics
from columnservice.delivery.process import DEATH, WorkerProcess
from columnservice.delivery.pulse import Stillness
from columnservice.delivery.tasks import MaterialiseResult, subject
from columnservice.delivery.troubled import (
    SLOW_SECONDS,
    TROUBLED_SECONDS,
    Troubled,
    origins_of,
    servers_of,
)
from columnservice.delivery.workshop import WorkerSettings
from columnservice.errors import ColumnServiceError, Unavailable, Unreachable
from columnservice.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")
LOOK_SECONDS = 0.25
# How often lanes look whether a server's time of trouble is over.
TROUBLE_LOOK_SECONDS = 1.0
# A task for which so many processes died before it began will not begin.
MOST_VAIN_STARTS = 5
# What a process that is asked to end gets before it is killed, and some time to notice.
END_SECONDS = 10.0


@dataclass(eq=False)
class _Job:
    """A task and who waits for it."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    with_tools: bool
    about: str
    servers: frozenset[str]
    future: Future[Any] = field(default_factory=Future)


class _Died(Exception):
    """The process of a task died; ``begun`` says whether the task had begun."""

    def __init__(self, begun: bool) -> None:
        super().__init__("a worker process died")
        self.begun = begun


class Workers:
    """Worker processes and the tasks that wait for them.

    Args:
        settings: of the service.
        metrics: where deadlines and deaths are counted.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._deadline_seconds = settings.deadline_seconds
        self._metrics = metrics
        self._crew = Crew(WorkerSettings.of(settings), settings.workers + 1, metrics.worker_died)
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running = 0
        self._troubled = Troubled(max(TROUBLED_SECONDS, 2 * self._deadline_seconds))
        self._trying = False
        self._closed = False
        self._ending = threading.Event()
        self._lanes = [
            threading.Thread(target=self._lane, name=f"lane-{n}", daemon=True)
            for n in range(settings.workers)
        ]
        for lane in self._lanes:
            lane.start()

    @property
    def ready(self) -> bool:
        """Whether a process is warm, so that no task has to wait for one to load."""
        return self._crew.warm > 0 and not self._crew.failing

    @property
    def warm(self) -> int:
        """How many processes are warm."""
        return self._crew.warm

    @property
    def waiting(self) -> int:
        """How many tasks wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many tasks run."""
        return self._running

    def submit(self, work: Callable[[Any, Any], T], task: Any) -> Future[T]:
        """Run ``work(tools, task)`` in a worker; both must pickle."""
        return self._put(_Job(work, (task,), True, subject(task), origins_of(task)))

    def run(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Run a plain function in a worker; its first argument names the file."""
        about = str(args[0]) if args else "A task"
        return self._put(_Job(function, args, False, about, servers_of([about])))

    def result(self, future: Future[T]) -> T:
        """A task's result.

        Raises:
            Unreachable: it made no progress within the deadline.
            Unavailable: worker processes died of it, or the service ends.
            ColumnServiceError: what the task raised.
        """
        return future.result()

    def _put(self, job: _Job) -> Future[Any]:
        with self._changed:
            if self._closed:
                job.future.set_exception(_shutting_down())
            else:
                self._waiting.append(job)
                self._changed.notify()
        return job.future

    def close(self) -> None:
        """Begin no further task; those that run go on."""
        with self._changed:
            self._closed = True
            turned_away, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for job in turned_away:
            job.future.set_exception(_shutting_down())

    def abandon(self) -> None:
        """Let all tasks fail, so that who waits for them can be told."""
        self.close()
        self._ending.set()

    def stop(self) -> None:
        """End all processes, whatever they do, and wait until they are gone."""
        self.abandon()
        self._crew.stop(END_SECONDS)
        for lane in self._lanes:
            lane.join(END_SECONDS)

    def _next(self) -> tuple[_Job, bool] | None:
        """The first task that may run, and whether it tries a server that gave no answer."""
        for job in self._waiting:
            tries = self._troubled.holds(job.servers)
            if not (tries and self._trying):
                return job, tries
        return None

    def _take(self) -> tuple[_Job, bool] | None:
        """The next task; None when there will be no more."""
        with self._changed:
            while (found := self._next()) is None:
                if self._closed:
                    return None
                self._changed.wait(TROUBLE_LOOK_SECONDS if self._waiting else None)
            job, tries = found
            self._waiting.remove(job)
            self._trying |= tries
            self._running += 1
            return found

    def _lane(self) -> None:
        while (found := self._take()) is not None:
            job, tries = found
            begun = monotonic()
            failure: BaseException | None = None
            try:
                result = self._perform(job)
            except BaseException as error:
                failure = error
            with self._changed:
                self._running -= 1
                self._trying &= not tries
                if isinstance(failure, Unreachable) and monotonic() - begun > SLOW_SECONDS:
                    self._troubled.add(job.servers)
                elif failure is None:
                    self._troubled.remove(answering(job, result))
                self._changed.notify_all()
            if failure is not None:
                job.future.set_exception(failure)
            else:
                job.future.set_result(result)
            del job, found, failure

    def _perform(self, job: _Job) -> Any:
        deaths = vain = 0
        while True:
            try:
                return self._attempt(job, self._crew.borrow())
            except _Died as death:
                deaths += death.begun
                vain += not death.begun
            if deaths > 1:
                raise Unavailable(f"{job.about}: two worker processes died of it.")
            if vain > MOST_VAIN_STARTS:
                raise Unavailable(f"{job.about}: worker processes died before it began.")

    def _attempt(self, job: _Job, process: WorkerProcess) -> Any:
        """Run a task in one process, which is given back or ended."""
        before = process.pulse.begun
        future = process.begin(job.work, job.arguments, job.with_tools)
        try:
            self._watch(future, process, job.about)
            error = future.exception()
        except BaseException:
            self._crew.end(process)
            raise
        if error is not None and self._ending.is_set():
            # It may have been told to end before this thread looked, in the middle of anything.
            self._crew.end(process)
            raise _shutting_down()
        if isinstance(error, (*DEATH, SystemExit)):
            self._crew.end(process)
            log.warning("a worker process died with %s: %s", job.about, error)
            self._metrics.worker_died()
            guilty = process.pulse.begun > before and not process.template_is_gone()
            raise _Died(begun=guilty) from None
        self._crew.give_back(process, error is None or isinstance(error, ColumnServiceError))
        return future.result()

    def _watch(self, future: Future[Any], process: WorkerProcess, about: str) -> None:
        """Return when a task is done.

        Raises:
            Unreachable: it made no progress for too long.
            _Died: its process does not run at all.
            Unavailable: the service ends.
        """
        still = Stillness(lambda: process.pulse.steps)
        silent = Stillness(lambda: process.pulse.beats)
        look_seconds = min(LOOK_SECONDS, self._deadline_seconds / 10)
        while not wait([future], look_seconds).done:
            if self._ending.is_set():
                raise _shutting_down()
            silent_seconds = silent.seconds()
            if still.seconds() <= self._deadline_seconds:
                continue
            if silent_seconds > self._deadline_seconds / 2:
                log.warning("a worker process froze with %s and is ended", about)
                self._metrics.worker_died()
                raise _Died(begun=True)
            self._metrics.deadline()
            log.warning("no progress with %s for %g s", about, self._deadline_seconds)
            raise Unreachable(
                f"{about}: nothing arrived from the storage for {self._deadline_seconds:g} s."
            )


def answering(job: _Job, result: Any) -> frozenset[str]:
    """The servers that a result shows to answer."""
    if isinstance(result, MaterialiseResult):
        return servers_of(result.source_bytes)
    return frozenset() if job.with_tools else job.servers


def _shutting_down() -> Unavailable:
    return Unavailable("The service is shutting down.")
