"""dataset add, list, show, check, refresh, remove: what is sent, and what the user reads."""

from __future__ import annotations

import json

import pytest

from columnservice.cli import dataset, remote
from columnservice.errors import DatasetInUse, NotAllowed, Unavailable, problem
from tests.cli.conftest import event, info

pytestmark = pytest.mark.fast

BAD = {
    "url": "/data/bad.root",
    "code": "DamagedFile",
    "error": "/data/bad.root is cut.",
    "remedy": "Copy it again.",
}


def follows(fake, *events):
    fake.sends("POST", "/v1/datasets", info())
    fake.sends("GET", "/v1/datasets/nano/events", b"".join(events))


def test_add_sends_absolute_paths_and_leaves_urls_alone(run, fake, tmp_path, monkeypatch):
    follows(fake, event("done", info()))
    monkeypatch.chdir(tmp_path)
    url = "root://host:1094//store/*.root"
    files = ["a.root", "sub/../b*.root", "/abs/c.root", "~/d.root", url]
    monkeypatch.setenv("HOME", "/home/me")
    outcome = run("dataset", "add", "nano", "--format", "nanoaod", "--parent", "mini", *files)
    assert outcome.code == 0
    (sent,) = fake.bodies("POST", "/v1/datasets")
    assert sent == {
        "name": "nano",
        "format": "nanoaod",
        "parent": "mini",
        "files": [
            f"{tmp_path}/a.root",
            f"{tmp_path}/b*.root",
            "/abs/c.root",
            "/home/me/d.root",
            url,
        ],
    }


def test_add_tells_coverage_and_witnesses(run, fake):
    done = info(
        parent="mini",
        coverage={"events": 1000, "with_parent": 975},
        witnesses=[{"name": "rho", "compared": 1000, "agreed": 1000}],
        duplicates=0,
    )
    step = {"done": 1, "total": 1, "url": "/data/a.root", "status": "ok", "error": ""}
    follows(fake, event("progress", step), event("done", done))
    outcome = run("dataset", "add", "nano", "--format", "nanoaod", "/data/a.root")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "nano: nanoaod, parent mini",
        "files: 1 ok",
        "events: 1000",
        "coverage: 975 of 1000 (97.5 %) events have a parent",
        "witnesses: rho 1000/1000",
    ]


def test_add_says_aloud_that_there_was_no_witness(run, fake):
    done = info(parent="mini", coverage={"events": 0, "with_parent": 0}, witnesses=[], duplicates=3)
    follows(fake, event("done", done))
    outcome = run("dataset", "add", "nano", "--format", "nanoaod", "/data/a.root")
    assert "witnesses: none" in outcome.out
    assert "duplicates: 3 events have several parents" in outcome.out


def test_add_lists_bad_files_with_reasons_and_exits_with_1(run, fake):
    done = info(files={"ok": 2, "pending": 0, "declared": 0, "failed": 1}, failures=[BAD])
    follows(fake, event("done", done))
    outcome = run("dataset", "add", "nano", "--format", "nanoaod", "/data/*.root")
    assert outcome.code == 1
    assert "files: 2 ok, 1 failed" in outcome.out
    assert "/data/bad.root\t/data/bad.root is cut.\tCopy it again." in outcome.out


def test_add_tells_the_services_refusal(run, fake):
    refusal = NotAllowed("/etc lies outside.", "See COLUMNSERVICE_ALLOWED_ROOTS.")
    fake.sends("POST", "/v1/datasets", refusal)
    outcome = run("dataset", "add", "nano", "--format", "nanoaod", "/etc/x.root")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: /etc lies outside. See COLUMNSERVICE_ALLOWED_ROOTS.\n"


def test_a_service_that_stops_midway_is_told_and_how_to_go_on(run, fake):
    step = {"done": 1, "total": 9, "url": "/data/a.root", "status": "ok", "error": ""}
    follows(fake, event("progress", step))
    outcome = run("dataset", "add", "nano", "--format", "nanoaod", "/data/*.root")
    assert outcome.code == 1
    assert "stopped before all files of nano were registered" in outcome.err
    assert "columnservice dataset show nano" in outcome.err


