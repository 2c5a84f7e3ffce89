"""Small replies that were given before, given again while all that they rest on is as it was.

Assembling and routing cost more than sending a megabyte. So a reply that is asked for again is kept
by the very bytes of its request, which the route has found good once, and goes out before any
route is looked for. Whoever asks is checked as ever; whatever is not plain goes to the route. Knows
ASGI and what a reply rests on; not what its bytes mean.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from columnservice import wire
from columnservice.api.auth import demand_read, principal
from columnservice.api.replies import WholeReply
from columnservice.delivery.basis import Basis
from columnservice.delivery.house import House
from columnservice.errors import ColumnServiceError

MOST_REPLY_BYTES = 2_000_000
"""Of one reply; to copy larger ones, of which many are never asked for again, costs more than it
spares."""
MOST_BYTES = 128_000_000
"""Of all replies together."""
MOST_REPLIES = 2000
"""However small they are: with each stands a Plan."""
OTHER_REPLY = {b"if-none-match", wire.COMPRESSION_HEADER.lower().encode()}
"""Headers that ask for something else than the plain reply."""


@dataclass(frozen=True)
class Kept:
    """A reply as it was sent.

    Attributes:
        basis: what it rests on.
        route: that answered, for the counts.
        headers, body: what was sent, but for what the HTTP server adds.
    """

    basis: Basis
    route: Any
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Given:
    """Replies by request, the least recently used forgotten first; for one event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bytes], Kept] = OrderedDict()
        self._size_bytes = 0

    async def keep(self, scope: Scope, basis: Basis, reply: WholeReply) -> None:
        """Keep the reply to a GET, if it is small and verified.

        Args:
            scope: of the request.
            basis: what the reply rests on, as asked before it was made.
            reply: that was made.
        """
        if not reply.is_verified or reply.size_bytes > MOST_REPLY_BYTES:
            return
        body = await reply.body_bytes()
        self.forget(scope)
        self._kept[_key(scope)] = Kept(basis, scope.get("route"), tuple(reply.raw_headers), body)
        self._size_bytes += len(body)
        while self._size_bytes > MOST_BYTES or len(self._kept) > MOST_REPLIES:
            self._drop(next(iter(self._kept)))

    def find(self, scope: Scope) -> Kept | None:
        """The reply to such a request, whether it stands still or not."""
        key = _key(scope)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def forget(self, scope: Scope) -> None:
        """Forget the reply to such a request."""
        self._drop(_key(scope))

    def _drop(self, key: tuple[str, bytes]) -> None:
        known = self._kept.pop(key, None)
        if known is not None:
            self._size_bytes -= len(known.body)


def _key(scope: Scope) -> tuple[str, bytes]:
    return scope["path"], scope["query_string"]


def asks_for_other(scope: Scope) -> bool:
    """Whether a request asks for something else than the plain reply."""
    return any(name in OTHER_REPLY for name, _ in scope["headers"])


class Again:
    """An ASGI layer before the routes: gives what was given before.

    Args:
        app: all else.
        given: what was given.
    """

    def __init__(self, app: ASGIApp, given: Given) -> None:
        self._app, self._given = app, given

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        kept = await self._standing(scope)
        if kept is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = kept.route
        await send({"type": "http.response.start", "status": 200, "headers": kept.headers})
        await send({"type": "http.response.body", "body": kept.body})
        house: House = scope["app"].state.house
        house.delivery.given_again(kept.basis, len(kept.body))

    async def _standing(self, scope: Scope) -> Kept | None:
        """The reply to a request by one who may have it, if it may be given again."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        kept = self._given.find(scope)
        if kept is None or asks_for_other(scope):
            return None
        try:
            demand_read(await principal(Request(scope)), kept.basis.planned.plan.request.dataset)
            house: House = scope["app"].state.house
            if house.delivery.stands(kept.basis):
                return kept
        except ColumnServiceError:
            return None  # the route says what is wrong
        self._given.forget(scope)
        return None
