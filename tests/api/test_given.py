"""Replies that are given again: the same bytes, to whoever may have them, while they stand."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from columnservice import wire
from columnservice.api import columns, given, problems
from columnservice.api.given import Again, Given
from columnservice.api.measure import Measure
from columnservice.delivery.metrics import Metrics
from columnservice.delivery.plan import ColumnRequest
from columnservice.delivery.stream import Stream
from tests.api.test_replies import batch

pytestmark = pytest.mark.fast
UUID = "0" * 32
PATH = f"/v1/datasets/near/columns/data?file={UUID}&start=0&stop=5&column=rho"
TWIN = f"/v1/datasets/near/columns/data?column=rho&file={UUID}&start=0&stop=5"


class Delivered:
    """Every request is at hand; what is opened, and what is counted as given again, is told."""

    def __init__(self) -> None:
        self.opened: list[ColumnRequest] = []
        self.again: list[int] = []
        self.state = "one"
        self.standing = True
        self.rows = 5

    def at_hand(self, request: ColumnRequest) -> Any:
        return SimpleNamespace(planned=SimpleNamespace(plan=SimpleNamespace(request=request)))

    def open(self, request: ColumnRequest) -> Future[Stream]:
        self.opened.append(request)
        ready: Future[Any] = Future()
        ready.set_result(batch(request.start, self.rows))
        waiting = iter([ready])
        opened: Future[Stream] = Future()
        opened.set_result(
            Stream(
                [SimpleNamespace()],  # type: ignore[list-item]
                lambda: batch(0, 0)[0],
                lambda *_: next(waiting),
                0,
                lambda: None,
                self.state,
                '{"parent": "far"}',
            )
        )
        return opened

    def stands(self, _: Any) -> bool:
        return self.standing

    def given_again(self, _: Any, size_bytes: int) -> None:
        self.again.append(size_bytes)


class Edge:
    """The routes of columns, and the layer before them."""

    def __init__(self) -> None:
        self.delivered, self.metrics = Delivered(), Metrics()
        self.app = FastAPI()
        problems.install(self.app)
        self.app.state.given = Given()
        self.app.state.house = SimpleNamespace(delivery=self.delivered, metrics=self.metrics)
        self.app.add_middleware(Again, given=self.app.state.given)
        self.app.add_middleware(Measure)
        self.app.include_router(columns.router)

    def ask(
        self, path: str = PATH, method: str = "GET", client: str = "127.0.0.1", **headers: str
    ) -> httpx.Response:
        told = {name.replace("_", "-"): value for name, value in headers.items()}

        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(client, 4321))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await http.request(method, path, headers=told)

        return asyncio.run(run())

    @property
    def opened(self) -> int:
        return len(self.delivered.opened)


@pytest.fixture
def edge():
    return Edge()


def demand_from_route(edge: Edge, reply: httpx.Response, before: int) -> None:
    assert edge.opened == before + 1
    assert reply.status_code == 200


def test_what_is_given_again_is_what_the_route_gave(edge):
    first, second = edge.ask(), edge.ask()
    assert edge.opened == 1
    assert second.status_code == first.status_code == 200
    assert second.headers.multi_items() == first.headers.multi_items()
    assert second.content == first.content
    assert second.content.endswith(wire.END_OF_STREAM)
    assert first.headers["etag"] == '"one"'
    assert edge.delivered.again == [len(second.content)]


def test_requests_are_the_same_only_if_all_their_bytes_are(edge):
    edge.ask()
    for path in (TWIN, PATH.replace("stop=5", "stop=4"), PATH.replace("/near/", "/far/")):
        before = edge.opened
        edge.ask(path)
        assert edge.opened == before + 1


def test_what_does_not_stand_any_more_is_made_anew_and_forgotten(edge):
    edge.ask()
    edge.delivered.standing = False
    edge.delivered.state, edge.delivered.rows = "two", 3
    changed = edge.ask()
    demand_from_route(edge, changed, 1)
    assert changed.headers["etag"] == '"two"'
    edge.delivered.standing = True
    assert edge.ask().content == changed.content
    assert edge.opened == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"sec_fetch_site": "cross-site"},
    ],
)
def test_who_may_not_ask_is_refused_as_ever(edge, headers):
    refused = edge.ask(**headers)
    edge.ask()
    again = edge.ask(**headers)
    assert again.status_code == refused.status_code == 403
    assert again.json() == refused.json()
    assert edge.opened == 1
    assert edge.delivered.again == []


def test_who_is_not_on_this_host_is_refused(edge):
    edge.ask()
    assert edge.ask(client="192.0.2.7").status_code == 403
    assert edge.delivered.again == []


def test_the_permission_to_read_is_asked_each_time(edge, monkeypatch):
    edge.ask()
    asked = []
    monkeypatch.setattr(given, "demand_read", lambda caller, name: asked.append((caller, name)))
    edge.ask()
    assert [(caller.name, name) for caller, name in asked] == [("local", "near")]


@pytest.mark.parametrize(
    "headers",
    [{"if_none_match": '"zero"'}, {"x_arrow_compression": "zstd"}],
    ids=["conditional", "compressed"],
)
def test_who_asks_for_something_else_gets_it_from_the_route(edge, headers):
    plain = edge.ask()
    demand_from_route(edge, edge.ask(**headers), 1)
    assert edge.ask().content == plain.content
    assert edge.delivered.again == [len(plain.content)]


def test_who_holds_the_reply_already_is_told_so(edge):
    etag = edge.ask().headers["etag"]
    assert edge.ask(if_none_match=etag).status_code == 304


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
def test_other_methods_are_not_answered_from_what_a_get_gave(edge, method):
    expected = edge.ask(method=method).status_code
    edge.ask()
    assert edge.ask(method=method).status_code == expected == 405
    assert edge.delivered.again == []


def test_errors_are_not_kept(edge):
    for _ in range(2):
        reply = edge.ask(PATH.replace("start=0", "start=9"))
        assert reply.status_code == 400
        assert "behind stop" in reply.json()["detail"]
    assert edge.opened == 0


def test_what_could_not_be_verified_is_not_kept(edge):
    edge.delivered.state = ""
    edge.ask()
    demand_from_route(edge, edge.ask(), 1)


def test_what_is_large_is_not_kept(edge, monkeypatch):
    monkeypatch.setattr(given, "MOST_REPLY_BYTES", 100)
    edge.ask()
    demand_from_route(edge, edge.ask(), 1)


@pytest.mark.parametrize("bound", ["MOST_BYTES", "MOST_REPLIES"])
def test_the_least_recently_used_is_forgotten_first(edge, monkeypatch, bound):
    size_bytes = len(edge.ask().content)
    monkeypatch.setattr(given, bound, 2 if bound == "MOST_REPLIES" else size_bytes * 5 // 2)
    edge.ask(TWIN)
    edge.ask()
    edge.ask(TWIN.replace("near", "next"))
    before = edge.opened
    edge.ask()
    assert edge.opened == before
    demand_from_route(edge, edge.ask(TWIN), before)


def test_all_are_counted_by_their_route(edge):
    for _ in range(3):
        edge.ask()
    text = edge.metrics.text().decode().splitlines()
    [line] = [line for line in text if line.startswith("columnservice_requests_total")]
    assert line.endswith('route="/v1/datasets/{name}/columns/data",status="200"} 3.0')
