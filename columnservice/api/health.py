"""Whether the service lives, is ready, and what it did."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from columnservice.api.rooms import Home

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    """The process answers; it does so without waiting for a thread."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
def readyz(house: Home) -> Response:
    """A worker process is alive and has its kernels, the catalogue answers, the cache is writable.

    503 with what is amiss where that is not so, and while the service drains.
    """
    troubles = house.state()
    status = 503 if troubles else 200
    return JSONResponse({"ready": not troubles, **troubles}, status_code=status)


@router.get("/metrics")
def metrics(house: Home) -> Response:
    """Counters in Prometheus' text format."""
    return Response(house.metrics.text(), media_type="text/plain; version=0.0.4")
