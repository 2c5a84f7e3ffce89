"""Replies as they are sent: whole ones with their length, others as they grow, none for nobody."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from columnservice import wire
from columnservice.api import replies
from columnservice.api.replies import Begun, GrowingReply, WholeReply, whole_parts
from columnservice.delivery.stream import Assembled, Stream
from columnservice.errors import CountsMismatch
from columnservice.model import Column, Member, plain

pytestmark = pytest.mark.fast
RHO = Column("rho", (Member("", "float64"),), 0)


def batch(start: int, rows: int) -> Assembled:
    present = np.ones(rows, np.bool_)
    values = np.arange(start, start + rows, dtype=np.float64)
    about = wire.batch_metadata(start, start + rows, 0, "0" * 16)
    return wire.encode_batch([RHO], {"rho": plain(values)}, present), about


class Source:
    """Parts of a reply: numbers of rows that are there, futures for those that are not."""

    def __init__(self, *parts: int | Future[Assembled]) -> None:
        self.closed = 0
        self.sent = 0
        futures = []
        start = 0
        for part in parts:
            future: Future[Assembled] = Future() if isinstance(part, int) else part
            if isinstance(part, int):
                future.set_result(batch(start, part))
                start += part
            futures.append(future)
        waiting = iter(futures)
        self.stream = Stream(
            [SimpleNamespace() for _ in futures],  # type: ignore[misc]
            lambda: batch(0, 0)[0],
            lambda *_: next(waiting),
            0,
            self._close,
            "state",
        )
        metrics = SimpleNamespace(sent=self._count, broken_stream=lambda: None)
        self.house: Any = SimpleNamespace(metrics=metrics)

    def _close(self) -> None:
        self.closed += 1

    def _count(self, size_bytes: int) -> None:
        self.sent += size_bytes

    def whole(self) -> WholeReply:
        begun = Begun.of(self.stream)
        assert begun.waiting is None
        return WholeReply(begun, whole_parts(begun), self.house)


def sent(reply: Any, leaves_after: int | None = None) -> tuple[dict[str, str], bytes, bool]:
    """Headers, body, and whether the end was sent; the client may leave after some messages."""

    async def run() -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        gone = asyncio.Event()
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)
            if leaves_after is not None and len(messages) > leaves_after:
                gone.set()
            await asyncio.sleep(0)

        scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}}
        await reply(scope, receive, send)
        return messages

    head, *rest = asyncio.run(run())
    headers = {k.decode(): v.decode() for k, v in head["headers"]}
    body = b"".join(bytes(m["body"]) for m in rest)
    return headers, body, bool(rest) and not rest[-1]["more_body"]


def values(body: bytes) -> list[float]:
    table = pa.ipc.open_stream(body).read_all()
    found: list[float] = table["rho"].to_pylist()
    return found


def test_a_reply_that_is_all_there_has_its_length_and_state():
    source = Source(3, 2)
    headers, body, ended = sent(source.whole())
    assert headers["content-length"] == str(len(body)) == str(source.sent)
    assert headers["etag"] == '"state"'
    assert ended
    assert body.endswith(wire.END_OF_STREAM)
    assert values(body) == [0, 1, 2, 3, 4]
    assert source.closed == 1


def test_large_buffers_are_sent_from_where_they_are():
    source = Source(1_000_000)
    begun = Begun.of(source.stream)
    column = begun.ready[0][0].column("rho").buffers()[1]
    views = [p for p in whole_parts(begun) if isinstance(p, memoryview)]
    addresses = {np.frombuffer(view, np.uint8).ctypes.data for view in views}
    assert column.address in addresses


def test_long_buffers_are_sent_in_steps(monkeypatch):
    monkeypatch.setattr(replies, "SENT_AT_ONCE_BYTES", 100_000)
    monkeypatch.setattr(replies, "TOUCHED_BYTES", 50_000)
    source = Source(100_000, 7)
    begun = Begun.of(source.stream)
    parts = whole_parts(begun)
    assert max(map(len, parts)) <= 100_000
    _, body, ended = sent(WholeReply(begun, parts, source.house))
    assert ended
    assert values(body) == [*range(100_000), *range(100_000, 100_007)]


def test_nothing_more_is_sent_to_a_client_that_has_left(monkeypatch):
    monkeypatch.setattr(replies, "SENT_AT_ONCE_BYTES", 100_000)
    source = Source(1_000_000)
    headers, body, ended = sent(source.whole(), leaves_after=3)
    assert not ended
    assert len(body) < int(headers["content-length"]) / 2
    assert source.closed == 1


def test_a_reply_grows_behind_what_is_there():
    late: Future[Assembled] = Future()
    source = Source(3, late)
    begun = Begun.of(source.stream)
    assert (len(begun.ready), begun.waiting) == (1, late)
    late.set_result(batch(3, 2))
    headers, body, ended = sent(GrowingReply(begun, source.house, None))
    assert "content-length" not in headers
    assert ended
    assert values(body) == [0, 1, 2, 3, 4]
    assert (source.closed, source.sent) == (1, len(body) - len(wire.END_OF_STREAM))


@pytest.mark.parametrize("compression", wire.COMPRESSIONS)
def test_a_compressed_reply_holds_the_same(compression):
    source = Source(3, 2)
    _, body, _ = sent(GrowingReply(Begun.of(source.stream), source.house, compression))
    assert values(body) == [0, 1, 2, 3, 4]


def test_what_fails_later_travels_in_the_stream_without_an_end():
    failed: Future[Assembled] = Future()
    failed.set_exception(CountsMismatch("they differ"))
    source = Source(3, failed)
    _, body, _ = sent(GrowingReply(Begun.of(source.stream), source.house, None))
    assert not body.endswith(wire.END_OF_STREAM)
    assert b"they differ" in body
    assert source.closed == 1


def test_what_fails_first_is_raised_before_anything_is_sent():
    failed: Future[Assembled] = Future()
    failed.set_exception(CountsMismatch("they differ"))
    with pytest.raises(CountsMismatch):
        asyncio.run(Begun.of(Source(failed).stream).with_first())
