"""Columns of a dataset: merged over layouts, local before parent, hindrances told."""

from __future__ import annotations

import pytest

from columnservice.catalogue.columns import columns_of
from columnservice.errors import UnknownDataset
from columnservice.model import ColumnSet, Dataset
from tests.catalogue.conftest import offered, record

pytestmark = pytest.mark.fast


def layout(digest: str, *columns) -> ColumnSet:
    return ColumnSet(digest * 32, tuple(columns))


def register(catalogue, name, *layouts, first=0, entries=10):
    for number, each in enumerate(layouts, first):
        catalogue.record_file(name, record(number, entries=entries, columnset=each), each)


@pytest.fixture
def pair(catalogue):
    catalogue.add_dataset(Dataset("mini", "miniaod"))
    catalogue.add_dataset(Dataset("nano", "nanoaod", "mini"))
    return catalogue


def told(catalogue, name):
    return {o.column.name: o for o in columns_of(catalogue, name)}


def test_local_columns_come_first_and_hide_the_parents_of_the_same_name(pair):
    register(pair, "nano", layout("a", offered("run"), offered("pt", doc="local")))
    register(pair, "mini", layout("b", offered("pt", doc="parent"), offered("dxy")))
    found = columns_of(pair, "nano")
    assert [(o.column.name, o.column.origin) for o in found] == [
        ("run", "local"),
        ("pt", "local"),
        ("dxy", "parent"),
    ]
    assert found[1].column.doc == "local"
    assert found[2].recipe == offered("dxy").recipe


def test_a_dataset_without_a_parent_offers_its_own_columns(pair):
    register(pair, "mini", layout("b", offered("pt")))
    assert [o.column.origin for o in columns_of(pair, "mini")] == ["local"]


def test_a_column_that_some_files_lack_is_unsupported_with_their_number(pair):
    old, new = layout("a", offered("pt")), layout("b", offered("pt"), offered("dxy"))
    register(pair, "mini", new, old, new)
    found = told(pair, "nano")
    assert (found["pt"].column.support, found["pt"].column.reason) == ("ok", "")
    assert found["dxy"].column.support == "unsupported"
    assert found["dxy"].column.reason == "absent from 1 of 3 files"
    assert found["dxy"].recipe is None


def test_files_without_events_do_not_hinder(pair):
    register(pair, "mini", layout("b", offered("pt"), offered("dxy")))
    register(pair, "mini", layout("a", offered("pt")), first=5, entries=0)
    assert told(pair, "nano")["dxy"].column.support == "ok"


def test_where_all_files_are_empty_their_columns_are_offered(pair):
    register(pair, "mini", layout("b", offered("pt")), entries=0)
    assert told(pair, "nano")["pt"].column.support == "ok"


def test_a_type_that_differs_between_files_is_told(pair):
    register(
        pair, "mini", layout("a", offered("pt", "float32")), layout("b", offered("pt", "int16"))
    )
    column = told(pair, "nano")["pt"].column
    assert column.reason == "its type differs between files: float32, int16"


def test_counts_in_different_integers_are_offered_in_a_wider_one(pair):
    def counts(dtype):
        return offered("nMuon", dtype, counts_of="Muon")

    register(pair, "mini", layout("a", counts("int32")), layout("b", counts("uint32")))
    column = told(pair, "nano")["nMuon"].column
    assert (column.support, column.type, column.counts_of) == ("ok", "int64", "Muon")
    register(pair, "mini", layout("c", counts("uint64")), first=2)
    assert told(pair, "nano")["nMuon"].column.support == "unsupported"


def test_a_collection_that_differs_between_files_is_told(pair):
    one = layout("a", offered("pt", depth=1, shape="Muon"))
    other = layout("b", offered("pt", depth=1, shape="Electron"))
    register(pair, "mini", one, other)
    assert "different collections" in told(pair, "nano")["pt"].column.reason


def test_the_reason_of_an_unsupported_layout_is_kept(pair):
    bad = offered("pt", support="unsupported", reason="memberwise")
    register(pair, "mini", layout("a", bad), layout("b", offered("pt")))
    assert told(pair, "nano")["pt"].column.reason == "memberwise"


def test_the_list_follows_every_change_of_either_dataset(pair):
    register(pair, "mini", layout("a", offered("pt")))
    assert list(told(pair, "nano")) == ["pt"]
    register(pair, "mini", layout("b", offered("pt"), offered("eta")), first=1)
    assert told(pair, "nano")["eta"].column.reason == "absent from 1 of 2 files"
    register(pair, "nano", layout("c", offered("eta")), first=2)
    assert told(pair, "nano")["eta"].column.origin == "local"
    pair.remove_files("nano", [record(2).url])
    assert told(pair, "nano")["eta"].column.origin == "parent"


def test_an_unknown_dataset_is_told(pair):
    with pytest.raises(UnknownDataset, match="nearest: mini"):
        columns_of(pair, "mni")
