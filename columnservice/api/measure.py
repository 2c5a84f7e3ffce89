"""Counts every request by route and status, and times it to the end of its reply.

Knows ASGI and the metrics; nothing of what routes do.
"""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from columnservice.delivery.house import House

# What a request counts as whose client left before there was a status.
LEFT = 499
NO_ROUTE = "none"


class Measure:
    """An ASGI layer around all routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it when its reply has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), LEFT

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, told)
        except Exception:
            status = 500  # what stands around all layers answers
            raise
        finally:
            house: House = scope["app"].state.house
            # The route's pattern, not the path: few labels.
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            seconds = time.monotonic() - begun
            house.metrics.request(scope["method"], route, status, seconds)
