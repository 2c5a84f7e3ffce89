"""Reports: JSON that adds up, whatever the order."""

from __future__ import annotations

import json

import pytest

from columnservice.client.report import Fetched, Ledger, Report
from columnservice.model import Column, Member

pytestmark = pytest.mark.fast

URL = "http://here"
RHO = Column("rho", (Member("", "float64"),), 0, source="double_rho")
PT = Column("PF_pt", (Member("", "float32"),), 1, shape="PF", source="PF.pt")


def ledger(*fetched: Fetched, used: Column = RHO) -> Ledger:
    noted = Ledger()
    for what in fetched:
        noted.fetched(URL, what)
    noted.used(URL, "nano", "u", "/data/a.root", [used], {})
    return noted


def test_ranges_unite_and_numbers_add():
    report = ledger(
        Fetched("nano", "u", 0, 5, 100, 0.5),
        Fetched("nano", "u", 5, 9, 50, 0.0, ahead=True),
        Fetched("nano", "u", 20, 30, 0, 0.1, from_disk=True, verified=False),
    ).report(URL)
    assert report.record["datasets"]["nano"]["files"]["u"]["ranges"] == [[0, 9], [20, 30]]
    assert report.record["traffic"] == {
        "requests": 2,
        "bytes": 150,
        "seconds": pytest.approx(0.6),
        "ahead": 1,
        "from_disk": 1,
        "resumed": 0,
        "unverified": 1,
    }
    assert (report.requests, report.received_bytes) == (2, 150)
    assert "could not be verified" in repr(report)
    assert "rho: float64 from parent double_rho" in repr(report)
    assert repr(report).splitlines()[0] in report._repr_html_()


def test_reports_of_processes_add_up_in_any_order():
    parents = [{"lfn": "b"}, {"lfn": "a"}]
    one = ledger(Fetched("nano", "u", 0, 5, 10, 1.0, provenance={"parents": parents[:1]}))
    two = ledger(
        Fetched("nano", "u", 5, 9, 20, 1.0, provenance={"parents": parents, "parent": "mini"}),
        Fetched("other", "v", 0, 3, 30, 1.0),
        used=PT,
    )
    a, b = one.report(URL), two.report(URL)
    total = a + b
    assert total.record == (b + a).record | {"datasets": total.record["datasets"]}
    assert total.requests == 3
    assert set(total.columns) == {"rho", "PF_pt"}
    nano = total.record["datasets"]["nano"]
    assert nano["files"]["u"]["ranges"] == [[0, 9]]
    assert nano["files"]["u"]["path"] == "/data/a.root"
    assert nano["files"]["u"]["parents"] == [{"lfn": "a"}, {"lfn": "b"}]
    assert nano["parent"] == "mini"
    assert (a.requests, b.requests) == (1, 2)
    one.absorb(b)
    assert one.report(URL).record == total.record
    sums = [(total + Report()).record, (Report() + total).record]
    assert all(s["datasets"] == total.record["datasets"] for s in sums)
    assert all(s["service"] == URL for s in sums)


def test_a_file_s_own_report_holds_what_it_was_given_and_nothing_else():
    parents = [{"lfn": "/store/a", "servers": ["root://here"]}]
    told = {
        "parent": "mini",
        "take": "t",
        "parents": parents,
        "recipes": {"rho": ["1"], "lead": ["2"], "PF_pt": ["3"], "other": ["4"]},
        "derived": {"lead": ["PF_pt"]},
    }
    noted = ledger(
        Fetched("nano", "u", 0, 5, 100, 0.5, provenance=told),
        Fetched("nano", "v", 0, 7, 10, 0.25),
        Fetched("more", "v", 7, 9, 1, 0.25, ahead=True),
    )
    lead = Column("lead", (Member("", "float32"),), 0, origin="derived")
    noted.used(URL, "nano", "v", "/data/b.root", [RHO], {})
    noted.used(URL, "nano", "u", "/data/a.root", [lead], told)
    whole = noted.report(URL)
    one, two = whole.of_file("u"), whole.of_file("v")
    assert (one.requests, one.received_bytes, one.record["traffic"]["seconds"]) == (1, 100, 0.5)
    assert (two.requests, two.received_bytes, two.record["traffic"]["ahead"]) == (2, 11, 1)
    assert set(one.columns) == {"rho", "lead"}
    assert two.columns == ["rho"]
    [dataset] = one.record["datasets"].values()
    assert dataset["recipes"] == {"rho": ["1"], "lead": ["2"], "PF_pt": ["3"]}
    assert dataset["derived"] == {"lead": ["PF_pt"]}
    assert dataset["files"]["u"]["parents"] == parents
    assert dataset["files"]["u"]["takes"] == ["t"]
    assert "joined with 1 files of mini on root://here" in repr(one)
    assert set(two.record["datasets"]) == {"nano", "more"}
    assert whole.of_file("w").record["datasets"] == {}
    assert (one + one).of_file("u").requests == 2


def test_what_came_before_a_report_began_anew_is_told_when_it_is_used_again():
    told = {"parent": "mini", "take": "t", "parents": [{"lfn": "a"}], "recipes": {"rho": ["1"]}}
    noted = Ledger()
    noted.fetched(URL, Fetched("nano", "u", 0, 5, 10, 1.0, provenance=told))
    noted.report(URL, clear=True)
    noted.used(URL, "nano", "u", "/data/a.root", [RHO], told)
    report = noted.report(URL)
    assert report.requests == 0
    [dataset] = report.record["datasets"].values()
    assert dataset["recipes"] == {"rho": ["1"]}
    assert dataset["files"]["u"]["parents"] == [{"lfn": "a"}]


def test_a_cleared_report_begins_anew():
    noted = ledger(Fetched("nano", "u", 0, 5, 10, 1.0))
    assert noted.report(URL, clear=True).requests == 1
    assert noted.report(URL).requests == 0
    assert noted.report(URL).columns == []


def test_a_report_is_json_all_the_way(tmp_path):
    report = ledger(Fetched("nano", "u", 0, 5, 10, 1.0)).report(URL)
    report.save(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == report.record
    assert Report.load(tmp_path / "r.json").record == report.record
