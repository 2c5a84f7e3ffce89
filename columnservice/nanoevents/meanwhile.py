"""Something to do by another thread while this one waits for the service.

Knows neither files nor the service.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress


class Meanwhile:
    """Work that is begun if there is something to wait for, and is over when the wait is.

    Args:
        work: does nothing that the waiting thread does. Whatever goes wrong in it, or with its
            thread, stays there: who needs its result does it again, and is told then.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin, unless it was begun."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(
            target=self._done, name="columnservice-meanwhile", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # this user may have no more threads
            self._thread = None

    def end(self) -> None:
        """Wait until it is done, if it was begun: nobody takes away what it works on.

        So an error of the service, or a first interrupt, is told only then.
        """
        if self._thread is not None:
            self._thread.join()

    def _done(self) -> None:
        with suppress(Exception):
            self._work()
