"""Whether the service lives, is ready, and what it did."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from columnservice.api.rooms import Home

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> PlainTextResponse:
    """The process answers."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
def readyz(house: Home) -> Response:
    """Workers are warm, kernels are compiled and the catalogue answers."""
    house.catalogue.datasets()
    if not house.ready:
        return JSONResponse({"ready": False, "waiting_for": "worker processes"}, status_code=503)
    return JSONResponse({"ready": True})


@router.get("/metrics")
def metrics(house: Home) -> Response:
    """Counters in Prometheus' text format."""
    return Response(house.metrics.text(), media_type="text/plain; version=0.0.4")
