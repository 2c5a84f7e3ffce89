"""One request for values: asked, resumed where it broke off, kept on disk, and written down.

Knows the paths and headers of data requests; neither Columns nor local files.
"""

from __future__ import annotations

import json
import time
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urlencode

from columnservice import wire
from columnservice.client.connection import Answer
from columnservice.client.reply import (
    Reply,
    join,
    made_alike,
    read_beginning,
    read_reply,
    unconfirmed,
)
from columnservice.client.replycache import ReplyCache
from columnservice.client.report import LEDGER, Fetched
from columnservice.client.transport import NOT_MODIFIED, Transport
from columnservice.client.waiting import WAITS
from columnservice.errors import OutOfRange, TruncatedReply, Unreachable

PROGRESS_AFTER_SECONDS = 2.0
_LONGEST_QUERY = 1500
"""Characters of a query string up to which a data request is a GET, which caches may keep."""

_MOST_BEGINNINGS = 3
"""How often one request is begun, if what it is made of changes each time meanwhile."""


class ColumnServiceWarning(UserWarning):
    """Something that the user should know, while the local columns work as ever."""


@dataclass(frozen=True)
class DataRequest:
    """Columns of rows ``start`` to ``stop`` of a local file of a Dataset.

    ``file`` is the UUID, or the digest of uploaded EventKeys; ``known_as`` is the UUID.
    """

    dataset: str
    file: str
    start: int
    stop: int
    columns: tuple[str, ...]
    known_as: str = ""

    def __str__(self) -> str:
        rows = f"rows {self.start} to {self.stop}"
        return f"{len(self.columns)} columns of {self.dataset}, {rows}"


def fetch(
    transport: Transport,
    request: DataRequest,
    *,
    compression: str | None,
    cache: ReplyCache | None,
    ahead: bool = False,
) -> Reply:
    """The reply to a request, whole and contiguous; not yet proven.

    Args:
        transport: where the service is.
        request: what is asked for.
        compression: of the reply's buffers; None for none.
        cache: the user's disk, if it may be used.
        ahead: nobody waits for this, so nothing is said about it.

    Raises:
        OutOfRange: the rows are no range; and whatever the service says.
        TransportError: the answer did not arrive whole.
    """
    if not 0 <= request.start <= request.stop:
        raise OutOfRange(f"Rows {request.start} to {request.stop} are not a range.")
    begun = time.perf_counter()
    asking = _Asking(transport, request, compression, cache)
    if ahead:
        reply = asking.reply()
    else:
        with progress(str(request)):
            reply = asking.reply()
    LEDGER.fetched(
        transport.url,
        Fetched(
            request.dataset,
            request.known_as or request.file,
            request.start,
            request.stop,
            asking.size_bytes,
            0.0 if ahead else time.perf_counter() - begun,
            ahead,
            asking.from_disk,
            asking.resumed,
            reply.verified,
            reply.told,
        ),
    )
    return reply


class _Asking:
    """A request while it is being answered."""

    def __init__(
        self,
        transport: Transport,
        request: DataRequest,
        compression: str | None,
        cache: ReplyCache | None,
    ) -> None:
        self._transport, self._request, self._cache = transport, request, cache
        self._headers = {"Accept": wire.MEDIA_TYPE}
        if compression is not None:
            self._headers[wire.COMPRESSION_HEADER] = compression
        self.size_bytes = self.resumed = 0
        self.from_disk = False

    def reply(self) -> Reply:
        if self._cache is None:
            return self._whole(self._ask(self._request.start))
        return self._through(self._cache)

    def _through(self, cache: ReplyCache) -> Reply:
        """The reply from the user's disk, if the service confirms it; else its answer, kept."""
        what = self._request
        key = cache.key(
            self._transport.url, what.dataset, what.file, what.start, what.stop, what.columns
        )
        held = cache.get(key)
        answer: Answer | None = None
        try:
            answer = self._ask(what.start, held[0] if held else "")
        except Unreachable:
            if held is None:
                raise
        if held is not None and (answer is None or answer.status == NOT_MODIFIED):
            try:
                reply = read_reply(held[1], what.start, what.stop)
            except TruncatedReply:
                cache.drop(key)
                answer = self._ask(what.start)
            else:
                self.from_disk = True
                if answer is None:
                    _warn_of_age(self._transport.url)
                    return unconfirmed(reply)
                return reply
        assert answer is not None
        reply = self._whole(answer)
        if answer.whole and reply.verified:
            cache.put(key, answer.etag, answer.content)
        return reply

    def _ask(self, start: int, etag: str = "") -> Answer:
        what = self._request
        headers = {**self._headers, **({"If-None-Match": etag} if etag else {})}
        base, names = _base(what.dataset), _names(what.columns)
        query = f"{_file(what.file)}&start={start}&stop={what.stop}&{names}"
        if len(query) <= _LONGEST_QUERY:
            answer = self._transport.exchange("GET", f"{base}/data?{query}", headers=headers)
        else:
            wanted = {
                "file": what.file,
                "start": start,
                "stop": what.stop,
                "columns": list(what.columns),
            }
            headers["Content-Type"] = "application/json"
            answer = self._transport.exchange(
                "POST", f"{base}/query", body=json.dumps(wanted).encode(), headers=headers
            )
        self.size_bytes += len(answer.content)
        return answer

    def _whole(self, answer: Answer) -> Reply:
        """The reply, asking for the rest as long as each answer brings at least one batch.

        Parts that were made from different parents or by different Recipes are never put together:
        what came first is thrown away, and everything is asked for anew.

        Raises:
            TruncatedReply: no batch arrived, or what it is made of changed again and again.
        """
        what = self._request
        parts: Reply | None = None
        for _ in range(_MOST_BEGINNINGS):
            while True:
                part = self._part(answer, what.start if parts is None else parts.stop)
                if parts is not None and not made_alike(parts, part):
                    break
                parts = part if parts is None else join(parts, part)
                if answer.whole:
                    return parts
                self.resumed += 1
                answer = self._ask(parts.stop)
            parts = None
            answer = self._ask(what.start)
        raise TruncatedReply(
            f"Parents or recipes changed while {self._transport.url} was answering."
        )

    def _part(self, answer: Answer, at: int) -> Reply:
        """What one answer holds of the rows from ``at``."""
        stop = self._request.stop
        if answer.whole:
            return read_reply(answer.content, at, stop)
        part = read_beginning(answer.content, at)
        if part is None or part.stop >= stop:
            raise TruncatedReply(f"The reply of {self._transport.url} broke off.")
        return part


@lru_cache(maxsize=64)
def _base(dataset: str) -> str:
    """The path of a Dataset's Columns; those of one analysis are few."""
    return f"/v1/datasets/{quote(dataset, safe='')}/columns"


@lru_cache(maxsize=64)
def _file(file: str) -> str:
    """A file in a query string."""
    return urlencode([("file", file)])


@lru_cache(maxsize=64)
def _names(columns: tuple[str, ...]) -> str:
    """Columns in a query string; all ranges of an analysis ask for the same."""
    return urlencode([("column", name) for name in columns])


_warned: set[str] = set()


def _warn_of_age(url: str) -> None:
    if url not in _warned:
        _warned.add(url)
        warnings.warn(
            f"{url} does not answer: columns come from the cache on this disk, unverified.",
            ColumnServiceWarning,
            stacklevel=2,
        )


def progress(what: str) -> AbstractContextManager[None]:
    """Says on stderr what is being waited for, once the wait has become long."""
    return WAITS.during(what, PROGRESS_AFTER_SECONDS)
