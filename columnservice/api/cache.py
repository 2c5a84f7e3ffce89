"""The cache of Pieces over HTTP: its counts, its check, its eviction."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from columnservice.api.auth import Caller, demand_write
from columnservice.api.rooms import Home

router = APIRouter(prefix="/v1/cache", tags=["cache"])
SUBJECT = "the cache"


class Eviction(BaseModel):
    """How much to evict; nothing said means everything."""

    model_config = ConfigDict(extra="forbid")

    bytes: int | None = Field(default=None, ge=0)


@router.get("")
def stats(house: Home, caller: Caller) -> dict[str, Any]:
    """Entries, bytes, limit, hits and misses."""
    demand_write(caller, SUBJECT)
    return asdict(house.cache.stats())


@router.post("/verify")
def verify(house: Home, caller: Caller) -> dict[str, Any]:
    """Check every Piece byte by byte; damaged ones are removed."""
    demand_write(caller, SUBJECT)
    return asdict(house.cache.verify())


@router.post("/evict")
def evict(house: Home, caller: Caller, eviction: Eviction | None = None) -> dict[str, Any]:
    """Remove the Pieces that were longest unused."""
    demand_write(caller, SUBJECT)
    freed = house.cache.evict(eviction.bytes if eviction else None)
    return {"freed_bytes": freed}
