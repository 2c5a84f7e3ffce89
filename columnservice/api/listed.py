"""Lists of Columns as they are sent, kept while all that they follow from is as it was.

To put a list of thousands together takes longer than all else that an analysis asks for before it
begins. Knows bytes and what names them; not who asks.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fastapi import Response
from pydantic import TypeAdapter

from columnservice.api.columnlist import State, document_of, state_of
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.summary import matches_with_state

MOST_BYTES = 64_000_000
"""Of all lists together; one of two thousand Columns is a megabyte."""
# What FastAPI makes of a document that a route returns.
_JSON: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


@dataclass(frozen=True)
class Listed:
    """A list of Columns as it is sent."""

    body: bytes

    @classmethod
    def of(cls, document: dict[str, Any]) -> Listed:
        """The bytes of a document."""
        return cls(_JSON.dump_json(document))

    @cached_property
    def etag(self) -> str:
        """Names these very bytes, quoted as it is sent."""
        return f'"{hashlib.blake2b(self.body, digest_size=16).hexdigest()}"'

    def reply(self, held: str | None) -> Response:
        """The list; or, to a client that holds the very same, that it does.

        Args:
            held: the ETag that the client told.
        """
        # Nobody in between gives it out without asking.
        headers = {"ETag": self.etag, "Cache-Control": "private, no-cache"}
        if held == self.etag:
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type="application/json")


class Lists:
    """The lists of all Columns by Dataset, least recently used ones forgotten first; thread-safe.

    Args:
        most_bytes: what may be kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, tuple[State, Listed]] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """What is kept."""
        return self._size_bytes

    def find(self, catalogue: Catalogue, name: str) -> Listed:
        """The list of all Columns of a Dataset as it is now; perhaps made twice at once.

        Raises:
            UnknownDataset: there is none of that name.
        """
        state = state_of(catalogue, name)
        with self._lock:
            kept = self._kept.get(name)
            if kept is not None and kept[0] == state:
                self._kept.move_to_end(name)
                return kept[1]
        # Kept by the matches that are in it: others may be found and lost again meanwhile.
        found, matches_state = matches_with_state(catalogue, name)
        made = Listed.of(document_of(catalogue, name, found))
        self._keep(name, (state[0], matches_state), made)
        return made

    def _keep(self, name: str, state: State, made: Listed) -> None:
        with self._lock:
            self._drop(name)
            if len(made.body) > self._most_bytes:
                return
            self._kept[name] = state, made
            self._size_bytes += len(made.body)
            while self._size_bytes > self._most_bytes:
                self._drop(next(iter(self._kept)))

    def _drop(self, name: str) -> None:
        gone = self._kept.pop(name, None)
        if gone is not None:
            self._size_bytes -= len(gone[1].body)
