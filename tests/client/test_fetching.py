"""Replies that break off, are compressed, or stand on the user's own disk already."""

from __future__ import annotations

import json
import pickle
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest

import columnservice
from columnservice import errors, wire
from columnservice.client import ColumnServiceWarning, fetching
from columnservice.client.report import LEDGER
from columnservice.model import plain

from .conftest import ROWS, UUID, column

RHO = column("rho", "float64")
PT = column("PF_pt", "float32", 1)


@pytest.fixture(autouse=True)
def forgetful():
    LEDGER.renew()
    fetching._warned.clear()


def rho(reply) -> list[float]:
    return reply.values(RHO).values.tolist()


TRUTH = np.linspace(0, 1, ROWS).tolist()


def body_of(service, *columns) -> bytes:
    query = [("file", UUID), ("start", "0"), ("stop", str(ROWS))]
    query += [("column", c) for c in columns]
    return service.transport.request(
        "GET", "/v1/datasets/nano/columns/data", query=query, accept=wire.MEDIA_TYPE
    )


def test_a_reply_that_breaks_off_is_resumed_behind_its_last_whole_batch(server):
    service = columnservice.connect(server.url)
    size = len(body_of(service, "rho"))
    server.breaks = [size * 2 // 3, size]
    reply = service.fetch("nano", UUID, 0, ROWS, ["rho"])
    assert rho(reply) == TRUTH
    assert [b.start for b in reply.batches] == [0, 4, 8]
    starts = [r.rows for r in server.data_requests[1:]]
    assert starts[0] == (0, ROWS)
    assert starts[1][0] in (4, 8)
    assert len(starts) == 2
    assert service.report().record["traffic"]["resumed"] == 1


@pytest.mark.parametrize("arrived", [0, 10, 300])
def test_a_reply_that_brings_no_batch_is_an_error_and_not_asked_again(server, arrived):
    service = columnservice.connect(server.url)
    server.breaks = [arrived]
    with pytest.raises(errors.TruncatedReply, match="broke off"):
        service.fetch("nano", UUID, 0, ROWS, ["rho"])
    assert len(server.data_requests) == 1


def test_a_second_part_with_other_columns_is_refused(server):
    service = columnservice.connect(server.url)
    server.breaks = [len(body_of(service, "rho")) * 2 // 3]

    def later(request):
        if request.path.endswith("/data") and request.rows[0] > 0:
            request.query["column"] = ["nPF"]

    server.answer = later
    with pytest.raises(errors.TruncatedReply, match="does not continue"):
        service.fetch("nano", UUID, 0, ROWS, ["rho"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"take": "before"}, {"take": "after"}),
        ({"take": "t", "recipes": {"rho": ["1"]}}, {"take": "t", "recipes": {"rho": ["2"]}}),
    ],
    ids=["parents", "recipes"],
)
def test_parts_that_were_made_differently_are_never_put_together(server, before, after):
    dataset = server.datasets["nano"]
    dataset.provenance = {"parent": "mini", **before}
    service = columnservice.connect(server.url)
    server.breaks = [len(body_of(service, "rho")) * 2 // 3]
    asked = len(server.data_requests)

    def later(request):
        if request.path.endswith("/data") and request.rows[0] > 0:
            dataset.provenance = {"parent": "mini", **after}
            dataset.tables[UUID].values["rho"] = plain(np.arange(ROWS, dtype=np.float64))

    server.answer = later
    reply = service.fetch("nano", UUID, 0, ROWS, ["rho"])
    assert rho(reply) == list(range(ROWS))
    assert reply.provenance == {"parent": "mini", **after}
    assert [r.rows[0] for r in server.data_requests[asked:]][::2] == [0, 0]


def test_parents_that_change_all_the_time_are_a_transport_error(server):
    dataset = server.datasets["nano"]
    dataset.provenance = {"parent": "mini", "take": 0}
    service = columnservice.connect(server.url)
    size = len(body_of(service, "rho"))

    def later(request):
        if request.rows[0] == 0:
            server.breaks = [size * 2 // 3]
        dataset.provenance = {"parent": "mini", "take": len(server.log)}

    server.answer = later
    with pytest.raises(errors.TruncatedReply, match="Parents or recipes changed"):
        service.fetch("nano", UUID, 0, ROWS, ["rho"])


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_compression_is_asked_for_and_changes_no_value(server, compression):
    service = columnservice.connect(server.url, compression=compression)
    reply = service.fetch("nano", UUID, 2, 9, ["rho", "PF_pt"])
    assert rho(reply) == TRUTH[2:9]
    asked = server.log[-1].headers.get(wire.COMPRESSION_HEADER)
    assert asked == (None if compression == "none" else compression)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://127.0.0.1:1", None),
        ("http://localhost:1", None),
        ("http://[::1]:1", None),
        ("https://columns.example.org", "zstd"),
    ],
)
def test_services_elsewhere_are_asked_to_compress(url, wanted):
    assert columnservice.connect(url).compression == wanted


