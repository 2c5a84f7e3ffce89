"""Events without a parent: an error by default, masked on request, never shifted."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from coffea.nanoevents import BaseSchema, NanoAODSchema, NanoEventsFactory

from columnservice.errors import MissingParent, RequestError
from columnservice.model import Column, Member, Ragged, local_shape, plain

from .small import MUONS, PARTS, ROWS

pytestmark = pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning")

PRESENT = ~np.isin(np.arange(ROWS), [0, 7, 8, 14, ROWS - 1])


@pytest.fixture
def holes(small):
    """Five events lack a parent, the first and the last among them."""
    small.table.present = PRESENT
    return small


@pytest.fixture
def masked(holes, service):
    return holes.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))


def test_by_default_missing_events_are_an_error_that_counts_them(holes, service):
    tree = holes.tree(service.nanoevents(BaseSchema, dataset="small"))
    with pytest.raises(MissingParent, match=r"^5 of 24 events of .*small\.root") as caught:
        tree["rho"].array()
    assert not isinstance(caught.value, OSError)
    assert caught.value.__context__ is None
    assert "hasParent" not in tree
    with pytest.raises(MissingParent, match="2 of 4 events"):
        tree["Muon_dxy"].array(entry_start=6, entry_stop=10)
    assert tree["rho"].array(entry_start=1, entry_stop=7).to_list() == [
        k + 0.5 for k in range(1, 7)
    ]


def test_an_unknown_wish_is_refused(small, service):
    with pytest.raises(RequestError, match="'error', 'mask'"):
        service.nanoevents(BaseSchema, dataset="small", missing="fill")


def test_scalars_are_nan_zero_or_false_where_there_is_no_parent(masked):
    rho, npu, good = (masked[name].array(library="np") for name in ("rho", "npu", "good"))
    assert np.array_equal(rho, np.where(PRESENT, np.arange(ROWS) + 0.5, np.nan), equal_nan=True)
    assert np.array_equal(npu, np.where(PRESENT, np.arange(ROWS) + 1, 0))
    assert np.array_equal(good, PRESENT)
    assert (rho.dtype, npu.dtype, good.dtype) == (np.float64, np.int32, np.bool_)


def test_new_collections_are_empty_where_there_is_no_parent(masked, holes):
    lists = masked["PFCands_pt"].array()
    assert ak.num(lists).to_list() == np.where(PRESENT, PARTS, 0).tolist()
    assert masked["nPFCands"].array().to_list() == ak.num(lists).to_list()
    truth = holes.table.values["PFCands_pt"]
    for row in np.flatnonzero(PRESENT):
        part = truth.values[truth.offsets[0][row] : truth.offsets[0][row + 1]]
        assert lists[row].to_list() == part.tolist()


@pytest.mark.parametrize(
    ("name", "nothing"), [("Muon_dxy", np.nan), ("Muon_hits", 0), ("Muon_tight", False)]
)
def test_fields_of_local_objects_are_nan_zero_or_false_there(masked, holes, name, nothing):
    found = masked[name].array()
    assert ak.num(found).to_list() == MUONS.tolist()
    values = holes.table.values[name].values
    truth = np.where(np.repeat(PRESENT, MUONS), values, np.array(nothing).astype(values.dtype))
    assert np.array_equal(ak.flatten(found), truth, equal_nan=name == "Muon_dxy")


def test_nested_fields_of_local_objects_are_empty_there(masked, holes):
    found = masked["Muon_times"].array()
    assert ak.num(found).to_list() == MUONS.tolist()
    lengths = np.where(np.repeat(PRESENT, MUONS), np.arange(MUONS.sum()) % 4, 0)
    assert ak.flatten(ak.num(found, axis=2)).to_list() == lengths.tolist()
    truth = holes.table.values["Muon_times"]
    kept = np.repeat(np.repeat(PRESENT, MUONS), np.diff(truth.offsets[1]))
    assert np.array_equal(ak.flatten(found, axis=None), truth.values[kept])


def test_records_on_local_objects_are_zero_there(masked, holes):
    found = masked["Muon_link"].array()
    truth = np.where(np.repeat(PRESENT, MUONS), np.arange(MUONS.sum()) + 1, 0)
    assert ak.flatten(found.key).to_list() == truth.tolist()
    assert found.fields == ["key", "index"]


def test_hasparent_tells_and_selects(holes, service, server):
    options = service.nanoevents(NanoAODSchema, dataset="small", missing="mask")
    events = NanoEventsFactory.from_root({str(holes.path): "Events"}, **options).events()
    assert server.data_requests == []
    assert events.hasParent.to_list() == PRESENT.tolist()
    assert len(server.data_requests) == 1
    kept = events[events.hasParent]
    assert len(kept) == PRESENT.sum()
    assert not ak.any(np.isnan(kept.rho))
    assert ak.all(kept.Muon.tight)
    assert ak.sum(kept.PFCands.charge) == ak.sum(events.PFCands.charge) == PARTS[PRESENT].sum()


def test_without_missing_events_masking_changes_nothing(small, service):
    plain = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    masked = small.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    for name in plain.columnservice_branches:
        assert ak.array_equal(plain[name].array(), masked[name].array()), name
    assert ak.all(masked["hasParent"].array())


def test_all_events_missing_is_no_special_case(small, service):
    small.table.present = np.zeros(ROWS, np.bool_)
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    assert ak.sum(ak.num(tree["PFCands_pt"].array())) == 0
    assert ak.num(tree["Muon_dxy"].array()).to_list() == MUONS.tolist()
    assert ak.all(np.isnan(tree["rho"].array()))
    assert not ak.any(tree["hasParent"].array())


OF_LOCAL_OBJECTS = {
    "Muon_slimmedMuonsIdx": ("int32", -1),
    "Muon_type": ("int16", -32768),
    "Muon_layers": ("uint8", 255),
    "Muon_caloIso": ("float32", np.nan),
    "Muon_hasMatch": ("bool", False),
}


@pytest.mark.parametrize(("name", "about"), OF_LOCAL_OBJECTS.items())
def test_what_a_match_gives_is_there_what_objects_without_a_match_have(holes, service, name, about):
    dtype, nothing = about
    column = Column(
        name, (Member("", dtype),), 1, "Muon", shape=local_shape("Muon"), origin="derived"
    )
    offsets = np.concatenate([[0], np.cumsum(MUONS)]).astype(np.int64)
    truth = (np.arange(MUONS.sum()) % 7).astype(dtype)
    holes.served.columns.append(column)
    holes.table.values[name] = plain(truth, offsets)
    tree = holes.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    found = tree[name].array()
    assert ak.num(found).to_list() == MUONS.tolist()
    right = np.where(np.repeat(PRESENT, MUONS), truth, np.array(nothing, dtype))
    values = ak.to_numpy(ak.flatten(found))
    assert values.dtype == dtype
    assert np.array_equal(values, right, equal_nan=dtype == "float32")


INDICES = {
    "Muon_jetIdx": ("int16", -1),
    "Muon_jetIdx2": ("int16", -1),
    "Muon_genPartIdxMother": ("int16", -1),
    "leadIdx": ("int16", -1),
    "Muon_fooIdx": ("uint32", 2**32 - 1),
    "PV_fooIdx": ("uint8", 255),
    "Muon_link.m_persIndex": ("uint32", 2**32 - 1),
    "Muon_link.m_persKey": ("uint32", 0),
    "Muon_idx": ("uint32", 0),
}


@pytest.mark.parametrize(("name", "about"), INDICES.items())
def test_an_index_never_points_to_an_object_of_an_event_without_a_parent(
    holes, service, name, about
):
    dtype, nothing = about
    depth = 1 if name.startswith("Muon") else 0
    offsets = np.concatenate([[0], np.cumsum(MUONS)]).astype(np.int64)
    values = np.full(MUONS.sum() if depth else ROWS, 7, dtype)
    shape = "Muon" if depth else None
    holes.served.columns.append(Column(name, (Member("", dtype),), depth, shape, shape=shape))
    holes.table.values[name] = plain(values, *([offsets] if depth else []))
    tree = holes.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    found = tree[name].array()
    assert ak.all(found[PRESENT] == 7)
    assert ak.all(found[~PRESENT] == nothing)


def test_the_index_in_a_link_is_none_in_events_without_a_parent(holes, service):
    members = (Member("m_persKey", "uint32"), Member("m_persIndex", "uint32"))
    offsets = np.concatenate([[0], np.cumsum(MUONS)]).astype(np.int64)
    values = np.full(MUONS.sum(), 7, np.uint32)
    holes.served.columns.append(Column("Muon_origin", members, 1, "Muon", shape="Muon"))
    content = {"m_persKey": values, "m_persIndex": values}
    holes.table.values["Muon_origin"] = Ragged((offsets,), content)
    tree = holes.tree(service.nanoevents(BaseSchema, dataset="small", missing="mask"))
    found = tree["Muon_origin"].array()
    assert ak.all(found.m_persIndex[PRESENT] == 7)
    assert ak.all(found.m_persIndex[~PRESENT] == 2**32 - 1)
    assert ak.all(found.m_persKey[~PRESENT] == 0)
