"""Columns over HTTP: what a Dataset offers, and their values as an Arrow stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from functools import cache
from typing import Annotated, Any, Literal

import pyarrow as pa
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from columnservice import wire
from columnservice.api.auth import Caller, Principal, demand_read
from columnservice.api.problems import unexpected
from columnservice.api.rooms import Home
from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.partitions import partitions_of
from columnservice.delivery.house import House
from columnservice.delivery.plan import ColumnRequest
from columnservice.delivery.stream import Assembled, Stream
from columnservice.delivery.uploads import record_of
from columnservice.errors import ColumnServiceError, RequestError, problem
from columnservice.formats import format_named
from columnservice.model import Column

router = APIRouter(prefix="/v1/datasets/{name}", tags=["columns"])
UUID_PATTERN = r"^[0-9a-fA-F-]{32,36}$"
MOST_COLUMNS = 5000
OPENERS = 128
# Clients on a slow link ask for compressed buffers; others map what they receive as it is.
Compression = Annotated[Literal["zstd", "lz4"] | None, Header(alias=wire.COMPRESSION_HEADER)]
Held = Annotated[str | None, Header(alias="If-None-Match")]


class ColumnQuery(BaseModel):
    """The body of a request for many Columns."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(pattern=UUID_PATTERN)
    start: int = Field(ge=0)
    stop: int = Field(ge=0)
    columns: list[str] = Field(min_length=1, max_length=MOST_COLUMNS)


@router.get("/columns")
def list_columns(name: str, house: Home, caller: Caller) -> dict[str, Any]:
    """All Columns of a Dataset: its own, and those that its parent offers."""
    demand_read(caller, name)
    dataset = house.catalogue.dataset(name)
    offered = columns_of(house.catalogue, name)
    return {
        "dataset": name,
        "format": dataset.format,
        "parent": dataset.parent,
        "witnesses": _witnesses(dataset.format, [o.column for o in offered]),
        "columns": [wire.column_to_json(o.column) for o in offered],
    }


def _witnesses(format_name: str, columns: Sequence[Column]) -> list[str]:
    """The local event scalars that an upload of EventKeys should bring along for comparison."""
    form = format_named(format_name)
    named = {w.column for w in form.witnesses}
    return [
        c.name
        for c in columns
        if c.origin == "local"
        and c.type.startswith(("int", "uint", "float"))
        and (c.name in named or form.common_scalars)
    ]


@router.get("/partitions")
def list_partitions(
    name: str, file: Annotated[str, Query(pattern=UUID_PATTERN)], house: Home, caller: Caller
) -> dict[str, Any]:
    """The Partitions of a File: requests along them touch the fewest Pieces."""
    demand_read(caller, name)
    record = record_of(house.catalogue, house.settings.index_dir, name, file)
    parts = partitions_of(record, house.settings.partition_events)
    return {"partitions": [[p.start, p.stop] for p in parts]}


class _Chunks:
    """A file that Arrow writes to; what was written is taken out piece by piece."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data


@cache
def _openers() -> CapacityLimiter:
    """Threads that open requests."""
    return CapacityLimiter(OPENERS)


class _Reply(StreamingResponse):
    """The Arrow stream of a reply; however it ends, the reply is closed."""

    media_type = wire.MEDIA_TYPE

    def __init__(
        self, stream: Stream, first: Assembled | None, house: House, compression: str | None
    ) -> None:
        body = _body(stream, first, house, compression)
        super().__init__(body, headers={"Cache-Control": "no-store", **_etag(stream)})
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.close()


def _etag(stream: Stream) -> dict[str, str]:
    """The header by which a client asks again whether what it holds is still right."""
    return {"ETag": f'"{stream.state}"'} if stream.state else {}


async def _next(stream: Stream) -> Assembled | None:
    """The next batch. While it is being made no thread waits, so the others can be answered."""
    future = await to_thread.run_sync(stream.next)
    if future is None:
        return None
    # Others may wait for the same batch: who leaves must not cancel it.
    batch: Assembled = await asyncio.shield(asyncio.wrap_future(future))
    return batch


async def _body(
    stream: Stream, first: Assembled | None, house: House, compression: str | None
) -> AsyncIterator[bytes]:
    """The Arrow stream of a reply, batch by batch.

    A failure after the first batch ends the stream with an empty batch that carries the problem,
    and without end-of-stream: no client can take it for a whole reply.
    """
    sink = _Chunks()
    about = {wire.PROVENANCE: json.dumps(stream.provenance)}
    schema = (first[0].schema if first else stream.empty().schema).with_metadata(about)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    writer = pa.ipc.new_stream(sink, schema, options=options)

    def written(batch: Assembled) -> bytes:
        writer.write_batch(batch[0], custom_metadata=batch[1])
        return sink.take()

    try:
        batch = first
        while batch is not None:
            data = await to_thread.run_sync(written, batch)
            house.metrics.sent(len(data))
            yield data
            batch = await _next(stream)
    except Exception as error:
        known = error if isinstance(error, ColumnServiceError) else unexpected(error)
        house.metrics.broken_stream()
        empty = pa.RecordBatch.from_pylist([], schema=schema)
        about = pa.KeyValueMetadata({wire.PROBLEM: json.dumps(problem(known))})
        yield written((empty, about))
        return
    writer.close()
    yield sink.take()


async def _answer(
    house: House,
    caller: Principal,
    request: ColumnRequest,
    compression: str | None,
    held: str | None,
) -> Response:
    demand_read(caller, request.dataset)
    if request.start > request.stop:
        raise RequestError(f"start {request.start} lies behind stop {request.stop}.")
    # Origins are asked in threads of their own: a slow one is in nobody else's way.
    opening = await to_thread.run_sync(house.delivery.open, request, limiter=_openers())
    stream = await asyncio.wrap_future(opening)
    try:
        if stream.state and held == f'"{stream.state}"':
            stream.close()
            return Response(status_code=304, headers=_etag(stream))
        return _Reply(stream, await _next(stream), house, compression)
    except BaseException:
        stream.close()
        raise


@router.get("/columns/data")
async def get_columns(
    name: str,
    file: Annotated[str, Query(pattern=UUID_PATTERN)],
    start: Annotated[int, Query(ge=0)],
    stop: Annotated[int, Query(ge=0)],
    column: Annotated[list[str], Query(min_length=1, max_length=MOST_COLUMNS)],
    house: Home,
    caller: Caller,
    compression: Compression = None,
    if_none_match: Held = None,
) -> Response:
    """Values of some Columns for rows ``start`` to ``stop`` of a File, as an Arrow stream."""
    request = ColumnRequest(name, file.lower(), start, stop, tuple(column))
    return await _answer(house, caller, request, compression, if_none_match)


@router.post("/columns/query")
async def query_columns(
    name: str,
    query: ColumnQuery,
    house: Home,
    caller: Caller,
    compression: Compression = None,
    if_none_match: Held = None,
) -> Response:
    """The same, with hundreds of Columns in a JSON body."""
    request = ColumnRequest(name, query.file.lower(), query.start, query.stop, tuple(query.columns))
    return await _answer(house, caller, request, compression, if_none_match)