def test_an_unknown_compression_is_refused():
    with pytest.raises(errors.RequestError, match="zstd, lz4 or none"):
        columnservice.connect("http://h:1", compression="gzip")


@pytest.fixture
def kept(server, tmp_path):
    server.etags = True
    return columnservice.connect(server.url, cache_dir=tmp_path)


def test_a_reply_on_disk_is_used_when_the_service_confirms_it(server, kept):
    first = kept.fetch("nano", UUID, 0, ROWS, ["rho", "PF_pt"])
    received = kept.report().received_bytes
    again = pickle.loads(pickle.dumps(kept)).fetch("nano", UUID, 0, ROWS, ["rho", "PF_pt"])
    assert rho(again) == rho(first) == TRUTH
    assert again.values(PT).values.tolist() == first.values(PT).values.tolist()
    report = kept.report()
    assert report.received_bytes == received
    assert (report.requests, report.record["traffic"]["from_disk"]) == (1, 1)
    assert "If-None-Match" in server.log[-1].headers


def test_what_changed_at_the_service_is_never_served_from_disk(server, kept):
    kept.fetch("nano", UUID, 0, ROWS, ["rho"])
    table = server.datasets["nano"].tables[UUID]
    table.values["rho"].values[:] += 1
    assert rho(kept.fetch("nano", UUID, 0, ROWS, ["rho"])) == [v + 1 for v in TRUTH]
    assert rho(kept.fetch("nano", UUID, 0, ROWS, ["rho"])) == [v + 1 for v in TRUTH]
    assert kept.report().record["traffic"]["from_disk"] == 1


def test_without_an_etag_nothing_is_kept(server, tmp_path):
    service = columnservice.connect(server.url, cache_dir=tmp_path)
    service.fetch("nano", UUID, 0, ROWS, ["rho"])
    assert list(tmp_path.glob("*/*/*")) == []


def test_other_requests_are_other_replies(server, kept):
    kept.fetch("nano", UUID, 0, ROWS, ["rho"])
    for rows, columns in (((0, 5), ["rho"]), ((0, ROWS), ["nPF"])):
        kept.fetch("nano", UUID, *rows, columns)
        assert "If-None-Match" not in server.log[-1].headers


def test_a_damaged_reply_on_disk_is_asked_for_again(server, kept, tmp_path):
    kept.fetch("nano", UUID, 0, ROWS, ["rho"])
    [path] = tmp_path.glob("*/*/*.arrow")
    path.write_bytes(path.read_bytes()[:-100])
    assert rho(kept.fetch("nano", UUID, 0, ROWS, ["rho"])) == TRUTH
    assert "If-None-Match" not in server.log[-1].headers


def test_away_from_the_service_the_disk_serves_with_a_warning_and_a_mark(server, kept):
    kept.fetch("nano", UUID, 0, ROWS, ["rho"])
    away = replace(kept, transport=replace(kept.transport, url="http://127.0.0.1:9"))
    with pytest.raises(errors.Unreachable):
        away.fetch("nano", UUID, 0, ROWS, ["rho"])
    # The same URL, where nobody answers any more.
    quiet = threading.Event()
    transport = replace(kept.transport, read_timeout_seconds=0.2)
    silent = replace(kept, transport=transport)
    server.answer = lambda _: quiet.wait(1)
    with pytest.warns(ColumnServiceWarning, match="unverified"):
        reply = silent.fetch("nano", UUID, 0, ROWS, ["rho"])
    assert rho(reply) == TRUTH
    assert not reply.verified
    assert silent.report().record["traffic"]["unverified"] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent.fetch("nano", UUID, 0, ROWS, ["rho"])
    quiet.set()


def test_a_refusal_is_not_answered_from_disk(server, kept):
    kept.fetch("nano", UUID, 0, ROWS, ["rho"])
    error = errors.FileChanged("A parent was replaced.")
    body = json.dumps(errors.problem(error)).encode()
    server.answer_with(409, "application/problem+json", body)
    with pytest.raises(errors.FileChanged):
        kept.fetch("nano", UUID, 0, ROWS, ["rho"])


def test_provenance_that_the_service_tells_is_in_the_reply_and_the_report(server):
    parents = [{"lfn": "/store/a.root", "uuid": "u", "size_bytes": 5}]
    told = {"parent": "mini", "take": "00", "parents": parents, "recipes": {"rho": ["ab"]}}
    server.datasets["nano"].provenance = told
    service = columnservice.connect(server.url)
    assert service.fetch("nano", UUID, 0, 4, ["rho"]).provenance == told
    service.fetch("nano", UUID, 4, ROWS, ["rho"])
    dataset = service.report().record["datasets"]["nano"]
    assert dataset["parent"] == "mini"
    assert dataset["recipes"] == {"rho": ["ab"]}
    assert dataset["files"][UUID]["parents"] == parents
    assert dataset["files"][UUID]["ranges"] == [[0, ROWS]]
