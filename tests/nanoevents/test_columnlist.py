"""Column lists of offers: worked out once for each list, and still nobody else's."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

import columnservice
from columnservice.model import Column, Member
from columnservice.nanoevents import columnlist
from columnservice.nanoevents.columnlist import catalogue_of

from ..support.wire_server import wire_server
from .small import serve_small

MINE = Column("mine", (Member("", "float64"),), 0, origin="derived")
DIGEST = "ab" * 8


@pytest.fixture
def worked_out(monkeypatch):
    """The Datasets whose list was worked out, in order."""
    found = []
    offered = columnlist._offered

    def counted(dataset, told):
        found.append(dataset)
        return offered(dataset, told)

    monkeypatch.setattr(columnlist, "_offered", counted)
    return found


def test_a_list_is_worked_out_once_however_often_it_is_asked_for(small, service, worked_out):
    first, second = catalogue_of(service, "small"), catalogue_of(service, "small")
    assert worked_out == ["small"]
    assert second == first
    columnlist.forget()
    assert catalogue_of(service, "small") == first
    assert worked_out == ["small", "small"]


def test_each_change_of_the_list_is_there_at_once(small, service, worked_out):
    before = catalogue_of(service, "small")
    small.served.columns.append(MINE)
    after = catalogue_of(service, "small")
    assert after.columns == (*before.columns, MINE)
    assert after.names == before.names | {"mine"}
    small.served.made["mine"] = {"recipes": [DIGEST]}
    assert catalogue_of(service, "small").makings.recipes["mine"] == (DIGEST[:12],)
    small.served.columns.pop()
    assert catalogue_of(service, "small") == before
    assert len(worked_out) == 4


def test_what_a_service_does_not_name_is_worked_out_each_time(small, service, server, worked_out):
    server.list_etag = lambda _: ""
    first = catalogue_of(service, "small")
    small.served.columns.append(MINE)
    assert "mine" in catalogue_of(service, "small").names - first.names
    assert worked_out == ["small", "small"]


def test_services_and_datasets_do_not_mix(small, service, server, small_file):
    server.list_etag = lambda _: '"the same everywhere"'
    server.add(serve_small(*small_file, "other")).columns.append(MINE)
    with wire_server() as elsewhere:
        elsewhere.list_etag = server.list_etag
        elsewhere.add(serve_small(*small_file)).columns.append(replace(MINE, name="theirs"))
        there = columnservice.connect(elsewhere.url)
        for _ in range(2):
            found = [
                catalogue_of(*asked).columns[-1].name
                for asked in ((service, "other"), (there, "small"), (service, "small"))
            ]
            assert found[:2] == ["mine", "theirs"]
            assert found[2] not in found[:2]


def test_what_one_analysis_learns_or_changes_is_not_in_the_other_s_list(small, service):
    small.served.made["rho"] = {"recipes": [DIGEST]}
    first, second = catalogue_of(service, "small"), catalogue_of(service, "small")
    now = replace(first.makings, recipes={"rho": (DIGEST[:12], "cd" * 6)})
    told = {"recipes": {"rho": ["cd" * 8]}}
    first.makings.demand_same(["rho"], told, "here", "Begin anew.", lambda: now)
    assert first.makings.changed(["rho"], told) == []
    second.makings.recipes["rho"] = ("ef" * 6,)
    third = catalogue_of(service, "small")
    assert third.makings.recipes["rho"] == (DIGEST[:12],)
    assert third.makings.changed(["rho"], told) == ["rho"]


def test_a_list_is_pickled_once_and_each_copy_is_like_it(small, service, monkeypatch):
    packed = []
    compress = columnlist.zlib.compress

    def counted(*given):
        packed.append(len(given[0]))
        return compress(*given)

    monkeypatch.setattr(columnlist.zlib, "compress", counted)
    one, other = catalogue_of(service, "small"), catalogue_of(service, "small")
    copies = [pickle.loads(pickle.dumps(each)) for each in (one, other, one)]
    assert copies == [one, other, one]
    assert len(packed) == 1
    changed = replace(one, witnesses=("nothing",))
    assert pickle.loads(pickle.dumps(changed)) == changed != one
    assert len(packed) == 2
