"""Signs of life of one worker process, in memory that it shares with the service.

Reading and writing cost nothing and block nobody, so a worker may tell of each block that arrives.
Knows no tasks and no processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.context import BaseContext

_READY, _LEAVING, _BEGUN, _PROGRESS, _BEATS = range(5)
# A watcher that was itself asleep must not take its own sleep for the other's.
LONGEST_STEP_SECONDS = 2.0


class Pulse:
    """Counters that the worker writes and the service reads; only ``leave`` goes the other way.

    Args:
        context: of the processes that share it; it travels to the worker when that starts.
    """

    def __init__(self, context: BaseContext) -> None:
        self._counts = context.RawArray("Q", 5)

    def _add(self, which: int) -> None:
        self._counts[which] += 1

    def be_ready(self) -> None:
        """Everything is loaded."""
        self._counts[_READY] = 1

    @property
    def ready(self) -> bool:
        """Whether the worker has loaded everything that tasks need."""
        return bool(self._counts[_READY])

    def leave(self) -> None:
        """Tell the worker that the next SIGTERM is from the service and meant for it."""
        self._counts[_LEAVING] = 1

    @property
    def leaving(self) -> bool:
        """Whether the service wants the worker to end."""
        return bool(self._counts[_LEAVING])

    def begin(self) -> None:
        """A task begins."""
        self._add(_BEGUN)
        self.progress()

    @property
    def begun(self) -> int:
        """How many tasks were begun."""
        return int(self._counts[_BEGUN])

    def progress(self) -> None:
        """The task got on."""
        self._add(_PROGRESS)

    @property
    def steps(self) -> int:
        """How often tasks got on."""
        return int(self._counts[_PROGRESS])

    def beat(self) -> None:
        """The process runs, whatever its task does."""
        self._add(_BEATS)

    @property
    def beats(self) -> int:
        """How often the process said that it runs."""
        return int(self._counts[_BEATS])


class Stillness:
    """For how long a counter has stood still.

    Args:
        count: reads the counter.
        clock: monotonic seconds.
    """

    def __init__(
        self, count: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count = count
        self._clock = clock
        self._last = count()
        self._looked_seconds = clock()
        self._still_seconds = 0.0

    def seconds(self) -> float:
        """Look again; no step counts for more than ``LONGEST_STEP_SECONDS``."""
        count, now = self._count(), self._clock()
        step = min(now - self._looked_seconds, LONGEST_STEP_SECONDS)
        self._still_seconds = self._still_seconds + step if count == self._last else 0.0
        self._last, self._looked_seconds = count, now
        return self._still_seconds
