"""``columnservice column``: what is asked of the service, and what is shown."""

from __future__ import annotations

import pytest

from columnservice.errors import BadExpression
from tests.cli.conftest import info

pytestmark = pytest.mark.fast
PATH = "/v1/datasets/nano/definitions"
ISO = {
    "name": "Muon_iso", "expression": "sum(PFCands_pt[dR(Muon, PFCands) < 0.4])",
    "type": "var * float32", "author": "ada", "version": 2, "doc": "", "unit": "GeV",
    "created": "2026-11-20T12:00:00+00:00", "support": "ok", "reason": "", "later": "unknown",
}  # fmt: skip


def test_defining_says_what_was_understood(fake, run):
    fake.sends("GET", "/v1/datasets/nano", info("nano"))
    fake.sends("POST", PATH, ISO)
    done = run("column", "define", "nano", "Muon_iso", "sum(PFCands_pt[dR<0.4])", "--unit", "GeV")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "Muon_iso: var * float32, version 2",
        "  sum(PFCands_pt[dR(Muon, PFCands) < 0.4])",
    ]
    [body] = fake.bodies("POST", PATH)
    assert body == {
        "name": "Muon_iso", "expression": "sum(PFCands_pt[dR<0.4])", "doc": "", "unit": "GeV",
    }  # fmt: skip


def test_a_wrong_expression_is_one_line_and_an_exit_code(fake, run):
    fake.sends("GET", "/v1/datasets/nano", info("nano"))
    fake.sends("POST", PATH, BadExpression("Character 1, 'x': no column.", "Look."))
    done = run("column", "define", "nano", "Muon_iso", "x")
    assert done.code != 0
    assert "Character 1, 'x': no column. Look." in " ".join(done.err.split())


def test_the_list_holds_definitions_functions_and_what_is_broken(fake, run):
    function = {
        **ISO,
        "name": "Muon_score",
        "source": "pkg 1.0, pkg:score",
        "support": "unsupported",
    }
    del function["expression"]
    function["reason"] = "it needs Jet_x: is not there"
    broken = {"source": "pkg 1.0, pkg:bad", "reason": "ValueError: no"}
    fake.sends("GET", PATH, {"definitions": [ISO], "functions": [function], "broken": [broken]})
    done = run("column", "list", "nano")
    assert done.out.splitlines() == [
        "Muon_iso\tvar * float32\tsum(PFCands_pt[dR(Muon, PFCands) < 0.4])\tada\t2\tok",
        "Muon_score\tvar * float32\tpkg 1.0, pkg:score\tada\t2\t"
        "unsupported: it needs Jet_x: is not there",
    ]
    assert "pkg 1.0, pkg:bad: ValueError: no" in done.err


def test_removing_is_confirmed(fake, run):
    fake.sends("GET", "/v1/datasets/nano", info("nano"))
    fake.sends("DELETE", f"{PATH}/Muon_iso", None)
    done = run("column", "remove", "nano", "Muon_iso")
    assert (done.code, done.out) == (0, "Removed Muon_iso of nano.\n")