def test_an_error_in_the_event_stream_is_the_commands_error(run, fake):
    follows(fake, event("error", problem(Unavailable("The service is shutting down."))))
    outcome = run("dataset", "add", "nano", "--format", "nanoaod", "/data/*.root")
    assert (outcome.code, outcome.err.split(". ")[0]) == (1, "error: The service is shutting down")


def test_a_manifest_is_sent_with_paths_relative_to_itself(run, fake, tmp_path):
    follows(fake, event("done", info()))
    path = tmp_path / "there" / "files.csv"
    path.parent.mkdir()
    path.write_text("file,size,lumis\na.root,5,1:1-3\nroot://h//b.root,6,1:4;2:1\n")
    outcome = run("dataset", "add", "nano", "--format", "nanoaod", "--manifest", path)
    assert outcome.code == 0
    (sent,) = fake.bodies("POST", "/v1/datasets")
    assert sent["manifest"] == [
        {"file": f"{tmp_path}/there/a.root", "size": 5, "lumis": [[1, 1, 3]]},
        {"file": "root://h//b.root", "size": 6, "lumis": [[1, 4, 4], [2, 1, 1]]},
    ]


def test_a_manifest_that_is_none_is_told_before_anything_is_sent(run, fake, tmp_path):
    path = tmp_path / "files.json"
    path.write_bytes(b"\xff\xfe")
    outcome = run("dataset", "add", "nano", "--format", "nanoaod", "--manifest", path)
    assert (outcome.code, fake.asked) == (1, [])
    assert outcome.err.startswith(f"error: Cannot read {path}")


def test_many_files_go_in_several_requests(run, fake, monkeypatch):
    follows(fake, event("done", info()))
    fake.sends("POST", "/v1/datasets/nano/files", info())
    monkeypatch.setattr(dataset, "FILES_PER_REQUEST", 2)
    outcome = run("dataset", "add", "nano", "--format", "nanoaod", "/a", "/b", "/c", "/d", "/e")
    assert outcome.code == 0
    assert fake.bodies("POST", "/v1/datasets")[0]["files"] == ["/a", "/b"]
    more = fake.bodies("POST", "/v1/datasets/nano/files")
    assert more == [{"files": ["/c", "/d"]}, {"files": ["/e"]}]


def test_list_has_one_line_per_dataset_in_a_pipe(run, fake):
    both = [info("mini"), info("nano", parent="mini", failures=[BAD])]
    fake.sends("GET", "/v1/datasets", {"datasets": both})
    assert run("dataset", "list").out.splitlines() == [
        "mini\tnanoaod\t-\t1\t1000\t0",
        "nano\tnanoaod\tmini\t1\t1000\t1",
    ]


@pytest.mark.parametrize("command", ["check", "refresh"])
def test_check_and_refresh_are_asked_for_and_followed(run, fake, command):
    fake.sends("POST", f"/v1/datasets/nano/{command}", info())
    fake.sends("GET", "/v1/datasets/nano/events", event("done", info(failures=[BAD])))
    outcome = run("dataset", command, "nano")
    assert outcome.code == 1
    assert "Copy it again." in outcome.out


def test_remove_and_its_refusal(run, fake):
    fake.sends("DELETE", "/v1/datasets/nano", None)
    fake.sends("DELETE", "/v1/datasets/mini", DatasetInUse("Dataset 'mini' is a parent."))
    assert run("dataset", "remove", "nano").out == (
        "nano is removed; its files were not touched.\n"
    )
    assert run("dataset", "remove", "mini").err.startswith("error: Dataset 'mini' is a parent.")


def test_names_are_quoted_in_paths(run, fake):
    fake.sends("GET", "/v1/datasets/a%2Fb%3Fc", info("a/b?c"))
    assert run("dataset", "show", "a/b?c").code == 0


def test_event_streams_are_read_however_they_are_cut():
    text = (
        ': a comment\nevent: progress\ndata: {"done":\ndata: 1}\n\n\n\n'
        f'data: "plain"\n\nevent: done\ndata: {json.dumps(None)}\n\nevent: cut\ndata: {{"a": 1'
    )
    assert list(remote.events(text.split("\n"))) == [
        ("progress", {"done": 1}),
        ("message", "plain"),
        ("done", None),
    ]


def test_a_share_is_never_rounded_up_to_all():
    assert dataset.coverage_of({"coverage": {"with_parent": 99_999, "events": 100_000}}) == (
        "99999 of 100000 (99.9 %) events have a parent"
    )
