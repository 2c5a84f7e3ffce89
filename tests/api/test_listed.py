"""Lists of Columns that are kept: the right one each time, and only while it is the right one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from columnservice.api import columns, listed, problems
from columnservice.api.auth import Principal, principal
from columnservice.api.columnlist import document_of
from columnservice.api.listed import Listed, Lists
from columnservice.catalogue.definitions import Definition
from columnservice.catalogue.drafting import define, undefine
from columnservice.catalogue.manifest import ManifestEntry
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.summary import matches, matches_with_state
from columnservice.errors import FileError, UnknownDataset
from columnservice.model import ColumnSet, Dataset, FileIdentity, LumiRange
from tests.catalogue.conftest import catalogue, offered, record, url
from tests.catalogue.test_derived import objects

pytestmark = pytest.mark.fast
__all__ = ["catalogue", "url"]
PATH = "/v1/datasets/nano/columns"
LUMIS = LumiRange(1, 1, 1)
LOCAL = ColumnSet("cd" * 16, (offered("run"), *objects("Muon")))
PARENT = ColumnSet("ef" * 16, (offered("rho"), *objects("slimmedMuons", "caloIso")))
WIDER = ColumnSet("12" * 16, (*PARENT.columns, offered("mu")))
MUONS = {"local": "Muon", "parent": "slimmedMuons", "objects": 10, "ambiguous": 0, "distances": [3]}


def check(matched: int) -> dict[str, Any]:
    """What an examination keeps of a File."""
    return {"matches": [{**MUONS, "matched": matched}]}


@pytest.fixture
def nano(catalogue):
    """A Dataset with its parent, one definition, and one match that was looked at."""
    catalogue.add_dataset(Dataset("mini", "miniaod"))
    catalogue.add_dataset(Dataset("nano", "nanoaod", "mini"))
    catalogue.record_file("mini", record(1, LUMIS, columnset=PARENT), PARENT)
    catalogue.record_file("nano", record(2, LUMIS, columnset=LOCAL), LOCAL)
    catalogue.set_note("nano", f"checks/{record(2).identity.uuid}", check(3))
    define(catalogue, "nano", Definition("Muon_x", "Muon_pt + rho", "ada"))
    return catalogue


class Edge:
    """The routes of columns over one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.app = FastAPI()
        problems.install(self.app)
        self.app.state.house = SimpleNamespace(catalogue=catalogue)
        self.app.state.lists = Lists()
        self.app.include_router(columns.router)

    def ask(self, held: str | None = None, path: str = PATH, **headers: str) -> httpx.Response:
        told = headers | ({"If-None-Match": held} if held is not None else {})

        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 4321))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await http.get(path, headers=told)

        return asyncio.run(run())


@pytest.fixture
def edge(nano):
    return Edge(nano)


@pytest.fixture
def made(monkeypatch):
    """Which lists were put together, in order."""
    found = []

    def counted(catalogue: Catalogue, name: str, *more: Any) -> dict[str, Any]:
        found.append(name)
        return document_of(catalogue, name, *more)

    monkeypatch.setattr(listed, "document_of", counted)
    return found


def by_fastapi(document: dict[str, Any]) -> bytes:
    """What FastAPI sends for a route that returns a document."""
    app = FastAPI()

    @app.get("/")
    def route() -> dict[str, Any]:
        return document

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await http.get("/")

    reply = asyncio.run(run())
    assert reply.headers["content-type"] == "application/json"
    return reply.content


def read_anew(url: str) -> dict[str, Any]:
    """The list as a process that remembers nothing tells it."""
    fresh = Catalogue(url)
    try:
        return document_of(fresh, "nano", matches(fresh, "nano"))
    finally:
        fresh.close()


def test_the_bytes_are_those_of_a_route_that_returns_the_document(edge, url):
    reply = edge.ask()
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.content == by_fastapi(read_anew(url))
    told = {c["name"]: c for c in reply.json()["columns"]}
    assert {"run", "rho", "Muon_hasMatch", "Muon_caloIso", "Muon_x"} <= told.keys()
    assert told["Muon_caloIso"]["match"]["matched"] == 3


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e300, 0.1 + 0.2, "ß\u2028\x00"])
def test_odd_values_are_sent_as_ever(odd):
    document = {"columns": [{"cost_bytes": odd, "members": ({"name": ""},)}]}
    assert Listed.of(document).body == by_fastapi(document)


def test_a_list_that_has_not_changed_is_neither_made_nor_sent_again(edge, made):
    first, second = edge.ask(), edge.ask()
    assert made == ["nano"]
    assert second.content == first.content
    assert second.headers.multi_items() == first.headers.multi_items()
    etag = first.headers["etag"]
    assert etag.startswith('"')
    third = edge.ask(etag)
    assert (third.status_code, third.content) == (304, b"")
    assert third.headers["etag"] == etag
    assert made == ["nano"]


