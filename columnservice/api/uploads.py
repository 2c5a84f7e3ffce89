"""EventKeys of files that the service never sees, over HTTP."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import IO, Annotated, Any, TypeVar

import pyarrow as pa
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Path, Request

from columnservice.api.auth import Caller, demand_read
from columnservice.api.rooms import Home
from columnservice.delivery.house import House
from columnservice.delivery.uploads import read_upload, recall
from columnservice.errors import RequestError, Unavailable

router = APIRouter(prefix="/v1/datasets/{name}/eventindexes", tags=["eventindexes"])
T = TypeVar("T")
WRITERS = 8
WRITTEN_BYTES = 1_000_000
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


@router.get("/{digest}")
def show_eventindex(name: str, digest: Digest, house: Home, caller: Caller) -> dict[str, Any]:
    """What is known of uploaded keys."""
    demand_read(caller, name)
    house.catalogue.dataset(name)
    found = recall(house.catalogue, house.settings.index_dir, name, digest)
    return {key: found[key] for key in ("digest", "events", "with_parent")}


@router.put("/{digest}", status_code=201)
async def put_eventindex(
    name: str, digest: Digest, request: Request, house: Home, caller: Caller
) -> dict[str, Any]:
    """Upload the EventKeys of all rows of a file, as an Arrow stream.

    Columns beside the keys are Witnesses: they are compared with the parents by their names.
    """
    demand_read(caller, name)
    try:
        body = await _in_thread(_open_body, house)
    except OSError as error:
        raise _no_room(error) from None
    with body:
        await _receive(request, body, house.settings.upload_limit_bytes)
        accepting = await _in_thread(_begin, house, name, digest, body)
    # Others may wait for the same examination: who leaves must not cancel it.
    return await asyncio.shield(asyncio.wrap_future(accepting))


async def _in_thread(work: Callable[..., T], *args: Any) -> T:
    return await to_thread.run_sync(work, *args, limiter=_writers())


@cache
def _writers() -> CapacityLimiter:
    """Threads that write and read the bodies of uploads."""
    return CapacityLimiter(WRITERS)


def _open_body(house: House) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=house.settings.home)


async def _receive(request: Request, body: IO[bytes], limit_bytes: int) -> None:
    """Write the body of a request to a file.

    Raises:
        RequestError: it is too large.
        Unavailable: there is no room for it.
    """
    size_bytes, waiting = 0, bytearray()
    try:
        async for chunk in request.stream():
            size_bytes += len(chunk)
            if size_bytes > limit_bytes:
                raise RequestError(
                    f"The upload is larger than {limit_bytes} bytes.",
                    "Split the file, or ask for a larger COLUMNSERVICE_UPLOAD_LIMIT_BYTES.",
                )
            waiting += chunk
            if len(waiting) >= WRITTEN_BYTES:
                await _in_thread(body.write, bytes(waiting))
                waiting.clear()
        await _in_thread(body.write, bytes(waiting))
        await _in_thread(body.seek, 0)
    except OSError as error:
        raise _no_room(error) from None


def _no_room(error: OSError) -> Unavailable:
    return Unavailable(
        f"The upload cannot be kept: {error.strerror}.",
        "The operator must make room on the disk of the service's home.",
    )


def _begin(house: House, name: str, digest: str, body: IO[bytes]) -> Future[dict[str, Any]]:
    house.catalogue.dataset(name)
    return house.delivery.accept(name, read_upload(digest, pa.PythonFile(body)))
