"""columns and cache: what a user reads on a terminal and in a pipe."""

from __future__ import annotations

import json

import pytest

from columnservice import wire
from columnservice.cli import output
from columnservice.model import Column, Member

pytestmark = pytest.mark.fast
FLOAT = (Member("", "float32"),)
COLUMNS = [
    Column("run", FLOAT, 0, origin="local", doc="the run"),
    Column(
        "PFCands_pt",
        FLOAT,
        1,
        "PFCands",
        "pt",
        "PFCands",
        doc="transverse\nmomentum [GeV]",
        cost_bytes=87.5,
    ),
    Column(
        "PFCands_dxy",
        FLOAT,
        1,
        "PFCands",
        "dxy",
        "PFCands",
        source="a./a.packed, a./a.key",
        cost_bytes=1234,
    ),
    Column("Tau_x", FLOAT, 1, support="unsupported", reason="stored memberwise"),
]


@pytest.fixture
def nano(fake):
    columns = [wire.column_to_json(c) for c in COLUMNS]
    answer = {"dataset": "nano", "format": "nanoaod", "columns": columns}
    fake.sends("GET", "/v1/datasets/nano/columns", answer)
    return fake


def names(outcome):
    return [line.split("\t")[0] for line in outcome.out.splitlines()]


def test_columns_are_one_line_each_and_what_is_left_out_is_said(run, nano):
    outcome = run("columns", "nano")
    assert outcome.out.splitlines() == [
        "PFCands_pt\tvar * float32\ttransverse momentum [GeV]\tparent\t87.5 B\tok",
        "PFCands_dxy\tvar * float32\t\tparent: a.packed, a.key\t1.2 kB\tok",
    ]
    assert outcome.err == (
        "2 columns; --all shows 1 local ones and 1 that cannot be delivered, too.\n"
    )


def test_all_columns_show_origin_and_reason(run, nano):
    outcome = run("columns", "nano", "--all")
    assert names(outcome) == ["run", "PFCands_pt", "PFCands_dxy", "Tau_x"]
    assert outcome.out.splitlines()[-1].endswith("\tparent\t\tunsupported: stored memberwise")
    assert outcome.err == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("*_pt", ["PFCands_pt"]), ("gev", ["PFCands_pt"]), ("packed", ["PFCands_dxy"]), ("zz", [])],
)
def test_match_looks_into_names_and_descriptions(run, nano, text, expected):
    assert names(run("columns", "nano", "--match", text)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--origin", "local"], ["run"]),
        (["--collection", "PF*", "--sort", "cost"], ["PFCands_dxy", "PFCands_pt"]),
        (["--sort", "name"], ["PFCands_dxy", "PFCands_pt"]),
        (["--unsupported"], ["Tau_x"]),
        (["--all", "--sort", "cost"], ["PFCands_dxy", "PFCands_pt", "run", "Tau_x"]),
    ],
)
def test_columns_are_filtered_and_sorted(run, nano, options, expected):
    assert names(run("columns", "nano", *options)) == expected


def test_json_tells_all_that_is_known(run, nano):
    told = json.loads(run("columns", "nano", "--all", "--json").out)
    assert [wire.column_from_json(document) for document in told] == COLUMNS
    assert "cost_bytes" not in told[0]
    assert told[1]["cost_bytes"] == 87.5


def test_an_unknown_origin_or_order_is_told(run, nano):
    assert run("columns", "nano", "--origin", "moon").code == 2
    assert run("columns", "nano", "--sort", "colour").code == 2


def test_a_terminal_gets_a_table(monkeypatch, capsys):
    monkeypatch.setattr(output, "stdout", lambda: output.Console(force_terminal=True, width=60))
    output.show_table(("name", "reason"), [("[bold]x", "y" * 80)], title="Files")
    text = capsys.readouterr().out
    assert "name" in text
    assert "[bold]x" in text
    assert text.count("y") == 80


@pytest.mark.parametrize("terminal", [True, False])
def test_what_files_and_users_wrote_does_not_steer_the_terminal(monkeypatch, capsys, terminal):
    if terminal:
        plain = {"force_terminal": True, "color_system": None, "width": 60}
        monkeypatch.setattr(output, "stdout", lambda: output.Console(**plain))
    output.show_table(("name", "doc"), [("x", "a\x1b[2Jb\u202e\nc")])
    text = capsys.readouterr().out
    assert "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER} c" in text
    assert not {*text} & {"\x1b", "\u202e"}


STATS = {"entries": 3, "size_bytes": 1_234_567, "limit_bytes": 20_000_000_000, "hits": 7}


def test_cache_commands(run, fake):
    fake.sends("GET", "/v1/cache", STATS)
    fake.sends("POST", "/v1/cache/verify", {"checked": 3, "damaged_removed": 1})
    fake.sends("POST", "/v1/cache/evict", {"freed_bytes": 512})
    assert run("cache", "stats").out.splitlines() == [
        "entries: 3",
        "size: 1.2 MB",
        "limit: 20.0 GB",
        "hits: 7",
    ]
    assert run("cache", "verify").out.splitlines() == ["checked: 3", "damaged removed: 1"]
    assert run("cache", "evict").out == "freed: 512 B\n"
    assert run("cache", "evict", "--bytes", "10").code == 0
    assert fake.bodies("POST", "/v1/cache/evict") == [None, {"bytes": 10}]
