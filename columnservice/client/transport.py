"""Requests to the service: one connection pool per process, one error per kind of failure.

Knows HTTP and problem documents; neither Columns nor Arrow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, ProtocolError, ReadTimeoutError

from columnservice.client.tokens import find_token
from columnservice.errors import (
    ColumnServiceError,
    NotAllowed,
    RequestError,
    TruncatedReply,
    Unauthenticated,
    Unavailable,
    Unreachable,
    from_problem,
)

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 900.0
"""Longer than the service's own deadline for a read without progress: that answer has a reason."""

NOT_MODIFIED = 304
_CHUNK_BYTES = 1 << 20
_LARGE_BYTES = 1 << 16
"""A body from this size on, whose length is told, is read into one buffer."""

_CONNECT_RETRIES = urllib3.Retry(
    total=None, connect=2, read=0, redirect=0, status=0, other=0, backoff_factor=0.2
)

_pools: dict[tuple[int, str], urllib3.HTTPConnectionPool] = {}


def _pool(origin: str) -> urllib3.HTTPConnectionPool:
    """This process's connections to ``scheme://host:port``; a forked child makes its own."""
    key = (os.getpid(), origin)
    if key not in _pools:
        _pools[key] = urllib3.connection_from_url(origin, maxsize=8)
    return _pools[key]


@dataclass(frozen=True)
class Answer:
    """What came for one request.

    Attributes:
        status: of HTTP.
        kind: the media type.
        etag: what names this state of the resource, quoted as it came; empty for none.
        content: the body, as far as it arrived; a large one is a view of a buffer of its own.
        whole: whether it arrived to its end.
    """

    status: int
    kind: str
    etag: str
    content: bytes | memoryview
    whole: bool


