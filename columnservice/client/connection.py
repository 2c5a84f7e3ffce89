"""Connections that are kept open, and one exchange of HTTP/1.1 over one of them.

The answer to expect, a head that comes in one go and tells the length of the body, is read with few
steps: one look at the head, then from the socket into the place where the body stays. All others
are left to ``http.client``. Knows sockets and HTTP; no paths and no errors of the service.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from columnservice.client.buffers import BUFFERS

MOST_KEPT = 8
"""Connections to one origin that are kept while nobody uses them."""
PAUSES_SECONDS = (0.0, 0.4)
"""Before the second and third attempt to connect."""
_HEAD_BYTES = 1 << 14
"""Of an answer that are read in one go."""
_CHUNK_BYTES = 1 << 20
_LARGE_BYTES = 1 << 16
"""A body from this size on, whose length is told, is read into one buffer."""
_BODILESS = (204, 304)
_MOST_DIGITS = 15
"""Of a length in bytes; no reply is a petabyte."""


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


Body = tuple[bytes | memoryview, bool]
"""A body as far as it arrived, and whether that is all of it."""


class Connection:
    """An open connection to a server, for one exchange at a time.

    Attributes:
        reusable: whether the last answer arrived to its end and the server keeps the connection.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.reusable = False
        self._socket = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._first = bytearray(_HEAD_BYTES)

    def is_quiet(self) -> bool:
        """Whether nothing came since the last answer: neither an end nor what nobody asked for."""
        # A record of TLS may have held more than was read.
        held = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        return not held and not self._poll.poll(0)

    def close(self) -> None:
        """What is still under way must not be taken for another answer."""
        self._socket.close()

    def exchange(self, method: str, sent: bytes, timeout_seconds: float) -> Answer:
        """Send a request and read its answer as far as it arrives.

        Args:
            method: of the request.
            sent: head and body, as they go over the wire.
            timeout_seconds: how long to wait for the next byte.

        Raises:
            HTTPException, OSError: no answer came.
            TimeoutError: nothing more came in time, within the answer too.
        """
        self.reusable = False
        if self._socket.gettimeout() != timeout_seconds:
            self._socket.settimeout(timeout_seconds)
        self._socket.sendall(sent)
        count = self._socket.recv_into(self._first)
        end = self._first.find(b"\r\n\r\n", 0, count)
        head = None if end < 0 else _plain(self._first[:end].decode("latin-1"))
        if head is None:
            return self._any_answer(method, count)
        status, headers = head
        content, whole = self._body(int(headers["content-length"]), end + 4, count)
        self.reusable = whole and headers.get("connection", "").lower() != "close"
        return Answer(
            status, headers.get("content-type", ""), headers.get("etag", ""), content, whole
        )

    def _body(self, size_bytes: int, at: int, stop: int) -> Body:
        """A body of which the first bytes were read with the head."""
        here = stop - at
        if here >= size_bytes:
            # More than was told is part of no answer: only is_quiet() may be trusted after that.
            return bytes(self._first[at : at + size_bytes]), here == size_bytes
        content = BUFFERS.place(size_bytes)
        content[:here] = memoryview(self._first)[at:stop]
        return _filled(content, here, self._socket)

    def _any_answer(self, method: str, count: int) -> Answer:
        """An answer that is no plain one, of which some bytes were read."""
        rest = _Rest(bytes(self._first[:count]), self._socket)
        response = HTTPResponse(rest, method=method)  # type: ignore[arg-type]
        try:
            response.begin()
            size_bytes = _length(response.getheader("Content-Length", "")) or 0
            if size_bytes >= _LARGE_BYTES and not response.chunked:
                content, whole = _filled(BUFFERS.place(size_bytes), 0, response)
            else:
                content, whole = _joined(response)
            self.reusable = whole and not response.will_close
            kind, etag = (response.getheader(name, "") for name in ("Content-Type", "ETag"))
            return Answer(response.status, kind, etag, content, whole)
        finally:
            response.close()


