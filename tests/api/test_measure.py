"""Requests are counted by route and status to the end of their replies, whatever they become."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from columnservice.api.measure import Measure
from columnservice.delivery.metrics import Metrics

pytestmark = pytest.mark.fast


@pytest.fixture
def counted():
    app = FastAPI()
    app.add_middleware(Measure)
    app.state.house = SimpleNamespace(metrics=Metrics())

    @app.get("/things/{name}")
    def thing(name: str) -> dict[str, str]:
        return {"name": name}

    @app.get("/broken")
    def broken() -> None:
        raise ValueError

    @app.get("/stream")
    def stream() -> StreamingResponse:
        return StreamingResponse(iter([b"a", b"b"]))

    async def get(path: str) -> int:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get(path)).status_code

    return lambda path: asyncio.run(get(path)), app.state.house.metrics


def lines(metrics: Metrics) -> list[str]:
    text = metrics.text().decode().splitlines()
    return [line for line in text if line.startswith("columnservice_requests_total")]


def test_paths_of_one_route_are_one_label(counted):
    get, metrics = counted
    for name in "abc":
        assert get(f"/things/{name}") == 200
    [line] = lines(metrics)
    assert line.endswith('{method="GET",route="/things/{name}",status="200"} 3.0')


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [("/nothing", "none", 404), ("/broken", "/broken", 500), ("/stream", "/stream", 200)],
)
def test_failures_and_streams_are_counted_too(counted, path, route, status):
    get, metrics = counted
    assert get(path) == status
    [line] = lines(metrics)
    assert f'route="{route}",status="{status}"' in line
    assert f'columnservice_request_seconds_count{{route="{route}"}} 1.0' in metrics.text().decode()
