"""Talking to the service: the ``--url`` option, JSON requests, and following a registration.

Knows the HTTP paths; neither tables nor files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from columnservice.errors import TruncatedReply, Unreachable, from_problem

if TYPE_CHECKING:
    from columnservice.client import Service

CONNECT_TIMEOUT_SECONDS = 5.0
# One file may take minutes to read from a slow storage, and nothing is said meanwhile.
SILENCE_SECONDS = 3600.0
BLOCK_BYTES = 65536

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="COLUMNSERVICE_URL",
        help="Where the service is; http://127.0.0.1:8000 if not told.",
        show_default=False,
    ),
]


def connect(url: str | None) -> Service:
    """The service's client; nothing is sent yet."""
    import columnservice.client

    return columnservice.client.connect(url)


def path_of(dataset: str, tail: str = "") -> str:
    """The path of a Dataset, or of something below it."""
    return f"/v1/datasets/{quote(dataset, safe='')}{tail}"


def ask(url: str | None, method: str, path: str, document: Any = None) -> Any:
    """The JSON that a request gives; None for an empty answer.

    Raises:
        ColumnServiceError: the service's own error, or that it did not answer.
    """
    body = connect(url).transport.request(method, path, document=document)
    return json.loads(body) if body else None


def events(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Server-sent events out of their lines: (kind, data), as far as they arrive whole."""
    kind, data = "message", ""
    for line in lines:
        if not line:
            if data:
                yield kind, json.loads(data)
            kind, data = "message", ""
        elif line.startswith("event:"):
            kind = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data += line.removeprefix("data:").strip()


def follow(url: str | None, dataset: str) -> Iterator[tuple[str, Any]]:
    """What happens to a Dataset's Files: (``progress``, step) …, at last (``done``, Dataset).

    Raises:
        TruncatedReply: the service went away; it goes on when it is back.
        ColumnServiceError: the registration failed as a whole.
    """
    for kind, data in events(_lines(connect(url).url + path_of(dataset, "/events"))):
        if kind == "error":
            raise from_problem(data)
        yield kind, data
        if kind == "done":
            return
    raise TruncatedReply(
        f"The service stopped before all files of {dataset} were registered.",
        f"It goes on when it is started again; see `columnservice dataset show {dataset}`.",
    )


def _lines(url: str) -> Iterator[str]:
    """The lines of a reply while they arrive; ends where the connection ends, broken or not."""
    import urllib3

    from columnservice.client.tokens import find_token

    token = find_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=SILENCE_SECONDS)
    pool = urllib3.PoolManager(headers=headers, timeout=timeout, retries=False)
    try:
        reply = pool.request("GET", url, preload_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise Unreachable(
            f"No answer from {url} ({type(error).__name__}).",
            "Check COLUMNSERVICE_URL and that `columnservice serve` is running there.",
        ) from None
    try:
        if reply.status != 200:
            raise from_problem(json.loads(reply.read()))
        rest = b""
        while block := reply.read1(BLOCK_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            yield from (line.decode().rstrip("\r") for line in lines)
    except urllib3.exceptions.HTTPError:
        return
    finally:
        reply.close()
        pool.clear()