def _length(told: str) -> int | None:
    """The number of bytes that a header tells, if it is one that can be."""
    plain = told.isascii() and told.isdigit() and len(told) <= _MOST_DIGITS
    return int(told) if plain else None


def _plain(head: str) -> tuple[int, Mapping[str, str]] | None:
    """Status and headers by lower-case name of an answer whose body has a length; else None."""
    first, *lines = head.split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if version != "HTTP/1.1" or not (status.isascii() and status.isdigit() and len(status) == 3):
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name in headers or not name or name[0] in " \t":
            return None
        headers[name] = value.strip()
    if _length(headers.get("content-length", "")) is None or "transfer-encoding" in headers:
        return None
    number = int(status)
    return None if number < 200 or number in _BODILESS else (number, headers)


class _Rest(io.RawIOBase):
    """Bytes that were read already, then those of a socket; looks like a socket to HTTPResponse."""

    def __init__(self, begun: bytes, sock: socket.socket) -> None:
        self._begun, self._socket = begun, sock

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._begun:
            return self._socket.recv_into(buffer)
        view = memoryview(buffer)
        count = min(len(view), len(self._begun))
        view[:count], self._begun = self._begun[:count], self._begun[count:]
        return count


def _filled(content: memoryview, at: int, source: socket.socket | HTTPResponse) -> Body:
    """A body of known length, from where it comes into the place where it stays.

    Raises:
        TimeoutError: nothing more came in time.
    """
    read = source.recv_into if isinstance(source, socket.socket) else source.readinto
    try:
        while at < len(content) and (count := read(content[at:])):
            at += count
    except TimeoutError:
        raise
    except (HTTPException, OSError):
        pass
    return content[:at], at == len(content)


def _joined(response: HTTPResponse) -> Body:
    """A body in pieces, so that a break costs no more than what had not arrived.

    Raises:
        TimeoutError: nothing more came in time.
    """
    parts: list[bytes] = []
    try:
        parts.extend(_pieces(response))
    except TimeoutError:
        raise
    except (HTTPException, OSError):
        return b"".join(parts), False
    return b"".join(parts), not response.length


def _pieces(response: HTTPResponse) -> Iterator[bytes]:
    while piece := response.read1(_CHUNK_BYTES):
        yield piece


def connect(origin: str, timeout_seconds: float) -> Connection:
    """A new connection to ``scheme://host:port``; of https, the certificate is checked.

    Raises:
        OSError: there is none.
    """
    parts = urlsplit(origin)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    for pause_seconds in (*PAUSES_SECONDS, None):
        try:
            made = kind(parts.hostname or "", parts.port, timeout=timeout_seconds)
            made.connect()
            return Connection(made.sock)
        except ssl.SSLError:
            raise
        except OSError:
            if pause_seconds is None:
                raise
            time.sleep(pause_seconds)
    raise AssertionError("the last attempt returns or raises")


_kept: dict[tuple[int, str], deque[Connection]] = {}


def take(origin: str, timeout_seconds: float) -> Connection:
    """A connection of this process; a forked child makes its own.

    Raises:
        OSError: there is none.
    """
    kept = _kept.setdefault((os.getpid(), origin), deque())
    while kept:
        try:
            found = kept.pop()
        except IndexError:  # another thread was faster
            break
        if found.is_quiet():
            return found
        found.close()
    return connect(origin, timeout_seconds)


def give_back(origin: str, connection: Connection) -> None:
    """Keep a connection for the next exchange, or close it."""
    kept = _kept.setdefault((os.getpid(), origin), deque())
    if connection.reusable and len(kept) < MOST_KEPT:
        kept.append(connection)
    else:
        connection.close()


@atexit.register
def close_all() -> None:
    """Close what is kept."""
    for kept in _kept.values():
        while kept:
            kept.pop().close()
