"""Columns over HTTP: what a Dataset offers, and their values as an Arrow stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import cache, partial
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from columnservice import wire
from columnservice.api.auth import Caller, Principal, demand_read
from columnservice.api.columnlist import EVERY_COLUMN, document_of
from columnservice.api.given import Given
from columnservice.api.listed import Listed, Lists
from columnservice.api.replies import Begun, GrowingReply, WholeReply, headers_of, whole_parts
from columnservice.api.rooms import Home
from columnservice.catalogue.partitions import partitions_of
from columnservice.delivery.basis import Basis
from columnservice.delivery.house import House
from columnservice.delivery.plan import ColumnRequest
from columnservice.delivery.stream import Stream
from columnservice.delivery.summary import matches
from columnservice.delivery.uploads import record_of
from columnservice.errors import RequestError
from columnservice.model import Origin, Support
from columnservice.search import ColumnFilter, Order

router = APIRouter(prefix="/v1/datasets/{name}", tags=["columns"])
UUID_PATTERN = r"^[0-9a-fA-F-]{32,36}$"
MOST_COLUMNS = 5000
MOST_MATCH = 200
OPENERS = 128
# Clients on a slow link ask for compressed buffers; others map what they receive as it is.
Compression = Annotated[Literal["zstd", "lz4"] | None, Header(alias=wire.COMPRESSION_HEADER)]
Held = Annotated[str | None, Header(alias="If-None-Match")]
Keep = Callable[[Basis, WholeReply], Awaitable[None]]


class ColumnQuery(BaseModel):
    """The body of a request for many Columns."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(pattern=UUID_PATTERN)
    start: int = Field(ge=0)
    stop: int = Field(ge=0)
    columns: list[str] = Field(min_length=1, max_length=MOST_COLUMNS)


@router.get(
    "/columns",
    response_model=dict[str, Any],
    responses={304: {"description": "The list that ``If-None-Match`` names is as it was."}},
)
def list_columns(
    name: str,
    house: Home,
    caller: Caller,
    http: Request,
    match: Annotated[str | None, Query(max_length=MOST_MATCH)] = None,
    origin: Origin | None = None,
    collection: Annotated[str | None, Query(max_length=MOST_MATCH)] = None,
    support: Support | None = None,
    sort: Order | None = None,
    if_none_match: Held = None,
) -> Response:
    """Columns of a Dataset: its own, and those that its parent offers; all, or those that fit.

    With them stands how each is made (``recipes``, and ``inputs`` where it is computed), by which a
    client knows old values from new ones.
    """
    demand_read(caller, name)
    wanted = ColumnFilter(match, origin, collection, support, sort)
    if wanted == EVERY_COLUMN:
        lists: Lists = http.app.state.lists
        listed = lists.find(house.catalogue, name)
    else:
        found = matches(house.catalogue, name)
        listed = Listed.of(document_of(house.catalogue, name, found, wanted))
    return listed.reply(if_none_match)


@router.get("/partitions")
def list_partitions(
    name: str, file: Annotated[str, Query(pattern=UUID_PATTERN)], house: Home, caller: Caller
) -> dict[str, Any]:
    """The Partitions of a File: requests along them touch the fewest Pieces."""
    demand_read(caller, name)
    record = record_of(house.catalogue, house.settings.index_dir, name, file)
    parts = partitions_of(record, house.settings.partition_events)
    return {"partitions": [[p.start, p.stop] for p in parts]}


@cache
def _openers() -> CapacityLimiter:
    """Threads that open requests."""
    return CapacityLimiter(OPENERS)


def _begun(stream: Stream, held: str | None) -> Begun | Response:
    """What there is of a reply; or the reply, if the client holds the very same already."""
    try:
        if stream.state and held == f'"{stream.state}"':
            stream.close()
            return Response(status_code=304, headers=headers_of(stream))
        return Begun.of(stream)
    except BaseException:
        stream.close()
        raise


def _opened(
    house: House, request: ColumnRequest, compression: str | None, held: str | None
) -> Future[Stream] | Begun | Response:
    """All that can be done in one go: where everything is cached that is the whole reply."""
    opening = house.delivery.open(request)
    if not opening.done():
        return opening
    begun = _begun(opening.result(), held)
    return begun if isinstance(begun, Response) else _whole(house, begun, compression)


def _whole(house: House, begun: Begun, compression: str | None) -> Begun | Response:
    """The reply, if every batch is there; compressed ones are made as they are sent."""
    if begun.waiting is not None or not begun.ready or compression is not None:
        return begun
    try:
        return WholeReply(begun, whole_parts(begun), house)
    except BaseException:
        begun.stream.close()
        raise


async def _answer(
    house: House,
    caller: Principal,
    request: ColumnRequest,
    compression: str | None,
    held: str | None,
    keep: Keep | None = None,
) -> Response:
    demand_read(caller, request.dataset)
    if request.start > request.stop:
        raise RequestError(f"start {request.start} lies behind stop {request.stop}.")
    basis = house.delivery.at_hand(request) if compression is None else None
    if basis is not None:
        found = _opened(house, request, compression, held)
        if isinstance(found, WholeReply) and keep is not None:
            found.afterwards = partial(keep, basis)
    else:
        # Origins are asked in threads of their own: a slow one is in nobody else's way.
        found = await to_thread.run_sync(
            _opened, house, request, compression, held, limiter=_openers()
        )
    if isinstance(found, Future):
        stream = await asyncio.wrap_future(found)
        found = await to_thread.run_sync(_begun, stream, held)
    if isinstance(found, Response):
        return found
    try:
        begun = await found.with_first()
    except BaseException:
        found.stream.close()
        raise
    whole = await to_thread.run_sync(_whole, house, begun, compression)
    return whole if isinstance(whole, Response) else GrowingReply(begun, house, compression)


@router.get("/columns/data")
async def get_columns(
    name: str,
    file: Annotated[str, Query(pattern=UUID_PATTERN)],
    start: Annotated[int, Query(ge=0)],
    stop: Annotated[int, Query(ge=0)],
    column: Annotated[list[str], Query(min_length=1, max_length=MOST_COLUMNS)],
    house: Home,
    caller: Caller,
    http: Request,
    compression: Compression = None,
    if_none_match: Held = None,
) -> Response:
    """Values of some Columns for rows ``start`` to ``stop`` of a File, as an Arrow stream."""
    request = ColumnRequest(name, file.lower(), start, stop, tuple(column))
    given: Given = http.app.state.given
    keep = partial(given.keep, http.scope)
    return await _answer(house, caller, request, compression, if_none_match, keep)


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
