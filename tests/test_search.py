"""How Columns are shown in lists."""

from __future__ import annotations

import pytest

from columnservice.model import Column, Member
from columnservice.search import source_text, unknown_text

pytestmark = pytest.mark.fast


def shown(origin, source):
    return source_text(Column("x", (), 0, origin=origin, source=source))


@pytest.mark.parametrize("origin", ["local", "parent", "reference"])
def test_branches_are_shown_without_the_path_to_them(origin):
    assert shown(origin, "a/b/c.pt, a/b/c.eta, other/c.pt") == f"{origin}: c.pt, c.eta"
    assert shown(origin, "") == origin


@pytest.mark.parametrize(
    "source",
    [
        "sum(PFCands_pt[dR(Muon, PFCands) < 0.4]) / Muon_pt",
        "where(Muon_pt > 1, Muon_pt, 1 / Muon_pt), minimum(a, b)",
        "pfiso 1.2, pfiso.columns/x:isolation",
        "match of Muon with slimmedMuons",
    ],
)
def test_what_something_is_computed_from_is_shown_as_it_is(source):
    assert shown("derived", source) == f"derived: {source}"


def test_a_long_expression_is_shown_by_its_beginning():
    long = " + ".join(f"Muon_{n} / 2" for n in range(50))
    told = shown("derived", long)
    assert told == f"derived: {long[:99]}…"


def test_a_label_that_is_not_listed_is_told_where_labels_are_looked_for():
    kept = "offered label by label: a, b"
    store = Column("slimmedTaus_tauIDs", (), 0, "slimmedTaus", support="unsupported", reason=kept)
    other = Column("Muon_pt", (Member("", "float32"),), 1, "Muon", "pt", "Muon")
    told = unknown_text("slimmedTaus_byNothing", [store, other])
    assert "first 100 events that have any, or in its last 100" in told
    assert unknown_text("Muon_ptt", [store, other]) == "nearest: Muon_pt."
    assert unknown_text("x", [store, other]) == ""
