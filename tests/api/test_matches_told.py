"""What the list of Columns tells of a match: that of the very two collections it rests on."""

from __future__ import annotations

import pytest

from columnservice.api.columnlist import told
from columnservice.catalogue.derived import derived_columns
from columnservice.delivery.summary import MatchSum
from tests.catalogue.test_derived import objects

pytestmark = pytest.mark.fast


def told_of(parent: str) -> MatchSum:
    return MatchSum("Jet", parent, 10, 9, 0, {}, "", f"9 of 10 in {parent}")


def test_files_matched_with_another_collection_do_not_speak_for_a_column():
    local = objects("Jet", doc="slimmedJetsPuppi, i.e. ak4 PFJets Puppi")
    remote = [*objects("slimmedJets", "area"), *objects("slimmedJetsPuppi", "area")]
    known = {o.column.name: o for o in derived_columns(("nanoaod", "miniaod"), local, remote)}
    both = {("Jet", p): told_of(p) for p in ("slimmedJetsPuppi", "slimmedJets")}
    for name in ("Jet_hasMatch", "Jet_slimmedJetsPuppiIdx", "Jet_matchDR", "Jet_area"):
        document = told(known[name], known, both, ())
        assert document["match"]["parent"] == "slimmedJetsPuppi"
    assert told(known["Jet_hasMatch"], known, both, ())["doc"].endswith("in slimmedJetsPuppi")
    other = {("Jet", "slimmedJets"): told_of("slimmedJets")}
    assert "match" not in told(known["Jet_area"], known, other, ())
