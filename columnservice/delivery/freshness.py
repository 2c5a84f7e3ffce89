"""Whether parent files are still the ones that were registered, asked of their origins.

Asked around the XCache, at most every ``revalidate_seconds`` for each file, and never for longer
than a request can wait: what cannot be asked is served as *unverified*. Knows no Pieces.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from urllib.parse import urlsplit

from columnservice.errors import FileChanged
from columnservice.model import FileRecord
from columnservice.reader.replicas import is_remote
from columnservice.reader.stat import FileStat, stat_file

log = logging.getLogger(__name__)
Stat = Callable[[str], FileStat]
# An origin that did not answer is asked again after this share of the usual time.
RETRY_SHARE = 0.1
# To one server at a time.
QUESTIONS = 8
# A server that refuses sooner is there, and costs no other question anything.
SLOW_SECONDS = 2.0


@dataclass(frozen=True)
class _Answer:
    """What an origin said last, and when; ``stat`` is None where it did not answer."""

    stat: FileStat | None
    asked_seconds: float


def is_same(record: FileRecord, stat: FileStat) -> bool:
    """Whether a file is still as it was when it was indexed; an unknown mtime counts as equal."""
    same_time = record.mtime_seconds in (0, stat.mtime_seconds)
    return stat.size_bytes == record.identity.size_bytes and same_time


class Freshness:
    """Asks origins, remembers their answers for a while.

    Args:
        revalidate_seconds: how long an answer is believed.
        wait_seconds: how long a request waits for origins; an answer that comes later counts for
            the next request.
        stat: how an origin is asked.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        revalidate_seconds: float,
        wait_seconds: float,
        stat: Stat = stat_file,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._revalidate_seconds = revalidate_seconds
        self._wait_seconds = wait_seconds
        self._stat = stat
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: dict[str, _Answer] = {}
        self._accused: dict[str, tuple[FileRecord, FileStat]] = {}
        self._asking: dict[str, Future[None]] = {}
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._silent_until: dict[str, float] = {}

    def stop(self) -> None:
        """Ask nothing more."""
        with self._lock:
            threads, self._threads = list(self._threads.values()), {}
        for pool in threads:
            pool.shutdown(wait=False, cancel_futures=True)

    def check(self, records: Sequence[FileRecord]) -> bool:
        """Whether all these files are known to be unchanged.

        Returns:
            True when every origin confirmed; False when some did not answer (*unverified*).

        Raises:
            FileChanged: a file is another one now, or was when its origin was last heard of.
        """
        begun = self._clock()
        wait(self._ask(records), timeout=self._wait_seconds)
        # An older answer may be of the file before a refresh: only a new one accuses.
        differing = [r for r in records if self._differs(r, before=begun)]
        if differing:
            with self._lock:
                for record in differing:
                    self._answers.pop(record.url, None)
            wait(self._ask(differing), timeout=self._wait_seconds)
        verified = True
        for record in records:
            answer = self._answers.get(record.url)
            if answer is None or answer.stat is None or not self._counts(answer, begun):
                self._demand_never_accused(record)
                verified = False
            elif not is_same(record, answer.stat):
                self._accused[record.url] = record, answer.stat
                raise _changed(record, answer.stat)
            else:
                self._accused.pop(record.url, None)
        return verified

    def _demand_never_accused(self, record: FileRecord) -> None:
        """A file that was found to be another one stays so while its origin is silent."""
        accused = self._accused.get(record.url)
        if accused is not None and accused[0] == record:
            raise _changed(*accused)

    def is_known(self, records: Sequence[FileRecord]) -> bool:
        """Whether ``check`` would have nobody asked, and nothing to complain of."""
        for record in records:
            answer = self._answers.get(record.url)
            if answer is None or answer.stat is None or not self._is_recent(answer):
                return False
            if not is_same(record, answer.stat) or record.url in self._accused:
                return False
        return True

    def _differs(self, record: FileRecord, before: float) -> bool:
        """Whether an answer from before some time is of another file."""
        answer = self._answers.get(record.url)
        if answer is None or answer.stat is None or answer.asked_seconds >= before:
            return False
        return not is_same(record, answer.stat)

    def _counts(self, answer: _Answer, begun: float) -> bool:
        """Whether an answer may be believed in a check that began at some time."""
        return answer.asked_seconds >= begun or self._is_recent(answer)

    def _is_recent(self, answer: _Answer) -> bool:
        share = 1.0 if answer.stat is not None else RETRY_SHARE
        return self._clock() - answer.asked_seconds < share * self._revalidate_seconds

    def _ask(self, records: Sequence[FileRecord]) -> list[Future[None]]:
        """Have the origins asked whose answers are too old; the futures of all that are open."""
        waiting = []
        with self._lock:
            for url in dict.fromkeys(record.url for record in records):
                answer = self._answers.get(url)
                if answer is not None and self._is_recent(answer):
                    continue
                if url not in self._asking:
                    self._asking[url] = self._pool_of(server_of(url)).submit(self._ask_one, url)
                waiting.append(self._asking[url])
        return waiting

    def _pool_of(self, server: str) -> ThreadPoolExecutor:
        """Threads of a server's own: one that hangs keeps no question to others waiting."""
        if server not in self._threads:
            self._threads[server] = ThreadPoolExecutor(
                QUESTIONS, thread_name_prefix=f"freshness {server}"
            )
        return self._threads[server]

    def _ask_one(self, url: str) -> None:
        stat, server, begun = None, server_of(url), self._clock()
        try:
            if self._clock() >= self._silent_until.get(server, 0.0):
                stat = self._stat(url)
        except OSError as error:
            log.warning("cannot ask whether a parent is unchanged: %s", error)
            if self._clock() - begun > SLOW_SECONDS:
                # All that wait behind this question would wait as long, each for itself.
                self._silent_until[server] = self._clock() + RETRY_SHARE * self._revalidate_seconds
        finally:
            with self._lock:
                self._answers[url] = _Answer(stat, self._clock())
                self._asking.pop(url, None)


def server_of(url: str) -> str:
    """The server of a URL; empty for a path."""
    return urlsplit(url).netloc if is_remote(url) else ""


def _changed(record: FileRecord, stat: FileStat) -> FileChanged:
    return FileChanged(
        f"{record.lfn} was replaced at {record.url}: it has {stat.size_bytes} bytes of time "
        f"{stat.mtime_seconds} instead of {record.identity.size_bytes} of {record.mtime_seconds}."
    )