@dataclass(frozen=True)
class Transport:
    """Where the service is. Picklable: connections belong to the process, not to this object.

    Attributes:
        url: base URL without a trailing slash.
        read_timeout_seconds: how long to wait for the next byte of an answer.
    """

    url: str
    read_timeout_seconds: float = READ_TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment:
            raise RequestError(
                "The service's URL must look like http://host:port.",
                "Correct COLUMNSERVICE_URL or the argument of connect().",
            )
        if parts.username is not None or parts.password is not None:
            raise RequestError(
                "The service's URL must not hold a name or a password.",
                "Put the token into BEARER_TOKEN or BEARER_TOKEN_FILE.",
            )

    def json(self, path: str, query: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """The JSON object that a GET of ``path`` gives.

        Raises:
            Unreachable, TruncatedReply: the answer did not arrive.
            ColumnServiceError: whatever the service says, or that this is no column service.
        """
        body = self.request("GET", path, query=query)
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ColumnServiceError(
                f"{self.url} answered {path} with something that is not a JSON object.",
                "Check that this is the URL of a column service.",
            )
        return document

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        document: Any = None,
        accept: str = "application/json",
    ) -> bytes:
        """The body of a successful answer, whole.

        Args:
            method: ``GET`` or ``POST``.
            path: below the base URL, starting with a slash, percent-encoded.
            query: pairs of the query string.
            document: JSON body to send, if not None.
            accept: the media type asked for.

        Raises:
            Unreachable: no connection, no answer, or none in time.
            TruncatedReply: the connection broke within the answer.
            ColumnServiceError: the service's own error, from its problem document.
        """
        body = None if document is None else json.dumps(document).encode()
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = self.exchange(method, path, query=query, body=body, headers=headers)
        if not answer.whole:
            raise TruncatedReply(f"The reply of {self.url} broke off.")
        return bytes(answer.content)

    def exchange(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A successful answer or ``304``, as far as it arrived: look at ``whole``.

        Args:
            method: of HTTP.
            path, query: as for ``request``.
            body: what to send.
            headers: beside those that every request has.

        Raises:
            Unreachable: no connection, no answer, or none in time.
            ColumnServiceError: the service's own error, from its problem document.
        """
        sent = {"User-Agent": "columnservice", **(headers or {})}
        if token := find_token():
            sent["Authorization"] = f"Bearer {token}"
        parts = urlsplit(self.url)
        target = f"{parts.path}{path}" + (f"?{urlencode(query)}" if query else "")
        answer = self._send(f"{parts.scheme}://{parts.netloc}", method, target, sent, body)
        if isinstance(answer, ColumnServiceError):
            raise answer
        if answer.status >= 300 and answer.status != NOT_MODIFIED:
            raise _problem(self.url, answer)
        return answer

    def _send(
        self, origin: str, method: str, target: str, headers: dict[str, str], body: bytes | None
    ) -> Answer | ColumnServiceError:
        """The answer; or the error to raise, outside of ``except`` clauses."""
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=self.read_timeout_seconds)
        try:
            response = _pool(origin).urlopen(
                method,
                target,
                body=body,
                headers=headers,
                retries=_CONNECT_RETRIES,
                redirect=False,
                timeout=timeout,
                preload_content=False,
            )
        except LocationParseError:
            return RequestError(f"{self.url} is not a URL.", "Correct COLUMNSERVICE_URL.")
        except (HTTPError, OSError) as error:
            return self._unreachable(error)
        whole = False
        try:
            content, whole = _body(response)
        except (ReadTimeoutError, TimeoutError) as error:
            return self._unreachable(error)
        finally:
            if not whole:
                response.close()  # what is still under way must not be taken for another answer
            response.release_conn()
        kind = response.headers.get("Content-Type", "")
        etag = response.headers.get("ETag", "")
        return Answer(response.status, kind, etag, content, whole)

    def _unreachable(self, error: Exception) -> Unreachable:
        cause = getattr(error, "reason", None) or error
        return Unreachable(
            f"No answer from the column service at {self.url} ({type(cause).__name__}).",
            "Check COLUMNSERVICE_URL and that `columnservice serve` is running there.",
        )


def _body(response: urllib3.BaseHTTPResponse) -> tuple[bytes | memoryview, bool]:
    """A body as far as it arrives, and whether that is all of it.

    Raises:
        ReadTimeoutError, TimeoutError: nothing more came in time.
    """
    told = response.headers.get("Content-Length", "")
    size_bytes = int(told) if told.isascii() and told.isdigit() else 0
    raw = getattr(response, "_fp", None)  # urllib3's own readinto() copies
    if size_bytes >= _LARGE_BYTES and isinstance(raw, HTTPResponse):
        return _one_buffer(raw, size_bytes)
    parts: list[bytes] = []
    try:
        parts.extend(_pieces(response))
    except ReadTimeoutError:
        raise
    except (ProtocolError, OSError):
        return b"".join(parts), False
    return b"".join(parts), True


def _one_buffer(raw: HTTPResponse, size_bytes: int) -> tuple[memoryview, bool]:
    """A body of known length, from the socket into the place where it stays."""
    # NumPy asks for large pages, which spares a page fault for every 4 kB.
    content = np.empty(size_bytes, np.uint8).data
    at = 0
    try:
        while at < size_bytes and (count := raw.readinto(content[at:])):
            at += count
    except TimeoutError:
        raise
    except (HTTPException, OSError):
        pass
    return content[:at], at == size_bytes


def _pieces(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """A body as it arrives, so that a break costs no more than what had not arrived."""
    if getattr(response, "chunked", False):
        yield from response.stream(_CHUNK_BYTES)
        return
    while piece := response.read1(_CHUNK_BYTES):
        yield piece


def _problem(url: str, answer: Answer) -> ColumnServiceError:
    """The error that an unsuccessful answer stands for."""
    status = answer.status
    if answer.kind.startswith("application/problem+json"):
        try:
            document = json.loads(bytes(answer.content))
        except ValueError:
            document = None
        if isinstance(document, dict):
            return from_problem(document)
    if status == 401:
        return Unauthenticated(f"{url} wants a valid token.")
    if status == 403:
        return NotAllowed(f"{url} does not allow this.")
    if status in (502, 503, 504):
        return Unavailable(f"{url} answered {status}.")
    return ColumnServiceError(
        f"{url} answered {status} without saying why.",
        "Check that this is the URL of a column service.",
    )
