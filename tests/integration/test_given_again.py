"""A reply that is asked for again and again: always what is right now, however it was kept."""

from __future__ import annotations

import io
import os
import time

import numpy as np
import pyarrow as pa
import pytest

from tests.integration.test_provenance import KEYS, write_nano
from tests.support.service import running_service

RHO = np.linspace(10, 30, 100).astype("f4")
PATIENCE_SECONDS = 120
ASKED = 6
"""Times: the first makes Pieces, the next plans and keeps, the others are given what was kept."""


def muons(add: float) -> list[list[float]]:
    return [[e + add] for e in range(100)]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A service that believes for a second that a parent is unchanged."""
    folder = tmp_path_factory.mktemp("again")
    settings = {"COLUMNSERVICE_REVALIDATE_SECONDS": "1"}
    with running_service(folder / "home", [folder], settings) as service:
        yield service, folder


@pytest.fixture
def name(house, request):
    """A Dataset of its own, with its parent."""
    service, folder = house
    name = request.node.name
    local = write_nano(folder / f"{name}.root", KEYS, RHO)
    parent = write_nano(folder / f"{name}_parent.root", KEYS, RHO, muons(0))
    service.register(f"{name}_parent", "nanoaod", [parent])
    service.register(name, "nanoaod", [local], parent=f"{name}_parent")
    return name


class Asking:
    """One request, put again and again."""

    def __init__(self, service, name) -> None:
        query = f"file={service.uuids(name)[0]}&start=3&stop=97&column=Muon_pt"
        self.url = f"{service.url}/v1/datasets/{name}/columns/data?{query}"
        self.http = service.http

    def __call__(self):
        return self.http.request("GET", self.url)

    def values(self) -> list[float]:
        reply = self()
        assert reply.status == 200, reply.data
        table = pa.ipc.open_stream(io.BytesIO(reply.data)).read_all()
        return [pt for [pt] in table["Muon"].to_pylist() for pt in pt.values()]


def plain(headers) -> list[tuple[str, str]]:
    return sorted((k.lower(), v) for k, v in headers.items() if k.lower() != "date")


def test_it_is_the_same_reply_each_time_and_counted_as_such(house, name):
    service, _ = house
    ask = Asking(service, name)
    hits, sent = (service.counter(f"columnservice_{n}_total") for n in ("piece_hits", "sent_bytes"))
    replies = [ask() for _ in range(ASKED)]
    assert {reply.status for reply in replies} == {200}
    assert len({reply.data for reply in replies}) == 1
    assert all(plain(reply.headers) == plain(replies[0].headers) for reply in replies)
    assert ask.values() == [e for [e] in muons(0)[3:97]]
    assert service.counter("columnservice_sent_bytes_total") - sent == 7 * len(replies[0].data)
    assert service.counter("columnservice_piece_hits_total") - hits == 6 * 3
    label = 'columnservice_requests_total{method="GET",route="/v1/datasets/{name}/columns/data"'
    assert service.counter(label) >= ASKED


def test_pieces_that_are_evicted_are_made_anew(house, name):
    service, _ = house
    ask = Asking(service, name)
    before = [ask().data for _ in range(ASKED)]
    misses = service.counter("columnservice_piece_misses_total")
    service.ask("POST", "/v1/cache/evict", {})
    assert ask().data == before[0]
    assert service.counter("columnservice_piece_misses_total") - misses == 3


def test_a_parent_that_is_replaced_is_noticed_in_time_and_its_new_values_are_given(house, name):
    service, folder = house
    ask = Asking(service, name)
    for _ in range(ASKED):
        assert ask.values()[0] == 3
    path = write_nano(folder / f"{name}_parent.root", KEYS, RHO, muons(1000))
    os.utime(path, (0, path.stat().st_mtime + 10))
    until = time.monotonic() + PATIENCE_SECONDS
    while (reply := ask()).status == 200:
        assert time.monotonic() < until
    assert reply.status == 409
    service.ask("POST", f"/v1/datasets/{name}_parent/refresh")
    service.follow(f"{name}_parent")
    for _ in range(ASKED):
        assert ask.values()[0] == 1003


def test_a_dataset_that_is_removed_answers_nothing_from_that_moment_on(house, name):
    service, _ = house
    ask = Asking(service, name)
    assert {ask().status for _ in range(ASKED)} == {200}
    status, _ = service.ask("DELETE", f"/v1/datasets/{name}")
    assert status < 300
    assert ask().status == 404


def test_a_column_that_is_defined_anew_has_its_new_values_at_once(house, name):
    service, _ = house
    ask = Asking(service, name)
    ask.url = ask.url.replace("Muon_pt", "Muon_twice")
    for factor in (2, 3):
        body = {"name": "Muon_twice", "expression": f"Muon_pt * {factor}"}
        assert service.ask("POST", f"/v1/datasets/{name}/definitions", body)[0] < 300
        for _ in range(ASKED):
            assert ask.values()[0] == 3 * factor
