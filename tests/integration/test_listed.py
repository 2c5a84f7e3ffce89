"""The list of Columns through the real service and client: sent once, and new after each change."""

from __future__ import annotations

import numpy as np
import pytest

import columnservice
from columnservice.client import catalogue
from columnservice.client.transport import Transport
from tests.integration.test_provenance import KEYS, write_nano

RHO = np.linspace(10, 30, 100).astype("f4")
MUONS = [[float(e)] for e in range(100)]
MORE = [(2, 1, e) for e in range(20)]


@pytest.fixture
def pair(service, tmp_path, request):
    """Name of a Dataset with a parent, and the parent's file."""
    name = f"listed_{request.node.name}"
    parent = write_nano(tmp_path / "parent.root", KEYS, RHO, MUONS)
    local = write_nano(tmp_path / "local.root", KEYS, RHO)
    service.register(f"{name}_parent", "nanoaod", [parent])
    service.register(name, "nanoaod", [local], parent=f"{name}_parent")
    return name, parent


@pytest.fixture
def statuses(monkeypatch):
    """Of the answers that clients in this process were given."""
    found = []
    exchange = Transport.exchange

    def watched(self, *args, **more):
        answer = exchange(self, *args, **more)
        found.append(answer.status)
        return answer

    monkeypatch.setattr(Transport, "exchange", watched)
    catalogue.forget()
    return found


def add(service, name, path) -> None:
    status, told = service.ask("POST", f"/v1/datasets/{name}/files", {"files": [str(path)]})
    assert status == 201, told
    service.follow(name)


def test_each_change_is_in_the_next_list_and_between_them_none_is_sent(
    service, pair, tmp_path, statuses
):
    name, parent = pair
    client = columnservice.connect(service.url)

    def listed():
        """The list as it is now; asked for twice, it is sent once."""
        before = len(statuses)
        first, second = client.catalogue(name), client.catalogue(name)
        assert statuses[before:] == [200, 304]
        assert [*second.columns] == [*first.columns]
        assert second.makings == first.makings
        right = service.columns(name)
        assert [c.name for c in first.columns] == [c["name"] for c in right]
        return first

    assert listed().columns["Muon_pt"].support == "ok"
    service.ask(
        "POST", f"/v1/datasets/{name}/definitions", {"name": "Muon_x", "expression": "Muon_pt * 2"}
    )
    assert listed().columns["Muon_x"].source == "Muon_pt * 2"
    service.ask("DELETE", f"/v1/datasets/{name}/definitions/Muon_x")
    assert "Muon_x" not in listed().columns

    wider = write_nano(tmp_path / "wider.root", MORE, RHO[:20], MUONS[:20], extra=True)
    add(service, f"{name}_parent", wider)
    now = listed()
    assert now.columns["Muon_zeta"].reason == "absent from 1 of 2 files"
    state = now.makings.parents

    write_nano(parent, KEYS, RHO, MUONS, extra=True)
    service.ask("POST", f"/v1/datasets/{name}_parent/refresh")
    service.follow(f"{name}_parent")
    now = listed()
    assert now.columns["Muon_zeta"].support == "ok"
    assert now.makings.parents != state

    more = write_nano(tmp_path / "more.root", MORE, RHO[:20], [[1.0]] * 20)
    add(service, name, more)
    assert listed().columns["Muon_pt"].origin == "local"


def test_a_refusal_comes_before_the_answer_that_nothing_changed(service, pair):
    name, _ = pair
    url = f"{service.url}/v1/datasets/{name}/columns"
    etag = service.http.request("GET", url).headers["ETag"]
    held = {"If-None-Match": etag}
    same = service.http.request("GET", url, headers=held)
    assert (same.status, same.data, same.headers["ETag"]) == (304, b"", etag)
    foreign = service.http.request("GET", url, headers={**held, "Host": "elsewhere.org"})
    assert foreign.status == 403
    assert service.ask("DELETE", f"/v1/datasets/{name}")[0] == 204
    assert service.http.request("GET", url, headers=held).status == 404
