"""Files kept open, and reads that go from replica to replica until one serves.

Opening costs tens of milliseconds on a local network and hundreds across an ocean, so files stay
open. Threads may share a pool and read different files at once; a file is one thread's at a time,
which its callers see to. Knows no baskets, no columns, no joins; what a failure means is said in
``faults``, what follows from it in ``retry``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from columnservice.errors import ColumnServiceError, Unreachable
from columnservice.model import FileLocation
from columnservice.reader.faults import FailureClass, classify, fault, raised_by_reader
from columnservice.reader.replicas import is_remote, redact
from columnservice.reader.retry import LeftAside, pause_before_repeat, still_to_ask
from columnservice.reader.rootfile import OpenTree, open_replica, stat

T = TypeVar("T")


class FilePool:
    """Files kept open, the least recently used closed first, but none that is being read.

    Args:
        open_files: how many stay open.
        reopen_seconds: a remote file open for longer is opened anew, so that a replaced file is
            noticed; local files are looked at each time.
    """

    def __init__(self, open_files: int = 64, reopen_seconds: float = 60.0) -> None:
        self._open_files = open_files
        self._reopen_seconds = reopen_seconds
        self._trees: OrderedDict[tuple[str, str], OpenTree] = OrderedDict()
        self._read: Counter[str] = Counter()  # logical file names
        self._aside = LeftAside()
        self._lock = threading.Lock()

    def serve(self, location: FileLocation, work: Callable[[OpenTree], T]) -> T:
        """What ``work`` makes of the file, at the first replica where it succeeds.

        ``work`` may run several times: it reads and returns, and changes nothing.

        Raises:
            NotAllowed, FileChanged, FileError, TransportError: no replica could serve; tells of the
                last one that was asked, and names the others.
            whatever else ``work`` raises: at once.
        """
        begun = time.monotonic()
        with self._lock:
            waiting = self._aside.ordered(location.replicas, begun)
        if not waiting:
            raise Unreachable(f"No replica of {location.lfn} is known.")
        before: list[str] = []
        while True:
            url, *waiting = waiting
            outcome = self._ask(location, url, work, begun)
            if not isinstance(outcome, _Failed):
                return outcome
            with self._lock:
                self._aside.add(outcome.found, url, time.monotonic())
            waiting = still_to_ask(outcome.found, waiting, location.replicas[-1])
            if not waiting:
                raise _with_history(outcome.error, before)
            before.append(f"{redact(url)} ({outcome.found.name})")

    def _ask(
        self, location: FileLocation, url: str, work: Callable[[OpenTree], T], begun: float
    ) -> T | _Failed:
        """Ask one replica, again if that may help."""
        repeated = 0
        while True:
            try:
                return self._work(location, url, work)
            except Exception as error:
                found = classify(error)
                if found is None:
                    raise
                failed = _Failed(found, fault(error, location.lfn, url))
            pause = pause_before_repeat(found, repeated, time.monotonic() - begun)
            if pause is None:
                return failed
            time.sleep(pause)
            repeated += 1

    def _work(self, location: FileLocation, url: str, work: Callable[[OpenTree], T]) -> T:
        with self._reading(location.lfn):
            opened = self._take(location, url)
            try:
                return work(opened)
            except Exception as error:
                if classify(error) is not None:
                    self.discard(opened)
                raise

    @contextlib.contextmanager
    def _reading(self, lfn: str) -> Iterator[None]:
        """Meanwhile the file is not closed to make room for others."""
        with self._lock:
            self._read[lfn] += 1
        try:
            yield
        finally:
            with self._lock:
                self._read[lfn] -= 1
                self._read += Counter()  # without those that nobody reads
            self._make_room()

    @contextlib.contextmanager
    def tree(self, location: FileLocation) -> Iterator[OpenTree]:
        """The file, open at its first replica that answers.

        The tree of a registered file is read before it is given out, so that a replica which fails
        at that is passed over; what fails in the caller's hands is told, but not repeated.
        """
        with self._reading(location.lfn):
            registered = location.identity is not None
            opened = self.serve(location, _with_tree if registered else _as_it_is)
            try:
                yield opened
            except Exception as error:
                mine = isinstance(error, OSError) or raised_by_reader(error)
                if isinstance(error, ColumnServiceError) or not mine:
                    raise
                self.discard(opened)
                raise fault(error, location.lfn, opened.url) from None

    def _still_good(self, held: OpenTree) -> bool:
        if is_remote(held.url):
            return time.monotonic() - held.opened_seconds < self._reopen_seconds
        try:
            now = stat(held.directory, held.url)
        except OSError:
            return False
        return now == (held.identity.size_bytes, held.mtime_seconds)

    def _take(self, location: FileLocation, url: str) -> OpenTree:
        key = (url, location.tree)
        with self._lock:
            held = self._trees.get(key)
            if held is not None:
                self._trees.move_to_end(key)
        if held is not None:
            same = location.identity in (None, held.identity)
            if same and self._still_good(held):
                return held
            self.discard(held)
        opened = open_replica(location, url)
        with self._lock:
            self._trees[key] = opened
        return opened

    def _make_room(self) -> None:
        """Close the least recently used files, if there are too many."""
        with self._lock:
            idle = [k for k, t in self._trees.items() if t.location.lfn not in self._read]
            excess = len(self._trees) - self._open_files
            closing = [self._trees.pop(key) for key in idle[: max(excess, 0)]]
        for opened in closing:
            opened.close()

    def discard(self, opened: OpenTree) -> None:
        """Close a file that gave trouble, so that the next reader opens it anew."""
        with self._lock:
            self._trees.pop((opened.url, opened.location.tree), None)
        opened.close()

    def close(self) -> None:
        """Close all files; nobody reads any more."""
        while self._trees:
            self._trees.popitem()[1].close()


class _Failed:
    """A replica that could not serve."""

    def __init__(self, found: FailureClass, error: ColumnServiceError) -> None:
        self.found = found
        self.error = error


def _as_it_is(opened: OpenTree) -> OpenTree:
    return opened


def _with_tree(opened: OpenTree) -> OpenTree:
    _: Any = opened.tree
    return opened


def _with_history(error: ColumnServiceError, before: list[str]) -> ColumnServiceError:
    """The error, naming the replicas that failed earlier."""
    if not before:
        return error
    return type(error)(f"{error.message} Asked before: {', '.join(before)}.", error.remedy)
