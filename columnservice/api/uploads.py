"""EventKeys of files that the service never sees, over HTTP."""

from __future__ import annotations

import tempfile
from typing import IO, Annotated, Any

import pyarrow as pa
from anyio import to_thread
from fastapi import APIRouter, Path, Request

from columnservice.api.auth import Caller, demand_read
from columnservice.api.rooms import Home
from columnservice.delivery.house import House
from columnservice.delivery.uploads import read_upload, recall
from columnservice.errors import RequestError

router = APIRouter(prefix="/v1/datasets/{name}/eventindexes", tags=["eventindexes"])
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
    limit_bytes = house.settings.upload_limit_bytes
    with tempfile.TemporaryFile(dir=house.settings.home) as body:
        size_bytes = 0
        async for chunk in request.stream():
            size_bytes += len(chunk)
            if size_bytes > limit_bytes:
                raise RequestError(
                    f"The upload is larger than {limit_bytes} bytes.",
                    "Split the file, or ask for a larger COLUMNSERVICE_UPLOAD_LIMIT_BYTES.",
                )
            body.write(chunk)
        body.seek(0)
        return await to_thread.run_sync(_accept, house, name, digest, body)


def _accept(house: House, name: str, digest: str, body: IO[bytes]) -> dict[str, Any]:
    dataset = house.catalogue.dataset(name)
    upload = read_upload(digest, pa.PythonFile(body))
    return house.registrar.examiner.accept(dataset, upload)
