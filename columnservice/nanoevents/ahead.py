"""Reading ahead: which range comes next, and one background thread that fetches it.

Whatever goes wrong there stays there: the analysis asks for itself when it gets to the range, and
is told then. Knows ranges; neither the service nor arrays.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable

from columnservice.errors import ColumnServiceError
from columnservice.nanoevents.memory import Range, Source

_FILES_FOLLOWED = 64


class Pace:
    """Notices that ranges of a file are read one after the other."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[Source, str], Range] = OrderedDict()

    def follow(self, where: Range, entries: int) -> Range | None:
        """The range that will be read next, if two neighbours of one size were just read.

        Args:
            where: the range that is read now.
            entries: of the file.
        """
        key = (where.source, where.uuid)
        last = self._last.pop(key, None)
        self._last[key] = where
        if len(self._last) > _FILES_FOLLOWED:
            self._last.popitem(last=False)
        size = where.stop - where.start
        if last is None or last.stop != where.start or last.stop - last.start != size:
            return None
        if where.stop >= entries:
            return None
        return where._replace(start=where.stop, stop=min(where.stop + size, entries))


class Ahead:
    """At most one range on its way in the background of this process."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """For a forked child, which lacks the thread: nothing is on its way."""
        self.pace = Pace()
        self._lock = threading.Lock()
        self._where: Range | None = None
        self._done = threading.Event()
        self._done.set()

    def begin(self, where: Range, job: Callable[[], object]) -> bool:
        """Do a job for a range in the background; False while another one is not done."""
        with self._lock:
            if not self._done.is_set():
                return False
            self._where, self._done = where, threading.Event()
            done = self._done

        def work() -> None:
            try:
                job()
            except ColumnServiceError:
                # The analysis will ask for these rows itself and get the error, or the rows.
                return
            finally:
                done.set()

        # A daemon: the end of the analysis need not wait for what nobody will use.
        threading.Thread(target=work, name="columnservice-ahead", daemon=True).start()
        return True

    def on_its_way(self, where: Range) -> threading.Event | None:
        """What to wait for until this range has come or failed; None where nothing is under way."""
        with self._lock:
            return None if self._where != where or self._done.is_set() else self._done

    def wait(self, where: Range) -> bool:
        """Wait until this range is no longer on its way; whether it was."""
        done = self.on_its_way(where)
        return done is not None and done.wait()


AHEAD = Ahead()
os.register_at_fork(after_in_child=AHEAD.renew)
