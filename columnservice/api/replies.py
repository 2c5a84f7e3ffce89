"""An Arrow reply on its way out: what is there at once and from the maps, the rest as it is made.

When every batch is there, the reply has a length, and large buffers go from the mapped Pieces to
the socket without a copy. Else it is sent in chunks, batch by batch. Knows ASGI and Arrow streams;
nothing of what the columns mean.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from anyio import to_thread
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from columnservice import wire
from columnservice.api.problems import unexpected
from columnservice.delivery.house import House
from columnservice.delivery.stream import Assembled, Stream
from columnservice.errors import ColumnServiceError, problem

Part = bytes | memoryview
LARGE_BYTES = 65_536
"""Buffers from this size on are sent as they are; smaller ones are joined."""
SENT_AT_ONCE_BYTES = 16_000_000
TOUCHED_BYTES = 4_000_000
"""From this size on mapped parts are read by a thread before they are sent."""
MOST_READY = 256
"""Batches that are looked for before the first byte is sent."""
PAGE_BYTES = 4096


def _cut(written: Sequence[Any]) -> list[Part]:
    """What Arrow wrote, in parts to send: large buffers cut where they are long, small joined."""
    found: list[Part] = []
    small: list[Any] = []
    for data in written:
        if len(data) < LARGE_BYTES:
            small.append(data)
            continue
        if small:
            found.append(b"".join(small))
            small = []
        view = memoryview(data)
        found += [view[at : at + SENT_AT_ONCE_BYTES] for at in _steps(len(view))]
    return [*found, b"".join(small)] if small else found


def _steps(size_bytes: int) -> range:
    return range(0, size_bytes, SENT_AT_ONCE_BYTES)


@dataclass(frozen=True)
class Begun:
    """What there is of a reply before anything is sent.

    Attributes:
        stream: the reply.
        ready: its first batches.
        waiting: the batch that must be waited for; None where ``ready`` are all.
    """

    stream: Stream
    ready: tuple[Assembled, ...]
    waiting: Future[Assembled] | None

    @classmethod
    def of(cls, stream: Stream) -> Begun:
        """All batches up to the first that is not there; waits for nothing.

        Raises:
            ColumnServiceError: there is no place to make the first batch.
        """
        ready: list[Assembled] = []
        future = stream.next()
        while future is not None and len(ready) < MOST_READY and _is_there(future):
            ready.append(future.result())
            future = following(stream)
        return cls(stream, tuple(ready), future)

    async def with_first(self) -> Begun:
        """The same with at least one batch, if there is any.

        Raises:
            ColumnServiceError: it cannot be made.
        """
        if self.ready or self.waiting is None:
            return self
        first = await wait_for(self.waiting)
        return Begun(self.stream, (first,), await to_thread.run_sync(following, self.stream))


def _is_there(future: Future[Assembled]) -> bool:
    return future.done() and future.exception() is None


def following(stream: Stream) -> Future[Assembled] | None:
    """The batch after others, which travel all the same if this one cannot be made."""
    try:
        return stream.next()
    except Exception as error:
        failed: Future[Assembled] = Future()
        failed.set_exception(error)
        return failed


async def wait_for(future: Future[Assembled]) -> Assembled:
    """A batch. While it is being made no thread waits, so the others can be answered."""
    # Others may wait for the same batch: who leaves must not cancel it.
    batch: Assembled = await asyncio.shield(asyncio.wrap_future(future))
    return batch


class _Writer:
    """Batches in, parts of an Arrow stream out."""

    def __init__(self, stream: Stream, first: Assembled | None, compression: str | None) -> None:
        about = {wire.PROVENANCE: stream.provenance}
        self.schema = (first[0].schema if first else stream.empty().schema).with_metadata(about)
        self._sink = wire.Written()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        self._writer = pa.ipc.new_stream(self._sink, self.schema, options=options)

    def parts(self, batch: Assembled) -> list[Part]:
        """A batch, and the schema before the first one."""
        self._writer.write_batch(batch[0], custom_metadata=batch[1])
        return _cut(self._sink.take())

    def failed(self, error: Exception) -> list[Part]:
        """An empty batch that carries the problem, without end-of-stream."""
        known = error if isinstance(error, ColumnServiceError) else unexpected(error)
        about = pa.KeyValueMetadata({wire.PROBLEM: json.dumps(problem(known))})
        return self.parts((pa.RecordBatch.from_pylist([], schema=self.schema), about))

    def end(self) -> list[Part]:
        """The end of the stream."""
        self._writer.close()
        return _cut(self._sink.take())


def headers_of(stream: Stream) -> dict[str, str]:
    """The header by which a client asks again whether what it holds is still right."""
    return {"ETag": f'"{stream.state}"'} if stream.state else {}


def whole_parts(begun: Begun) -> list[Part]:
    """The body of a reply whose batches are all there; views of the mapped Pieces."""
    writer = _Writer(begun.stream, begun.ready[0] if begun.ready else None, None)
    found: list[Part] = []
    for batch in begun.ready:
        found += writer.parts(batch)
    return found + writer.end()


def _touch(parts: Sequence[Part]) -> None:
    """Have the pages of mapped parts read, so that sending them does not wait for the disk."""
    for part in parts:
        np.frombuffer(part, np.uint8)[::PAGE_BYTES].max()


def _groups(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Consecutive parts that are sent in one go."""
    group: list[Part] = []
    size_bytes = 0
    for part in parts:
        if group and size_bytes + len(part) > SENT_AT_ONCE_BYTES:
            yield group
            group, size_bytes = [], 0
        group.append(part)
        size_bytes += len(part)
    if group:
        yield group


