"""Uploads and listings of directories wait in nobody's way, and a full disk is said as such."""

from __future__ import annotations

import asyncio
import errno
import io
import threading
from concurrent.futures import Future
from types import SimpleNamespace

import anyio.to_thread
import numpy as np
import pytest

from columnservice import wire
from columnservice.api import datasets, uploads
from columnservice.api.auth import LOCAL, Principal
from columnservice.api.datasets import NewDataset
from columnservice.errors import RequestError, Unavailable
from columnservice.model import Keys
from tests.integration.test_uploads import stream_of

pytestmark = pytest.mark.fast
KEYS = Keys(np.ones(3, "u4"), np.ones(3, "u4"), np.arange(3, dtype="u8"))
DIGEST = wire.keys_digest(KEYS)
MANY = 100
PATIENCE_SECONDS = 30


class Delivery:
    """Takes uploads and examines none of them."""

    def __init__(self):
        self.waiting: Future = Future()
        self.came: list[str] = []

    def accept(self, _, upload):
        self.came.append(upload.digest)
        return self.waiting


@pytest.fixture
def house(tmp_path):
    settings = SimpleNamespace(home=tmp_path, upload_limit_bytes=10_000)
    catalogue = SimpleNamespace(dataset=lambda _: None)
    return SimpleNamespace(settings=settings, catalogue=catalogue, delivery=Delivery())


@pytest.fixture(autouse=True)
def fresh_limiters():
    for limiter in (uploads._writers, datasets._listers):
        limiter.cache_clear()


def request(body):
    async def stream():
        for at in range(0, len(body), 100):
            yield body[at : at + 100]

    return SimpleNamespace(stream=stream)


def put(house, body):
    caller = Principal(LOCAL)
    return uploads.put_eventindex("nano", DIGEST, request(body), house, caller)


async def until(true) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not true():
            await asyncio.sleep(0.01)


def test_uploads_that_wait_hold_no_thread_of_those_that_answer_others(house):
    told = {"digest": DIGEST}

    async def scene():
        tasks = [asyncio.create_task(put(house, stream_of(KEYS))) for _ in range(MANY)]
        await until(lambda: len(house.delivery.came) == MANY)
        await until(lambda: uploads._writers().borrowed_tokens == 0)
        assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        tasks[0].cancel()
        await asyncio.sleep(0)
        house.delivery.waiting.set_result(told)
        assert await asyncio.gather(*tasks[1:]) == [told] * (MANY - 1)

    asyncio.run(scene())


@pytest.mark.parametrize("when", ["opened", "written"])
def test_a_full_disk_is_told_as_one(house, monkeypatch, when):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(_):
        return Full() if when == "written" else Full().write(b"")

    monkeypatch.setattr(uploads, "_open_body", opened)
    with pytest.raises(Unavailable, match="No space left on device") as caught:
        asyncio.run(put(house, stream_of(KEYS)))
    assert "make room" in caught.value.remedy


def test_what_is_too_large_or_no_upload_is_refused_at_once(house):
    with pytest.raises(RequestError, match="larger than 10000 bytes"):
        asyncio.run(put(house, b"x" * 10_001))
    with pytest.raises(RequestError, match="not a whole Arrow stream"):
        asyncio.run(put(house, b"x" * 100))
    assert house.delivery.came == []


def test_directories_that_do_not_answer_keep_nobody_else_waiting(house, monkeypatch):
    silent, begun = threading.Event(), []

    def expand(pattern, _):
        begun.append(pattern)
        assert silent.wait(PATIENCE_SECONDS)
        raise Unavailable("The storage is silent.")

    monkeypatch.setattr(datasets, "expand", expand)
    new = NewDataset(name="nano", format="nanoaod", files=["root://silent//store/*.root"])
    caller = Principal(LOCAL)

    async def scene():
        adding = [datasets.add_dataset(new, house, caller) for _ in range(MANY // 2)]
        adding += [datasets.add_files("nano", new, house, caller) for _ in range(MANY // 2)]
        tasks = [asyncio.create_task(each) for each in adding]
        await until(lambda: len(begun) == datasets.LISTERS)
        assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        silent.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error) for error in found} == {Unavailable}

    asyncio.run(scene())
