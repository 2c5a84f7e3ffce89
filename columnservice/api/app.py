"""The FastAPI application: opens the house, installs the routes.

Knows how the HTTP edge is put together; the routes stand in their own rooms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

import columnservice
from columnservice.api import cache, columns, datasets, definitions, health, problems, uploads
from columnservice.api.auth import demand_loopback
from columnservice.api.given import Again, Given
from columnservice.api.listed import Lists
from columnservice.api.measure import Measure
from columnservice.delivery.house import open_house
from columnservice.settings import Settings

THREADS = 64


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings; the house opens when it starts.

    Raises:
        SetupError: the settings would expose an unprotected service.
    """
    demand_loopback(settings.host)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        house = await anyio.to_thread.run_sync(open_house, settings)
        app.state.house = house
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(house.close)

    app = FastAPI(
        title="columnservice",
        version=columnservice.__version__,
        summary="Columns that compact files lack, joined from their parents and proven",
        lifespan=lifespan,
    )
    problems.install(app)
    app.state.given = Given()
    app.state.lists = Lists()
    app.add_middleware(Again, given=app.state.given)
    app.add_middleware(Measure)
    for room in (health, datasets, definitions, columns, uploads, cache):
        app.include_router(room.router)
    return app
