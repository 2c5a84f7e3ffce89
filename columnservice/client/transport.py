"""Requests to the service: one connection pool per process, one error per kind of failure.

Knows HTTP and problem documents; neither Columns nor Arrow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from columnservice.client.connection import Answer, give_back, take
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
_PATH = "!$%&'()*+,-./:;=@_~"
"""What stays as it is in the path of a base URL, which may be encoded already."""


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
        # urlsplit() drops line breaks and tabs, but the URL is shown and sent as it is here.
        plain = self.url.isprintable() and " " not in self.url
        if not plain or not usable or parts.query or parts.fragment:
            # What cannot be seen is told, unless there may be a secret in it.
            hidden = plain or any(mark in self.url for mark in "@?#")
            shown = "" if hidden else f", not like {self.url[:80]!r}"
            raise RequestError(
                f"The service's URL must look like http://host:port{shown}.",
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
        return self._object(path, self.request("GET", path, query=query))

    def json_unless(self, path: str, held: str) -> tuple[dict[str, Any] | None, str]:
        """The JSON object that a GET of ``path`` gives, and its ETag; None in place of one held.

        Args:
            path: as for ``request``.
            held: the ETag of the object that the caller holds; empty for none.

        Raises:
            Unreachable, TruncatedReply, ColumnServiceError: as ``json`` does.
        """
        headers = {"Accept": "application/json"} | ({"If-None-Match": held} if held else {})
        answer = self.exchange("GET", path, headers=headers)
        if held and answer.status == NOT_MODIFIED:
            return None, held
        return self._object(path, self._whole(answer)), answer.etag

    def _object(self, path: str, body: bytes) -> dict[str, Any]:
        """The JSON object that came for ``path``.

        Raises:
            ColumnServiceError: it is none.
        """
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
        return self._whole(self.exchange(method, path, query=query, body=body, headers=headers))

    def _whole(self, answer: Answer) -> bytes:
        """The body of an answer.

        Raises:
            TruncatedReply: it did not arrive to its end.
        """
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
            path, query: as for ``request``; the path may have a query string already, then without
                ``query``.
            body: what to send.
            headers: beside those that every request has.

        Raises:
            Unreachable: no connection, no answer, or none in time.
            ColumnServiceError: the service's own error, from its problem document.
        """
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        if token := find_token():
            lines.append(f"Authorization: Bearer {token}")
        origin, host, base = _parts(self.url)
        target = f"{base}{path}" + (f"?{urlencode(query)}" if query else "")
        if body is not None or method != "GET":
            lines.append(f"Content-Length: {len(body or b'')}")
        answer = self._send(origin, method, _head(method, target, host, lines), body)
        if isinstance(answer, ColumnServiceError):
            raise answer
        if answer.status >= 300 and answer.status != NOT_MODIFIED:
            raise _problem(self.url, answer)
        return answer

    def _send(
        self, origin: str, method: str, head: bytes, body: bytes | None
    ) -> Answer | ColumnServiceError:
        """The answer; or the error to raise, outside of ``except`` clauses."""
        try:
            connection = take(origin, CONNECT_TIMEOUT_SECONDS)
        except TimeoutError:
            return self._unreachable("ConnectTimeout")
        except OSError as error:
            return self._unreachable(type(error).__name__)
        try:
            return connection.exchange(method, head + (body or b""), self.read_timeout_seconds)
        except TimeoutError:
            return self._unreachable("ReadTimeout")
        except (HTTPException, OSError, MemoryError) as error:
            return self._unreachable(type(error).__name__)
        finally:
            give_back(origin, connection)

    def _unreachable(self, cause: str) -> Unreachable:
        return Unreachable(
            f"No answer from the column service at {self.url} ({cause}).",
            "Check COLUMNSERVICE_URL and that `columnservice serve` is running there.",
        )


@lru_cache(maxsize=64)
def _parts(url: str) -> tuple[str, str, str]:
    """Origin, ``Host`` and path of a base URL.

    Raises:
        RequestError: its host cannot be one.
    """
    parts, host = urlsplit(url), ""
    with suppress(UnicodeError):
        host = parts.netloc.encode("idna").decode()
    if not host:
        raise RequestError(f"{url} is not a URL.", "Correct COLUMNSERVICE_URL.")
    return f"{parts.scheme}://{host}", host, quote(parts.path, _PATH)


def _head(method: str, target: str, host: str, lines: Sequence[str]) -> bytes:
    """The head of a request.

    Raises:
        RequestError: something in it would end a line.
    """
    always = (f"Host: {host}", "User-Agent: columnservice", "Accept-Encoding: identity")
    text = "\r\n".join((f"{method} {target} HTTP/1.1", *always, *lines))
    if text.count("\n") != len(always) + len(lines) or text.count("\r") != text.count("\n"):
        raise RequestError("A request cannot hold line breaks.", "Look at the URL and the token.")
    return f"{text}\r\n\r\n".encode("latin-1")


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
