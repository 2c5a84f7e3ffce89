"""The HTTP server that ends in order: the first signal drains it, the second ends it at once.

While it drains, ``/readyz`` says 503, replies that have begun go on and what is cached is served;
it ends when nothing is under way, after ``drain_seconds`` at the latest. Knows no routes.
"""

from __future__ import annotations

import socket
import time
from types import FrameType

import anyio.to_thread
import uvicorn
from fastapi import FastAPI

from columnservice.delivery.house import House

CONNECTIONS_SECONDS = 5
KEEP_ALIVE_SECONDS = 75
"""A notebook looks at its plots between two requests: it need not connect anew for that."""


class DrainingServer(uvicorn.Server):
    """A uvicorn server for one application.

    Args:
        app: made by ``create_app``.
        drain_seconds: how long replies may go on after the first SIGTERM or SIGINT.
    """

    def __init__(self, app: FastAPI, drain_seconds: float) -> None:
        config = uvicorn.Config(
            app,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=CONNECTIONS_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds
        self._end_by_seconds: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """What a signal does; called in the main thread, between two steps of the event loop."""
        if self._end_by_seconds is None and self._house is not None:
            self._end_by_seconds = time.monotonic() + self._drain_seconds
        else:
            self.should_exit = self.force_exit = True

    @property
    def _house(self) -> House | None:
        house: House | None = getattr(self._app.state, "house", None)
        return house

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop accepting connections; called ten times a second."""
        house = self._house
        if self._end_by_seconds is not None and house is not None:
            if not house.draining:
                await anyio.to_thread.run_sync(house.drain)
            if time.monotonic() > self._end_by_seconds:
                house.workers.abandon()
                self.should_exit = True
            self.should_exit |= house.settled()
        return await super().on_tick(counter)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to end, then close the house, however it ended."""
        await super().serve(sockets)
        house = self._house
        if house is not None:
            await anyio.to_thread.run_sync(house.close)