async def _ready_to_send(parts: Sequence[Part]) -> None:
    """Return when sending these parts will not keep others waiting."""
    if sum(map(len, parts)) >= TOUCHED_BYTES:
        await to_thread.run_sync(_touch, parts)


async def _leaving(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


class WholeReply(Response):
    """A reply of known length; however it ends, the stream is closed.

    Args:
        begun: of which everything is there.
        parts: its body.

    Attributes:
        size_bytes: of the body.
        afterwards: what is done with the reply when it has been sent, if anything.
    """

    media_type = wire.MEDIA_TYPE

    def __init__(self, begun: Begun, parts: Sequence[Part], house: House) -> None:
        self.size_bytes = sum(map(len, parts))
        headers = {"Cache-Control": "no-store", "Content-Length": str(self.size_bytes)}
        super().__init__(headers=headers | headers_of(begun.stream))
        self.afterwards: Callable[[WholeReply], Awaitable[None]] | None = None
        self._stream, self._parts, self._house = begun.stream, parts, house

    @property
    def is_verified(self) -> bool:
        """Whether origins confirmed that all parents are unchanged."""
        return bool(self._stream.state)

    async def body_bytes(self) -> bytes:
        """A copy of the body."""
        await _ready_to_send(self._parts)
        return b"".join(self._parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it, as long as the client is there."""
        groups = list(_groups(self._parts))
        left = asyncio.ensure_future(_leaving(receive)) if len(groups) > 1 else None
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            for group in groups:
                if left is not None and left.done():
                    return
                await _ready_to_send(group)
                for part in group:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                    self._house.metrics.sent(len(part))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            if self.afterwards is not None:
                await self.afterwards(self)
        finally:
            if left is not None:
                left.cancel()
            self._stream.close()


class GrowingReply(StreamingResponse):
    """A reply that is still being made; however it ends, the stream is closed."""

    media_type = wire.MEDIA_TYPE

    def __init__(self, begun: Begun, house: House, compression: str | None) -> None:
        body = _growing(begun, house, compression)
        super().__init__(body, headers={"Cache-Control": "no-store", **headers_of(begun.stream)})
        self._stream = begun.stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what there is, as it comes."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.close()


async def _growing(begun: Begun, house: House, compression: str | None) -> AsyncIterator[Part]:
    """The Arrow stream of a reply, batch by batch.

    A failure after the first batch ends the stream with an empty batch that carries the problem,
    and without end-of-stream: no client can take it for a whole reply.
    """
    waiting = begun.waiting
    writer = _Writer(begun.stream, begun.ready[0] if begun.ready else None, compression)

    async def sent(batch: Assembled) -> AsyncIterator[Part]:
        for group in _groups(await to_thread.run_sync(writer.parts, batch)):
            await _ready_to_send(group)
            for part in group:
                house.metrics.sent(len(part))
                yield part

    try:
        for batch in begun.ready:
            async for part in sent(batch):
                yield part
        while waiting is not None:
            async for part in sent(await wait_for(waiting)):
                yield part
            waiting = await to_thread.run_sync(following, begun.stream)
    except Exception as error:
        house.metrics.broken_stream()
        for part in writer.failed(error):
            yield part
        return
    for part in writer.end():
        yield part
