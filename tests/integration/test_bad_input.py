"""What bad input gets: a fitting status, one clear line with a remedy, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import socket

import numpy as np
import pytest
import uproot

from tests.support.service import RunningService


@pytest.fixture(scope="module")
def pair(service: RunningService, data_dir):
    """A registered pair: (dataset, file UUID, entries)."""
    parents = [data_dir / "cms_demo_syn" / f"parent_{n}.root" for n in range(4)]
    service.register("bad_parent", "miniaod", parents)
    local = data_dir / "cms_demo_syn" / "local_NanoAODv5_1000ev.root"
    service.register("bad_local", "nanoaod", [local], parent="bad_parent")
    return "bad_local", service.uuids("bad_local")[0], 1000


def problem(service, method, path, body=None, status=None):
    """A problem document: one line of detail and a remedy."""
    found, document = service.ask(method, path, body)
    assert found >= 400
    assert status is None or found == status == document["status"], document
    assert document["detail"].strip()
    assert document["remedy"].strip()
    assert "\n" not in document["detail"]
    assert "Traceback" not in json.dumps(document)
    return document


def query(service, pair, status, **changes):
    dataset, uuid, entries = pair
    body = {"file": uuid, "start": 0, "stop": entries, "columns": ["PFCands_pt"], **changes}
    return problem(service, "POST", f"/v1/datasets/{dataset}/columns/query", body, status)


def test_an_unknown_column_is_answered_with_the_nearest_names(service, pair):
    assert "PFCands_pt" in query(service, pair, 404, columns=["PFCands_ptt"])["detail"]


def test_an_unsupported_column_is_answered_with_its_reason(service, pair):
    bad = next(c for c in service.columns(pair[0]) if c["support"] == "unsupported")
    assert bad["reason"] in query(service, pair, 422, columns=[bad["name"]])["detail"]


def test_a_local_column_is_not_fetched_remotely(service, pair):
    assert "local" in query(service, pair, 400, columns=["Muon_pt"])["detail"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"start": 0, "stop": 1001}, 416),
        ({"start": 7, "stop": 3}, 400),
        ({"start": -1}, 400),
        ({"start": 2**70}, 400),
        ({"start": "x"}, 400),
        ({"columns": []}, 400),
        ({"columns": "PFCands_pt"}, 400),
        ({"columns": [3]}, 400),
        ({"file": "../../etc/passwd"}, 400),
        ({"file": "00000000-0000-0000-0000-000000000000"}, 404),
        ({"nonsense": 1}, 400),
    ],
)
def test_a_wrong_request_is_refused_with_a_fitting_status(service, pair, changes, status):
    query(service, pair, status, **changes)


def test_an_unknown_dataset_is_answered_with_the_nearest_name(service, pair):
    document = problem(service, "GET", "/v1/datasets/bad_locall", status=404)
    assert "bad_local" in document["detail"]


def test_a_malformed_body_is_refused(service):
    reply = service.http.request(
        "POST",
        service.url + "/v1/datasets",
        body=b"{not json",
        headers={"Content-Type": "application/json"},
    )
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "application/problem+json"


def test_an_unknown_path_and_method_are_problems_too(service):
    problem(service, "GET", "/v1/nothing", status=404)
    problem(service, "PATCH", "/v1/datasets", status=405)


def test_a_dataset_with_children_is_not_removed(service, pair):
    assert (
        "bad_local" in problem(service, "DELETE", "/v1/datasets/bad_parent", status=409)["detail"]
    )


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "x" * 200])
def test_a_name_that_cannot_stand_in_a_url_is_refused(service, name):
    problem(service, "POST", "/v1/datasets", {"name": name, "format": "nanoaod"}, 400)


def test_an_unknown_format_and_an_unknown_parent_are_refused(service):
    problem(service, "POST", "/v1/datasets", {"name": "n", "format": "nanoad"}, 400)
    body = {"name": "n", "format": "nanoaod", "parent": "nobody"}
    problem(service, "POST", "/v1/datasets", body, 404)
    problem(service, "GET", "/v1/datasets/n", status=404)


@pytest.mark.parametrize(
    "file",
    ["/etc/passwd", "relative.root", "http://example.org/a.root", "root://elsewhere:1094//a.root"],
)
def test_files_outside_what_the_operator_allows_are_refused(service, file):
    body = {"name": "outside", "format": "nanoaod", "files": [file]}
    document = problem(service, "POST", "/v1/datasets", body)
    assert document["status"] in (400, 403)
    problem(service, "GET", "/v1/datasets/outside", status=404)


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory, data_dir):
    """Files that cannot be registered, by what is wrong with them; and a good one among them."""
    folder = tmp_path_factory.mktemp("bad-files")
    source = data_dir / "cms" / "nano_dy.root"
    good = shutil.copy(source, folder / "good.root")
    data = source.read_bytes()
    (folder / "truncated.root").write_bytes(data[: len(data) // 2])
    (folder / "no_root.root").write_bytes(b"just text, and no ROOT file at all")
    (folder / "empty.root").write_bytes(b"")
    shutil.copy(data_dir / "cms" / "missing_luminosityBlock.root", folder / "no_keys.root")
    with uproot.recreate(folder / "no_tree.root") as file:
        file.mktree("Delphes", {"x": "int32"})
        file["Delphes"].extend({"x": np.arange(3, dtype="i4")})
    return folder, good


def test_bad_files_are_named_one_by_one_and_do_not_stop_the_others(service, bad_files):
    folder, good = bad_files
    summary = service.register("mixed", "nanoaod", [folder])
    assert summary["files"] == {"ok": 1, "pending": 0, "declared": 0, "failed": 5}
    told = {f["url"].rpartition("/")[2]: f for f in summary["failures"]}
    assert told["truncated.root"]["code"] == "DamagedFile"
    assert told["no_root.root"]["code"] in ("NotRoot", "DamagedFile")
    assert told["empty.root"]["code"] in ("NotRoot", "DamagedFile")
    assert told["no_keys.root"]["code"] == "NoEventKeys"
    assert "luminosityBlock" in told["no_keys.root"]["error"]
    assert told["no_tree.root"]["code"] == "NoTree"
    assert "Delphes" in told["no_tree.root"]["error"]
    assert service.ask("GET", "/v1/datasets/mixed/files")[1]["files"][0]["url"] == str(good)


def test_a_file_without_events_registers_and_serves_no_rows(service, data_dir):
    empty = data_dir / "cms" / "miniaodsim_2018_schema_0ev.root"
    summary = service.register("no_events", "miniaod", [empty])
    assert summary["files"]["ok"] == 1
    assert summary["entries"] == 0


def test_a_column_of_a_dataset_without_parent_is_refused(service, bad_files):
    service.register("orphan", "nanoaod", [bad_files[1]])
    body = {"file": service.uuids("orphan")[0], "start": 0, "stop": 1, "columns": ["PFCands_pt"]}
    document = problem(service, "POST", "/v1/datasets/orphan/columns/query", body, 400)
    assert "--parent" in document["remedy"]


def test_a_client_that_disconnects_harms_nobody(service, pair):
    dataset, uuid, entries = pair
    host, port = service.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as line:
            path = f"/v1/datasets/{dataset}/columns/data?file={uuid}&start=0&stop={entries}"
            request = f"GET {path}&column=PFCandsRaw_packedPt HTTP/1.1\r\nHost: {host}\r\n\r\n"
            line.sendall(request.encode())
            line.recv(100)
    assert service.data(dataset, uuid, 0, entries, ["PFCands_pt"])


def test_a_web_page_of_another_site_is_refused(service):
    for header in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        reply = service.http.request("POST", service.url + "/v1/cache/evict", headers=header)
        assert reply.status == 403


def test_a_path_that_leads_elsewhere_since_is_not_followed(service, tmp_path, data_dir):
    secret = service.home.parent.parent / f"outside-{os.getpid()}.root"
    good = tmp_path / "good.root"
    shutil.copy(data_dir / "cms" / "nano_dy.root", good)
    service.register("led_astray", "nanoaod", [good])
    before = service.uuids("led_astray")
    shutil.copy(data_dir / "cms" / "nano_dimuon.root", secret)
    try:
        good.unlink()
        good.symlink_to(secret)
        service.ask("POST", "/v1/datasets/led_astray/refresh")
        service.follow("led_astray")
    finally:
        secret.unlink()
    assert service.uuids("led_astray") == before


def test_a_file_that_was_named_by_mistake_can_be_taken_out(service, tmp_path, data_dir):
    wrong = tmp_path / "mistake.root"
    service.register("mistaken", "nanoaod", [data_dir / "cms" / "nano_dy.root", wrong])
    status, summary = service.ask("DELETE", "/v1/datasets/mistaken/files", {"files": [str(wrong)]})
    assert (status, summary["files"]["failed"], summary["files"]["ok"]) == (200, 0, 1)
    problem(service, "DELETE", "/v1/datasets/mistaken/files", {"files": [str(wrong)]}, 400)


def test_a_foreign_host_name_is_refused(service):
    reply = service.http.request(
        "GET", service.url + "/v1/datasets", headers={"Host": "evil.example"}
    )
    assert reply.status == 403


def test_nothing_half_written_is_left_after_all_this(service, pair):
    query(service, pair, 404, columns=["nothing"])
    incoming = list((service.home / "cache" / "incoming").iterdir())
    indexes = list((service.home / "indexes").rglob(".new-*"))
    assert (incoming, indexes) == ([], [])