@pytest.mark.parametrize("other", ['"0"', "*", "", 'W/"{}"'])
def test_who_does_not_hold_the_very_same_is_sent_the_list(edge, other):
    first = edge.ask()
    asked = other.format(first.headers["etag"].strip('"'))
    assert edge.ask(asked).content == first.content


def replaced_parent(catalogue: Catalogue) -> None:
    """As a refresh does that finds another file under the URL of the old one."""
    old = record(1, LUMIS, columnset=PARENT)
    catalogue.record_file(
        "mini", replace(old, identity=FileIdentity(old.identity.uuid, 99)), PARENT
    )


def another_nano(catalogue: Catalogue) -> None:
    catalogue.add_dataset(Dataset("wide", "miniaod"))
    catalogue.record_file("wide", record(7, LUMIS, columnset=WIDER), WIDER)
    catalogue.remove_dataset("nano")
    catalogue.add_dataset(Dataset("nano", "nanoaod", "wide"))


def broken(catalogue: Catalogue) -> None:
    catalogue.record_failure("mini", record(1).url, FileError("gone."))


def opened(catalogue: Catalogue) -> None:
    """A File of a manifest that the first request for its events has opened."""
    catalogue.import_manifest("mini", [ManifestEntry("root://origin:1094//store/5.root", 9, ())])
    catalogue.record_file("mini", record(5, LUMIS, columnset=WIDER), WIDER)


CHECK = f"checks/{record(2).identity.uuid}"
ERROR = {"url": "x", "code": "WrongParent", "error": "no.", "remedy": ""}
CHANGES = {
    "a file of the dataset": lambda c: c.record_file("nano", record(3, columnset=WIDER), WIDER),
    "a file of the parent": lambda c: c.record_file("mini", record(3, columnset=WIDER), WIDER),
    "one like the others": lambda c: c.record_file("mini", record(3, columnset=PARENT), PARENT),
    "a file of a manifest": opened,
    "a file that is gone": lambda c: c.remove_files("mini", [record(1).url]),
    "a file that broke": broken,
    "a file that was replaced": replaced_parent,
    "a definition": lambda c: define(c, "nano", Definition("Muon_y", "Muon_pt * 2", "ada")),
    "its expression": lambda c: define(c, "nano", Definition("Muon_x", "Muon_pt * 2", "ada")),
    "its text": lambda c: define(c, "nano", Definition("Muon_x", "Muon_pt + rho", "ada", "told")),
    "a definition less": lambda c: undefine(c, "nano", "Muon_x", lambda _: None),
    "a match, checked anew": lambda c: c.set_note("nano", CHECK, check(2)),
    "a match of another file": lambda c: c.set_note("nano", "checks/other", check(2)),
    "a check that failed": lambda c: c.set_note("nano", CHECK, ERROR),
    "a check forgotten": lambda c: c.remove_notes("nano", "checks/"),
    "another dataset of the name": another_nano,
}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another process"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_after_a_change_the_list_is_the_new_one_at_once(edge, nano, url, change, elsewhere):
    before = edge.ask()
    assert edge.ask(before.headers["etag"]).status_code == 304
    other = Catalogue(url) if elsewhere else nano
    change(other)
    after = edge.ask(before.headers["etag"])
    assert after.status_code == 200
    assert after.content == by_fastapi(read_anew(url)) != before.content
    assert after.headers["etag"] != before.headers["etag"]
    assert edge.ask(after.headers["etag"]).status_code == 304
    if elsewhere:
        other.close()


def test_what_does_not_change_the_list_keeps_its_etag(edge, nano, made):
    etag = edge.ask().headers["etag"]
    nano.record_file("mini", record(1, LUMIS, columnset=PARENT), PARENT)
    assert edge.ask(etag).status_code == 304
    assert made == ["nano", "nano"]
    nano.set_note("nano", "uploads/abc", {"events": 3})
    nano.add_dataset(Dataset("other", "aod"))
    assert edge.ask(etag).status_code == 304
    assert len(made) == 2


def test_what_changes_while_a_list_is_made_is_not_taken_for_known(edge, nano, url, monkeypatch):
    def slowly(catalogue: Catalogue, name: str, *more: Any) -> dict[str, Any]:
        document = document_of(catalogue, name, *more)
        catalogue.record_file("mini", record(3, columnset=WIDER), WIDER)
        return document

    with monkeypatch.context() as patch:
        patch.setattr(listed, "document_of", slowly)
        old = edge.ask()
    assert "mu" not in [c["name"] for c in old.json()["columns"]]
    new = edge.ask(old.headers["etag"])
    assert new.status_code == 200
    assert new.content == by_fastapi(read_anew(url))


