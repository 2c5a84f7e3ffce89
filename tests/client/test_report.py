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
    noted.used(URL, "nano", "u", "/data/a.root", used)
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