def test_matches_that_are_lost_and_found_while_a_list_is_made_leave_no_old_list(
    edge, nano, url, monkeypatch
):
    """Nothing counts how often they change: afterwards they are what they were before."""
    kept = f"checks/{record(2).identity.uuid}"

    def without(catalogue: Catalogue, name: str) -> Any:
        catalogue.remove_notes("nano", "checks/")
        found = matches_with_state(catalogue, name)
        catalogue.set_note("nano", kept, check(3))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(listed, "matches_with_state", without)
        old = edge.ask()
    new = edge.ask(old.headers["etag"])
    assert new.content == by_fastapi(read_anew(url)) != old.content


@pytest.mark.parametrize("path", [PATH, f"{PATH}?match=Muon_*"])
def test_another_principal_is_refused_whatever_it_holds(edge, path):
    etag = edge.ask(path=path).headers["etag"]
    edge.app.dependency_overrides[principal] = lambda: Principal("bob")
    for held in (None, etag):
        refused = edge.ask(held, path)
        assert refused.status_code == 403
        assert "etag" not in refused.headers
        assert "Muon" not in refused.text


def test_a_request_from_elsewhere_is_refused_though_the_list_is_the_same(edge):
    etag = edge.ask().headers["etag"]
    for headers in ({"Host": "elsewhere.org"}, {"Origin": "http://elsewhere.org"}):
        assert edge.ask(etag, **headers).status_code == 403
    assert edge.ask(etag).status_code == 304


def test_a_dataset_that_is_not_there_is_told_though_its_list_is_held(edge, nano):
    etag = edge.ask().headers["etag"]
    missing = edge.ask(etag, "/v1/datasets/nanno/columns")
    assert missing.status_code == 404
    nano.remove_dataset("nano")
    gone = edge.ask(etag)
    assert gone.status_code == 404
    assert gone.json()["title"] == "UnknownDataset"


def test_filtered_lists_are_made_each_time_and_have_etags_of_their_own(edge, nano):
    path = f"{PATH}?match=Muon_*&sort=name"
    whole, some = edge.ask(), edge.ask(path=path)
    names = [c["name"] for c in some.json()["columns"]]
    assert names == sorted(c["name"] for c in whole.json()["columns"] if "Muon_" in c["name"][:5])
    assert edge.app.state.lists.size_bytes == len(whole.content)
    assert edge.ask(some.headers["etag"], path).status_code == 304
    assert edge.ask(whole.headers["etag"], path).content == some.content
    assert edge.ask(some.headers["etag"]).content == whole.content
    define(nano, "nano", Definition("Muon_y", "Muon_pt * 2", "ada"))
    assert "Muon_y" in edge.ask(some.headers["etag"], path).text


def test_the_description_of_the_route_tells_of_both_answers(edge):
    told = edge.app.openapi()["paths"]["/v1/datasets/{name}/columns"]["get"]
    assert told["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "object"
    assert "content" not in told["responses"]["304"]
    assert "If-None-Match" in [p["name"] for p in told["parameters"]]


@pytest.fixture
def several(catalogue):
    for name in ("a", "b", "c"):
        catalogue.add_dataset(Dataset(name, "miniaod"))
        catalogue.record_file(name, record(1, LUMIS, columnset=PARENT), PARENT)
    return catalogue


def test_the_lists_used_longest_ago_make_room(several, made):
    size = len(Listed.of(document_of(several, "a", ())).body)
    lists = Lists(most_bytes=2 * size + 10)
    for name in ("a", "b", "a", "c"):
        lists.find(several, name)
    assert lists.size_bytes == 2 * size
    assert made == ["a", "b", "c"]
    lists.find(several, "a")
    assert made == ["a", "b", "c"]
    lists.find(several, "b")
    assert made == ["a", "b", "c", "b"]
    assert lists.size_bytes == 2 * size


def test_a_list_that_changed_takes_the_place_of_the_old_one(several):
    lists = Lists()
    before = lists.find(several, "a")
    several.record_file("a", record(2, LUMIS, columnset=WIDER), WIDER)
    after = lists.find(several, "a")
    assert len(after.body) > len(before.body)
    assert lists.size_bytes == len(after.body)


def test_a_list_without_room_is_told_and_not_kept(several, made):
    lists = Lists(most_bytes=100)
    told = [lists.find(several, "a").body for _ in range(2)]
    assert told[0] == told[1] == by_fastapi(document_of(several, "a", ()))
    assert lists.size_bytes == 0
    assert made == ["a", "a"]
    with pytest.raises(UnknownDataset):
        lists.find(several, "d")
